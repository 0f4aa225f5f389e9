"""The shipped content as the tests see it: rules, their unit tests, pages, and every series that anything yields."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.content.declared import Declared, everything_declared
from tocsin.rules import AlertRule, Group, load_rules
from tocsin.rules.unit_tests import UnitTestFile, read_unit_tests


@pytest.fixture(scope="session")
def groups(root: Path) -> tuple[Group, ...]:
    """Every shipped rule group."""
    return load_rules(sorted((root / "alert_rules").glob("*.yaml")))


@pytest.fixture(scope="session")
def alerts(groups: tuple[Group, ...]) -> tuple[AlertRule, ...]:
    """Every shipped alert rule."""
    return tuple(rule for group in groups for rule in group.rules if isinstance(rule, AlertRule))


@pytest.fixture(scope="session")
def unit_tests(root: Path) -> tuple[UnitTestFile, ...]:
    """The shipped rules' unit tests."""
    return tuple(read_unit_tests(path) for path in sorted((root / "alert_rules" / "tests").glob("*.yaml")))


@pytest.fixture(scope="session")
def runbooks(root: Path) -> dict[str, str]:
    """The text of each alert's page, by the alert's name; the index is not among them."""
    return {path.stem: path.read_text() for path in sorted((root / "runbooks").glob("*.md")) if path.stem != "README"}


@pytest.fixture(scope="session")
def declared(groups: tuple[Group, ...]) -> Declared:
    """What the collectors, the daemon itself and the recording rules yield."""
    return everything_declared(groups)
