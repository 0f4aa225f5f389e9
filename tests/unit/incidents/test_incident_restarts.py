"""What a restart, a reload, a removed rule and a correction leave of the book, and whom it still owes the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tocsin.incidents import (
    Correction,
    Destination,
    Outcome,
    Plan,
    Told,
    heard,
    react,
    reconfigure,
    restore,
    retire,
    tick,
)
from tocsin.incidents.routes import Router
from tocsin.incidents.told import Via
from tocsin.model import Action, AlertState, Reason, Severity, Transition
from tocsin.testing.clock import START as NOW

from .bookkeeping import BY_SERVICE, alert, book, calls, ended, later, plan, seen


def files_of(outcome: Outcome) -> Iterable[tuple[object, object]]:
    return [(file.incident, file.told) for file in outcome.book.files.values()]


def test_a_restart_says_nothing_anew() -> None:
    """The first tick looks at everything and finds it told."""
    first = seen(book(), alert(pod="a"), alert(pod="b"))
    again = restore(plan(), files_of(first), (), later(60))  # type: ignore[arg-type]
    assert (again.by_group, again.by_alert) == (first.book.by_group, first.book.by_alert)
    assert calls(tick(again, later(60))) == []


def test_a_restart_pays_what_was_owed() -> None:
    """The end was stored and its reply was not: the first tick queues it, under the same key."""
    first = seen(book(), alert())
    over = seen(first.book, ended(alert(), later(5)), at=later(5))
    stored = [(file.incident, first.book.files[id].told) for id, file in over.book.files.items()]
    again = tick(restore(plan(), stored, (), later(60)), later(60))
    ids = {call.id for back in again.withdraw for call in back.otherwise}
    assert ids == {call.id for back in over.withdraw for call in back.otherwise}


def test_a_rule_that_is_removed_ends_its_alerts_and_pays_its_debts() -> None:
    """Whoever was told is told that it is over, and why."""
    first = seen(book(), alert())
    gone = retire(first.book, lambda each: each.rule != "g;ApiDown", later(5))
    assert (calls(gone), gone.incidents[0].resolved_why) == (["resolve", "edit"], "its rule was removed")
    assert retire(first.book, lambda each: True, later(5)).empty


def test_an_end_that_is_no_recovery_says_why() -> None:
    """What is no longer configured is told as that, and beside it what did recover."""
    one, two = alert(), alert(pod="b")
    first = seen(book(), one, two)
    ends = [
        Transition(alert=ended(each, later(5)), before=AlertState.FIRING, at=later(5), why=why)
        for each, why in ((one, "a of web is no longer configured"), (two, ""))
    ]
    over = react(first.book, ends, later(5))
    assert over.incidents[0].resolved_why == "a of web is no longer configured; 1 of its alerts recovered"
    assert [decided.decision.reason for decided in over.decisions] == [Reason.CLOSED]
    plain = react(first.book, [replace(end, why="") for end in ends], later(5))
    assert [decided.decision.reason for decided in plain.decisions] == [Reason.RECOVERED]


def test_a_reload_says_nothing_anew() -> None:
    """A route that is renamed, or has other receivers, tells only what is new."""
    first = seen(book(), alert())
    other = plan(replace(BY_SERVICE, name="renamed", notify=("backup", "chat")))
    again = reconfigure(first.book, other, later(5))
    assert calls(again) == []
    over = seen(again.book, ended(alert(), later(9)), at=later(9))
    assert {back.notifier for back in over.withdraw} == {"chat"}


def test_a_notifier_that_is_gone_hands_its_incident_to_its_successor() -> None:
    """Which is told now, and told the end."""
    first = seen(book(), alert())
    moved = Plan(
        router=Router([replace(BY_SERVICE, notify=("new",))]),
        destinations={"new": Destination(name="new", edits=True)},
    )
    told = reconfigure(first.book, moved, later(5))
    (call,) = told.queue
    assert (call.notifier, call.action, told.untold) == ("new", Action.POST, ((call.incident.id, "chat"),))
    assert "chat, which is no longer configured" in call.because


def test_a_failover_is_owed_the_end_as_well() -> None:
    """Delivery told it; the book listens."""
    first = seen(book(), alert())
    (incident,) = first.book.open
    mail = Told(
        incident=incident.id, notifier="backup", via=Via.POST, post="x", at=NOW, revision=1, severity=Severity.P0,
        delta_at=NOW, edit_at=NOW,
    )  # fmt: skip
    known = heard(first.book, Correction(told=(mail,)), later(5))
    assert calls(known) == []
    over = seen(known.book, ended(alert(), later(9)), at=later(9))
    assert {back.notifier for back in over.withdraw} == {"backup", "chat"}


def test_who_refused_gets_nothing_more() -> None:
    """Its failover took its place."""
    first = seen(book(), alert())
    (incident,) = first.book.open
    gone = heard(first.book, Correction(gone=((incident.id, "chat"),)), later(5))
    assert calls(gone) == []
    assert calls(seen(gone.book, ended(alert(), later(9)), at=later(9))) == []


def test_a_correction_about_an_incident_that_left_the_book_is_let_go() -> None:
    """Nothing is owed on it any more."""
    assert heard(book(), Correction(told=(Told(incident="i-x", notifier="chat"),), gone=(("i-x", "a"),)), NOW).empty
