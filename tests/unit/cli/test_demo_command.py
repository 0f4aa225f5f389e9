"""`tocsin demo`: what it takes, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner

from tocsin.cli.demo import SCENARIOS, demo
from tocsin.testing.demo import FAULTS, DemoError, show


def test_every_fault_can_be_asked_for_by_name() -> None:
    """The names in the help are those of the demo, in its order."""
    assert tuple(FAULTS) == SCENARIOS


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--json"], "--json goes with --once"),
        (["--once", "--scenario", "none"], "nothing to do"),
        (["--scenario", "flood"], "'slow-query'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], says: str) -> None:
    """Exit 2, and what would make sense."""
    result = CliRunner().invoke(demo, arguments)
    assert result.exit_code == 2
    assert says in result.output


def run(monkeypatch: pytest.MonkeyPatch, arguments: list[str], outcome: bool | Exception) -> tuple[Any, list[Any]]:
    """The command with a demo that ends as told, and what that was asked for."""
    asked: list[Any] = []

    async def pretend(scenarios: Sequence[str], **options: Any) -> bool:
        asked.append((tuple(scenarios), options))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(show, "run_demo", pretend)
    return CliRunner().invoke(demo, arguments), asked


@pytest.mark.parametrize(
    ("arguments", "scenarios"),
    [
        ([], SCENARIOS),
        (["--scenario", "none"], ()),
        (["--scenario", "slow-query", "--scenario", "postgres-killed"], ("slow-query", "postgres-killed")),
        (["--scenario", "all", "--scenario", "slow-query"], SCENARIOS),
    ],
)
def test_the_scenarios_are_those_named(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], scenarios: tuple[str, ...]
) -> None:
    """All by default."""
    _, asked = run(monkeypatch, arguments, True)
    assert [names for names, _ in asked] == [scenarios]


@pytest.mark.parametrize(("outcome", "code"), [(True, 0), (False, 1), (DemoError("no Postgres here"), 2)])
def test_the_exit_code_says_how_it_went(monkeypatch: pytest.MonkeyPatch, outcome: bool | Exception, code: int) -> None:
    """0 all told once, 1 a finding, 2 it can't run; then the reason is one line."""
    result, _ = run(monkeypatch, ["--once"], outcome)
    assert result.exit_code == code
    assert ("tocsin demo: no Postgres here" in result.output) == (code == 2)
