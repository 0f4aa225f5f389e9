"""The noise ledger: what each rule's pages came to."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.cli import cli
from tocsin.incidents import Book, Destination, Plan, react
from tocsin.incidents.routes import Route, Router
from tocsin.model import (
    Alert,
    AlertState,
    Incident,
    IncidentState,
    Labels,
    Matcher,
    MatchOp,
    Sample,
    Severity,
    Silence,
    Transition,
    utc,
)
from tocsin.rules import load_text
from tocsin.rules.noise import RuleNoise, ledger
from tocsin.series import Store
from tocsin.state import Change, State

NOW = utc(1_700_000_000)
DAY = timedelta(days=1)


def incident(rule: str = "g;Slow", minutes: float = 3.0, *, acked: bool = False, why: str = "", reopened: int = 0,
             ended: bool = True) -> Incident:  # fmt: skip
    opened = NOW - timedelta(hours=5)
    end = opened + timedelta(minutes=minutes) if ended else None
    alert = Alert(
        rule=rule, labels=Labels(alertname=rule.split(";")[1], severity="P0", service="api"),
        state=AlertState.RESOLVED if ended else AlertState.FIRING, value=1.0, active_at=opened, fired_at=opened,
        resolved_at=end,
    )  # fmt: skip
    return Incident(
        id="i-1", route="r", group=Labels(), state=IncidentState.RESOLVED if ended else IncidentState.OPEN,
        severity=Severity.P0, members=(alert,), opened_at=opened, updated_at=opened, resolved_at=end,
        acked_at=opened if acked else None, resolved_why=why, reopened=reopened,
    )  # fmt: skip


def only(*incidents: Incident, silences: tuple[Silence, ...] = ()) -> RuleNoise:
    (line,) = ledger([(each, 1) for each in incidents], silences, NOW - DAY, NOW)
    return line


def silence(begin: float, end: float) -> Silence:
    """Hours before now."""
    return Silence(
        id="s", matchers=(Matcher(name="service", op=MatchOp.EQUAL, value="api"),),
        starts_at=NOW - timedelta(hours=begin), ends_at=NOW - timedelta(hours=end), created_by="ana", why="deploy",
    )  # fmt: skip


def test_what_nobody_took_and_ended_is_self_resolved() -> None:
    """Not what somebody took or closed, nor what lasts."""
    line = only(incident(), incident(acked=True), incident(why="ana closed it: known"), incident(ended=False))
    assert (line.incidents, line.pages, line.acked, line.self_resolved) == (4, 4, 1, 1)


def test_the_noisiest_rule_comes_first() -> None:
    """By pages."""
    lines = ledger([(incident("g;A"), 1), (incident("g;B"), 3)], (), NOW - DAY, NOW)
    assert [(line.name, line.pages) for line in lines] == [("B", 3), ("A", 1)]


def test_flaps_are_summed() -> None:
    """Each time that it came back."""
    assert only(incident(reopened=2), incident(reopened=1)).flaps == 3


def test_silences_that_overlap_count_once() -> None:
    """The time in which the alert fired under at least one; an hour of five is not covered."""
    line = only(incident(ended=False), silences=(silence(6, 3), silence(4, 1)))
    assert line.silenced == timedelta(hours=4)


@pytest.mark.parametrize(
    ("lasted", "taken", "remedy"),
    [
        ((0.5, 1.5, 4.0), (), (5, 3)),
        ((0.5, 1.5, 4.0), (3.0,), (2, 2)),
        ((0.5, 40.0), (), (1, 1)),
        ((40.0,), (), None),
        ((0.5,), (0.2,), None),
    ],
)
def test_the_for_that_spares_most_costs_nothing_that_was_taken(
    lasted: tuple[float, ...], taken: tuple[float, ...], remedy: tuple[int, int] | None
) -> None:
    """(minutes, how many it spares); the shortest of those that spare the same."""
    line = only(*(incident(minutes=m) for m in lasted), *(incident(minutes=m, acked=True) for m in taken))
    assert line.remedy is None or line.remedy.hold is not None
    found = None if line.remedy is None else (line.remedy.hold.total_seconds() / 60, line.remedy.spares)
    assert found == remedy


def test_the_command_reads_the_state_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one, with an incident of which nothing was delivered yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("notifiers: [{kind: console, name: log}]\nrules: []\n")
    at = datetime.now(UTC).replace(microsecond=0)
    alert = Alert(
        rule="g;Slow", labels=Labels(alertname="Slow", severity="P0"), state=AlertState.FIRING, value=1.0,
        active_at=at, fired_at=at,
    )  # fmt: skip
    plan = Plan(router=Router([Route(notify=("log",))]), destinations={"log": Destination(name="log")})

    async def fill() -> None:
        state = await State.open(f"sqlite:///{tmp_path}/tocsin.db")
        outcome = react(Book(plan=plan), [Transition(alert=alert, before=None, at=at)], at)
        await state.commit(Change.of(outcome, [alert]))
        await state.close()

    asyncio.run(fill())
    result = CliRunner().invoke(cli, ["rules", "noise", "--json"])
    assert result.exit_code == 0, result.output
    (line,) = json.loads(result.stdout)
    assert (line["name"], line["pages"], line["incidents"], line["self_resolved"]) == ("Slow", 0, 1, 0)


def test_the_command_finds_the_remedy_in_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three short fires of which nobody took any: the `for` that would have spared them, by replay."""
    monkeypatch.chdir(tmp_path)
    rules = "groups: [{name: g, rules: [{alert: Slow, expr: m > 0, labels: {severity: P0}}]}]"
    (tmp_path / "rules.yaml").write_text(rules)
    (tmp_path / "config.yaml").write_text("notifiers: [{kind: console, name: log}]\nrules: [rules.yaml]\n")
    ((rule,),) = [group.rules for group in load_text(rules)]
    end = datetime.now(UTC).replace(microsecond=0)
    store = Store.open(tmp_path / "tocsin-series", retention=86_400)
    plan = Plan(router=Router([Route(notify=("log",), flap_window=0.0)]), destinations={"log": Destination(name="log")})
    book, changes = Book(plan=plan), []
    for minute in range(60):
        at = end - timedelta(minutes=60 - minute)
        store.append([Sample(name="m", value=float(minute % 20 == 5), at=at)])
        if minute % 20 in (5, 6):
            state = AlertState.FIRING if minute % 20 == 5 else AlertState.RESOLVED
            alert = Alert(
                rule=rule.id, labels=Labels(alertname="Slow", severity="P0"), state=state, value=1.0,
                active_at=at, fired_at=at, resolved_at=None if state is AlertState.FIRING else at,
            )  # fmt: skip
            outcome = react(book, [Transition(alert=alert, before=None, at=at)], at)
            book = outcome.book
            changes.append(Change.of(outcome, [alert]))
    store.close()

    async def fill() -> None:
        state = await State.open(f"sqlite:///{tmp_path}/tocsin.db")
        for change in changes:
            await state.commit(change)
        await state.close()

    asyncio.run(fill())
    result = CliRunner().invoke(cli, ["rules", "noise"])
    assert result.exit_code == 0, result.output
    assert "for: 1m spares 3" in result.output
    (line,) = json.loads(CliRunner().invoke(cli, ["rules", "noise", "--json"]).stdout)
    assert (line["self_resolved"], line["remedy"]["replayed"]) == (3, True)
