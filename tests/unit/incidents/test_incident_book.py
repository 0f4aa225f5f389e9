"""The book: which incident an alert joins, what is queued and decided, and what a restart or a reload keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tocsin.incidents import (
    Book,
    Correction,
    Destination,
    Outcome,
    Plan,
    Told,
    ack,
    heard,
    react,
    reconfigure,
    resolve,
    restore,
    retire,
    tick,
)
from tocsin.incidents.grouping import KEPT
from tocsin.incidents.routes import FALLBACK, Digest, Escalation, Route, Router
from tocsin.incidents.told import Via
from tocsin.model import (
    Action,
    Alert,
    AlertState,
    IncidentState,
    Labels,
    Mention,
    Reason,
    Severity,
    Transition,
)
from tocsin.testing.clock import START as NOW

BY_SERVICE = Route(name="pages", match={"severity": "P0|P1"}, notify=("chat",), group_by=("service",))


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def plan(*routes: Route, edits: bool = True, **contacts: tuple[Mention, ...]) -> Plan:
    router = Router(routes or (BY_SERVICE,), fallback=Route(notify=("chat",)))
    names = {*router.notifiers(), "backup"}
    return Plan(
        router=router, contacts=contacts, destinations={name: Destination(name=name, edits=edits) for name in names}
    )


def book(*routes: Route) -> Book:
    return Book(plan=plan(*routes))


def alert(name: str = "ApiDown", *, severity: str = "P0", at: datetime = NOW, **labels: str) -> Alert:
    return Alert(
        rule=f"g;{name}", labels=Labels({"service": "api", **labels}, alertname=name, severity=severity),
        state=AlertState.FIRING, value=1, active_at=at, fired_at=at,
    )  # fmt: skip


def ended(alert: Alert, at: datetime) -> Alert:
    return replace(alert, state=AlertState.RESOLVED, resolved_at=at)


def seen(book: Book, *alerts: Alert, at: datetime = NOW) -> Outcome:
    return react(book, [Transition(alert=each, before=None, at=at, sampled_at=at) for each in alerts], at)


def calls(outcome: Outcome) -> list[str]:
    withdrawn = [call for back in outcome.withdraw for call in back.otherwise]
    return [call.action.value for call in (*outcome.queue, *withdrawn)]


def opened(outcome: Outcome) -> set[Labels]:
    return {incident.group for incident in outcome.book.open}


# Which incident ------------------------------------------------------------------------------------------------------


def test_alerts_of_one_group_are_one_incident_and_one_post() -> None:
    """However many come at once."""
    outcome = seen(book(), alert(pod="a"), alert(pod="b"), alert("ApiSlow", severity="P1"))
    (incident,) = outcome.book.open
    assert (len(incident.members), incident.severity, incident.peak, calls(outcome)) == (3, Severity.P0, 3, ["post"])


@pytest.mark.parametrize(
    ("group_by", "incidents"), [((), 1), (("service",), 2), (("...",), 3), (("service", "pod"), 3)]
)
def test_group_by_says_how_many_incidents(group_by: tuple[str, ...], incidents: int) -> None:
    """[] all in one, "..." each alone."""
    route = Route(notify=("chat",), group_by=group_by)
    outcome = seen(book(route), alert(pod="a"), alert(pod="b"), alert(service="web", pod="a"))
    assert len(outcome.book.open) == incidents


def test_a_pending_alert_is_no_news() -> None:
    """It may never fire."""
    assert seen(book(), replace(alert(), state=AlertState.PENDING)).empty


def test_the_end_of_an_alert_that_never_fired_is_no_news() -> None:
    """It was pending only."""
    assert seen(book(), ended(alert(), NOW)).empty


def test_an_alert_may_have_an_incident_in_each_of_two_routes() -> None:
    """And ends in both."""
    two = (Route(name="a", notify=("chat",), continue_=True), Route(name="b", notify=("chat",)))
    first = seen(book(*two), alert())
    assert sorted(incident.route for incident in first.book.open) == ["a", "b"]
    last = seen(first.book, ended(alert(), later(9)), at=later(9))
    assert last.book.open == ()


def test_what_no_route_takes_is_posted_by_the_fallback() -> None:
    """Shown as no_route, never dropped."""
    outcome = seen(book(), alert(severity="P3"))
    (incident,) = outcome.book.open
    assert (incident.route, outcome.queue[0].reason) == (FALLBACK, Reason.NO_ROUTE)


def test_an_incident_id_is_the_same_on_every_replay_and_never_given_twice() -> None:
    """So that a decision that is made again after a crash queues the same row."""
    first, again = seen(book(), alert()), seen(book(), alert())
    assert first.queue == again.queue
    many = seen(book(Route(notify=("chat",), group_by=("...",))), *[alert(pod=str(n)) for n in range(3000)])
    assert len({incident.id for incident in many.book.open}) == 3000


def test_a_continuing_condition_is_told_once() -> None:
    """The same alert again, thawed or evaluated anew, is no new incident and no new post."""
    first = seen(book(), alert())
    again = seen(first.book, alert(), at=later(60))
    assert (len(again.book.open), calls(again)) == (1, ["edit"])


def test_a_frozen_alert_stays_a_member() -> None:
    """Unknown is not OK."""
    first = seen(book(), alert())
    frozen = replace(alert(), frozen_since=later(5), frozen_why="the source can't be seen")
    after = seen(first.book, frozen, at=later(5))
    (incident,) = after.book.open
    assert (incident.firing, incident.revision) == ((frozen,), 2)


# How it goes on ------------------------------------------------------------------------------------------------------


def test_an_incident_ends_with_its_last_member() -> None:
    """Its thread says so, and its message shows it."""
    first = seen(book(), alert(pod="a"), alert(pod="b"))
    one_left = seen(first.book, ended(alert(pod="a"), later(20)), at=later(20))
    assert [incident.state for incident in one_left.book.open] == [IncidentState.OPEN]
    over = seen(one_left.book, ended(alert(pod="b"), later(30)), at=later(30))
    assert (over.book.open, calls(over)) == ((), ["resolve", "edit"])


def test_severity_is_the_worst_while_it_is_open() -> None:
    """It rises aloud and does not fall when the worst member ends."""
    first = seen(book(), alert("ApiSlow", severity="P1"))
    worse = seen(first.book, alert(at=later(5)), at=later(5))
    assert calls(worse) == ["broadcast", "edit"]
    better = seen(worse.book, ended(alert(at=later(5)), later(9)), at=later(9))
    assert [incident.severity for incident in better.book.open] == [Severity.P0]


def test_what_fires_again_within_the_flap_window_reopens_its_incident() -> None:
    """No new post; a later one is a new incident."""
    first = seen(book(), alert())
    over = seen(first.book, ended(alert(), later(10)), at=later(10))
    again = seen(over.book, alert(at=later(600)), at=later(600))
    assert calls(again) == ["thread", "edit"]
    assert [incident.reopened for incident in again.book.open] == [1]
    much_later = seen(over.book, alert(at=later(611)), at=later(611))
    assert calls(much_later) == ["post"]


def test_a_manual_end_stays_until_something_new_fires() -> None:
    """Somebody closed it: the alert that still fires, and one that ends, change nothing."""
    first = seen(book(), alert(pod="a"), alert(pod="b"))
    (incident,) = first.book.open
    closed = resolve(first.book, incident.id, "ana", "known", later(5))
    assert (calls(closed), closed.incidents[0].resolved_why) == (["resolve", "edit"], "ana closed it: known")
    one_ends = seen(closed.book, ended(alert(pod="a"), later(9)), at=later(9))
    assert (one_ends.book.open, calls(one_ends)) == ((), [])
    new = seen(one_ends.book, alert(pod="c", at=later(12)), at=later(12))
    assert [each.reopened for each in new.book.open] == [1]


def test_an_ack_is_taken_once_and_survives_a_flap() -> None:
    """The second one changes nothing; whoever took it has it when it comes back."""
    first = seen(book(), alert())
    (incident,) = first.book.open
    taken = ack(first.book, incident.id, "ana", later(5))
    assert (calls(taken), taken.incidents[0].acked_by) == (["edit"], "ana")
    assert ack(taken.book, incident.id, "bob", later(6)).empty
    over = seen(taken.book, ended(alert(), later(10)), at=later(10))
    again = seen(over.book, alert(at=later(20)), at=later(20))
    assert [each.state for each in again.book.open] == [IncidentState.ACKED]


def test_an_unknown_incident_can_be_neither_acked_nor_closed() -> None:
    """KeyError, for the door to answer 404."""
    with pytest.raises(KeyError):
        ack(book(), "i-none", "ana", NOW)
    with pytest.raises(KeyError):
        resolve(book(), "i-none", "ana", "", NOW)


def test_an_incident_keeps_so_many_ended_members_and_no_more() -> None:
    """A rule whose label sets come and go for weeks makes no giant."""
    route = Route(name="all", notify=("chat",), group_by=())
    outcome = seen(book(route), alert(pod="stays"))
    for n in range(KEPT + 20):
        one = alert(pod=str(n), at=later(n))
        outcome = seen(outcome.book, one, at=later(n))
        outcome = seen(outcome.book, ended(one, later(n)), at=later(n))
    (incident,) = outcome.book.open
    assert (len(incident.members), incident.firing) == (KEPT + 1, (alert(pod="stays"),))
    assert len(outcome.book.by_alert) == KEPT + 1


def test_what_is_over_leaves_the_book() -> None:
    """Once it can't reopen any more and nobody is owed anything."""
    first = seen(book(), alert())
    over = seen(first.book, ended(alert(), later(10)), at=later(10))
    assert over.next_look == later(610)
    gone = tick(over.book, later(610))
    assert (gone.book.files, gone.book.by_group, gone.book.by_alert, gone.next_look) == ({}, {}, {}, None)


# What is queued ------------------------------------------------------------------------------------------------------


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


# Restarts, reloads, corrections --------------------------------------------------------------------------------------


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
