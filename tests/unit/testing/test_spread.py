"""Which worker runs which tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from tests.spread import spread


@dataclass(frozen=True)
class Item:
    nodeid: str


def of(module: str, count: int) -> list[Item]:
    return [Item(f"{module}::test_{number}") for number in range(count)]


def test_each_worker_begins_with_tests_that_start_processes_and_none_is_left_out() -> None:
    """Modules stay whole: their fixtures are made once."""
    items = [
        *of("tests/unit/a.py", 9),
        *of("tests/e2e/b.py", 3),
        *of("tests/faults/c.py", 2),
        *of("tests/unit/d.py", 4),
    ]
    found = cast("list[Any]", spread(cast("list[pytest.Item]", items), 2))
    assert sorted(found, key=str) == sorted(items, key=str)
    modules = list(dict.fromkeys(item.nodeid.partition("::")[0] for item in found))
    assert modules == ["tests/e2e/b.py", "tests/unit/d.py", "tests/faults/c.py", "tests/unit/a.py"]
