"""docs/alerting.md and docs/alert-generator.md: every line names a test that shows it, and those tests are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def lines(page: Path) -> Iterator[list[str]]:
    """The cells of each line of each table, less the headings."""
    text = page.read_text()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        for row in table.splitlines()[2:]:
            yield [cell.strip() for cell in row.strip("|").split(" | ")]


@cache
def names_in(file: Path) -> frozenset[str]:
    """The names of its tests; none where there is no such file."""
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


@pytest.mark.parametrize(("page", "at_least"), [("alerting", 11 + 9), ("alert-generator", 35)])
def test_every_line_names_tests_that_are_there(root: Path, page: str, at_least: int) -> None:
    """A promise without a test is a wish, and a test that was renamed shows nothing."""
    found = list(lines(root / "docs" / f"{page}.md"))
    assert len(found) >= at_least
    assert [cells[0] for cells in found if not NAMED.search(cells[-1])] == []
    named = {(file, name) for cells in found for file, name in NAMED.findall(cells[-1])}
    assert [f"{file}::{name}" for file, name in sorted(named) if name not in names_in(root / file)] == []
