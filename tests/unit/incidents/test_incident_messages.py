"""What the book queues: whom a message mentions, when an edit goes out, what waits for a digest or is taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from tocsin.incidents import Book, ack, react, tick
from tocsin.incidents.routes import Digest, Escalation, Route
from tocsin.model import Action, IncidentState, Mention, Reason, Transition
from tocsin.testing.clock import START as NOW

from .bookkeeping import BY_SERVICE, alert, book, calls, ended, later, plan, seen


def test_edits_of_one_message_are_ten_seconds_apart_and_those_that_wait_are_replaced() -> None:
    """Slack allows some 50 a minute for all messages together."""
    assert edits_at((1, 2, 15, 16), "P2") == [10.0, 10.0, 20.0, 20.0]


def test_who_joins_a_fresh_page_shows_at_once_and_only_a_stream_of_them_is_paced() -> None:
    """Five edits come before their time, each a second after the last; a quiet minute earns them anew."""
    assert edits_at((0.2, 0.4, 3), "P0") == [1.0, 1.0, 3.0]
    assert edits_at(range(1, 13), "P1") == [1, 2, 3, 4, 5, 10, 10, 10, 10, 20, 20, 20]
    assert edits_at((*range(1, 8), 120, 121), "P0")[-2:] == [120, 121]


def edits_at(joins: Iterable[float], severity: str) -> list[float]:
    """When the edits go out that show who joined an incident so many seconds after its beginning."""
    outcome = seen(book(replace(BY_SERVICE, match={})), alert(pod="0", severity=severity))
    due = []
    for n in joins:
        outcome = seen(outcome.book, alert(pod=str(n), severity=severity, at=later(n)), at=later(n))
        due += [(call.not_before - NOW).total_seconds() for call in outcome.queue if call.action is Action.EDIT]
    return due


def test_a_change_of_state_is_edited_in_at_once() -> None:
    """An ack that shows ten seconds later was clicked twice."""
    first = seen(book(), alert(pod="a"))
    grown = seen(first.book, alert(pod="b", at=later(1)), at=later(1))
    taken = ack(grown.book, grown.book.open[0].id, "ana", later(2))
    assert [call.not_before for call in taken.queue] == [later(2)]


def test_a_post_carries_when_it_began_was_seen_and_was_decided() -> None:
    """The latency from fault to message is made of these."""
    began = alert(at=later(-3))
    outcome = react(book(), [Transition(alert=began, before=None, at=NOW, sampled_at=later(-1))], NOW)
    line = outcome.queue[0].timeline
    assert (line.fault_at, line.sampled_at, line.decided_at) == (later(-3), later(-1), NOW)


def test_mentions_go_with_the_first_message_of_a_page_only() -> None:
    """An edit or a delta wakes nobody."""
    wake = (Mention(kind="group", id="S1"),)
    route = replace(BY_SERVICE, mentions=wake)
    first = seen(book(route), alert())
    grown = seen(first.book, alert(pod="b", at=later(1)), at=later(61))
    assert ([call.mentions for call in first.queue], {call.mentions for call in grown.queue}) == ([wake], {()})
    low = seen(book(Route(notify=("chat",), mentions=wake)), alert(severity="P2"))
    assert [call.mentions for call in low.queue] == [()]


def test_an_escalation_mentions_its_people_and_posts_to_its_notifiers() -> None:
    """Names in `to` are contacts or notifiers."""
    manager = (Mention(kind="user", id="U1"),)
    route = replace(BY_SERVICE, escalate=(Escalation(after=300, to=("manager", "backup")),))
    first = seen(Book(plan=plan(route, manager=manager)), alert())
    assert first.next_look == later(300)
    told = tick(first.book, later(300))
    assert [(call.notifier, call.action, call.mentions) for call in told.queue] == [
        ("chat", Action.ESCALATE, manager), ("backup", Action.POST, ()),
    ]  # fmt: skip
    assert calls(tick(told.book, later(301))) == []
    over = seen(told.book, ended(alert(), later(400)), at=later(400))
    assert {back.notifier for back in over.withdraw} == {"chat", "backup"}


def test_a_digest_is_one_message_of_all_that_is_new() -> None:
    """And the next one tells which of them have ended."""
    route = Route(name="notes", notify=("chat",), digest=Digest(), group_by=("pod",))
    first = seen(book(route), alert(severity="P3", pod="a"), alert(severity="P2", pod="b"))
    assert calls(first) == []
    due = first.next_look
    assert due is not None
    told = tick(first.book, due)
    (digest,) = told.queue
    assert (digest.action, [i.severity.value for i in digest.incidents]) == (Action.DIGEST, ["P2", "P3"])
    assert calls(tick(told.book, due + timedelta(days=1))) == []
    over = seen(told.book, ended(alert(severity="P3", pod="a"), due), at=due)
    assert calls(over) == []
    (ends,) = tick(over.book, due + timedelta(days=1)).queue
    assert [incident.state for incident in ends.incidents] == [IncidentState.RESOLVED]


def test_a_first_message_that_still_waits_is_taken_back_when_it_is_over() -> None:
    """P1 is only recorded then; P0 is told once, as over."""
    slow = alert("ApiSlow", severity="P1")
    (back,) = seen(seen(book(), slow).book, ended(slow, later(1)), at=later(1)).withdraw
    assert (back.instead, [call.action for call in back.otherwise]) == (None, [Action.RESOLVE, Action.EDIT])
    (page,) = seen(seen(book(), alert()).book, ended(alert(), later(1)), at=later(1)).withdraw
    assert page.instead is not None
    assert (page.instead.id, page.instead.action, page.instead.incident.state) == (
        page.post, Action.POST, IncidentState.RESOLVED,
    )  # fmt: skip


def test_a_decision_is_kept_when_it_acts_or_holds_for_another_reason() -> None:
    """The history says why somebody was told, or not; and says it once."""
    first = seen(book(), alert())
    assert [(kept.decision.action, kept.decision.reason) for kept in first.decisions] == [
        (Action.POST, Reason.NEW_INCIDENT)
    ]
    assert tick(first.book, later(1)).decisions == ()
