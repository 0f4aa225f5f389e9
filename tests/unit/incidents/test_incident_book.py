"""The book: which incident an alert joins, how it goes on, and when it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tocsin.incidents import ack, resolve, tick
from tocsin.incidents.grouping import KEPT
from tocsin.incidents.routes import FALLBACK, Route
from tocsin.model import AlertState, IncidentState, Reason, Severity
from tocsin.testing.clock import START as NOW

from .bookkeeping import alert, book, calls, ended, later, seen

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
