"""The shipped rules on a generated day: each attack is found within two minutes, and nobody is paged about none.

The same for thirty days: python bench/detection.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from collectors.auth_logs.events import Kind, read_line
from tocsin.rules import Group, load_text
from tocsin.testing.sign_ins.attacks import KINDS, attack
from tocsin.testing.sign_ins.days import Days
from tocsin.testing.sign_ins.replay import replay

WITHIN = 120.0
MONDAY = datetime(2026, 8, 3, tzinfo=UTC).timestamp()


@pytest.fixture
def rules(root: Path) -> tuple[Group, ...]:
    files = sorted((root / "alert_rules").glob("auth*.yaml"))
    return tuple(group for file in files for group in load_text(file.read_text(), str(file)))


@pytest.mark.untraced  # thousands of polls of the same code: traced, they take three times as long
def test_attacks_of_a_day_are_found_and_the_office_is_not(rules: tuple[Group, ...]) -> None:
    """One of every kind, from a Monday's first minute on, among two shifts, CI, slips and old passwords."""
    account = replay(rules, days=1, seed=11, each=1, pace=60.0)
    late = {v.attack.kind.name: v.since_due for v in account.verdicts if v.since_due is None or v.since_due > WITHIN}
    assert (late, account.false_pages) == ({}, [])
    assert {verdict.attack.kind for verdict in account.verdicts} == set(KINDS)


@pytest.mark.untraced
def test_without_the_hook_only_what_needs_it_is_missed(rules: tuple[Group, ...]) -> None:
    """Stolen passwords and a slow spray are still seen as many failures of one address."""
    kinds = [kind for kind in KINDS if kind.by_hook]
    account = replay(rules, days=1, seed=12, each=1, pace=60.0, hook=False, kinds=kinds, hours=7)
    found = {v.attack.kind.name: v.found and v.found.name for v in account.verdicts}
    assert found == {
        "credential stuffing": "AuthBruteForce", "password spray": "AuthSlowGuessing",
        "one user, many addresses": None,
    }  # fmt: skip
    assert max(v.since_due for v in account.verdicts if v.since_due is not None) <= WITHIN
    assert account.false_pages == []


@pytest.mark.parametrize("hook", [True, False])
def test_generated_lines_are_such_as_the_collector_counts(hook: bool) -> None:
    """None is broken or passed over; the hook's lines are there only where it is."""
    days = Days(3, hook=hook)
    lines = [line for weekday in range(4) for line in days.day(MONDAY, weekday)]
    lines += [line for kind in KINDS for line in attack(kind, MONDAY, 1, Random(1), hook=hook).lines]
    kinds = {read_line(line.text).meaning.kind for line in lines}
    assert kinds == {Kind.REQUEST, Kind.LOGIN, Kind.HOOK} | ({Kind.ATTEMPT} if hook else set())
