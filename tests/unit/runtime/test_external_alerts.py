"""Alerts that are sent to us: begun once, ended by their end, and never lost to a restart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.model import AlertState, Labels
from tocsin.runtime import external
from tocsin.runtime.external import RESOLVE_TIMEOUT, ExternalAlerts, News, Posted, TooMany

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DOWN = Labels(alertname="Down", job="api")


def told(news: News) -> list[tuple[str, AlertState]]:
    return [(change.alert.name, change.alert.state) for change in news.transitions]


def test_an_alert_begins_once() -> None:
    """What a sender repeats each minute is no news, and nothing to store."""
    held = ExternalAlerts()
    news = [
        held.take([Posted(labels=DOWN, ends_at=NOW + MINUTE * (minute + 4))], NOW + MINUTE * minute)
        for minute in range(10)
    ]
    assert [told(each) for each in news] == [[("Down", AlertState.FIRING)], *[[]] * 9]
    assert [len(each.changed) for each in news] == [1] + [0] * 9


def test_an_alert_that_is_sent_again_does_not_end() -> None:
    """Each sending gives it new time."""
    held = ExternalAlerts()
    held.take([Posted(labels=DOWN, ends_at=NOW + MINUTE * 4)], NOW)
    held.take([Posted(labels=DOWN, ends_at=NOW + MINUTE * 7)], NOW + MINUTE * 3)
    assert (told(held.expire(NOW + MINUTE * 6)), told(held.expire(NOW + MINUTE * 7))) == (
        [], [("Down", AlertState.RESOLVED)],
    )  # fmt: skip


def test_one_without_an_end_ends_after_the_resolve_timeout() -> None:
    """As Alertmanager's: five minutes after it was sent last."""
    held = ExternalAlerts()
    held.take([Posted(labels=DOWN)], NOW)
    before, after = NOW + RESOLVE_TIMEOUT - timedelta(seconds=1), NOW + RESOLVE_TIMEOUT
    assert (told(held.expire(before)), told(held.expire(after))) == ([], [("Down", AlertState.RESOLVED)])


def test_a_sender_can_end_it() -> None:
    """At the time it says, and once however often it is said."""
    held = ExternalAlerts()
    held.take([Posted(labels=DOWN, starts_at=NOW - MINUTE)], NOW)
    first = held.take([Posted(labels=DOWN, ends_at=NOW + MINUTE)], NOW + MINUTE * 2)
    again = held.take([Posted(labels=DOWN, ends_at=NOW + MINUTE)], NOW + MINUTE * 3)
    assert (told(first), first.transitions[0].alert.resolved_at, told(again)) == (
        [("Down", AlertState.RESOLVED)], NOW + MINUTE, [],
    )  # fmt: skip


def test_an_end_that_nobody_saw_begin_is_no_news() -> None:
    """Prometheus repeats ends for a quarter of an hour, also to an Alertmanager that is new."""
    assert ExternalAlerts().take([Posted(labels=DOWN, ends_at=NOW)], NOW) == News()


def test_it_began_when_the_first_sender_says() -> None:
    """Two replicas see it at different times; one in the future began now."""
    held = ExternalAlerts()
    held.take([Posted(labels=DOWN, starts_at=NOW + MINUTE)], NOW)
    (first,) = held.alerts.values()
    held.take([Posted(labels=DOWN, starts_at=NOW - MINUTE)], NOW)
    (second,) = held.alerts.values()
    assert (first.active_at, second.active_at) == (NOW, NOW - MINUTE)


def test_after_a_restart_senders_have_time_to_speak_again() -> None:
    """Nobody heard them meanwhile, so an end that passed proves nothing."""
    held = ExternalAlerts()
    stored = held.take([Posted(labels=DOWN, ends_at=NOW + MINUTE * 4)], NOW).changed
    later = NOW + timedelta(hours=1)
    again = ExternalAlerts(stored, later)
    assert told(again.expire(later)) == []
    assert told(again.take([Posted(labels=DOWN, ends_at=later + MINUTE * 5)], later + MINUTE)) == []
    assert told(again.expire(later + MINUTE * 6)) == [("Down", AlertState.RESOLVED)]


def test_a_distant_end_survives_a_restart() -> None:
    """`amtool alert add --end` may be hours off, and is said once; and it is stored again when it moves."""
    held = ExternalAlerts()
    held.take([Posted(labels=DOWN)], NOW)
    stored = held.take([Posted(labels=DOWN, ends_at=NOW + timedelta(hours=3))], NOW).changed
    again = ExternalAlerts(stored, NOW + MINUTE)
    assert (told(again.expire(NOW + timedelta(hours=2))), told(again.expire(NOW + timedelta(hours=3)))) == (
        [], [("Down", AlertState.RESOLVED)],
    )  # fmt: skip


def test_a_post_that_begins_and_ends_an_alert_tells_both_in_order() -> None:
    """Within one request, too."""
    held = ExternalAlerts()
    news = held.take([Posted(labels=DOWN), Posted(labels=DOWN, ends_at=NOW)], NOW)
    assert (told(news), [alert.state for alert in news.changed]) == (
        [("Down", AlertState.FIRING), ("Down", AlertState.RESOLVED)], [AlertState.RESOLVED],
    )  # fmt: skip


def test_more_than_are_held_are_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood must not take the memory; what is known already is always taken."""
    monkeypatch.setattr(external, "MOST", 3)
    held = ExternalAlerts()
    held.take([Posted(labels=Labels(alertname=name)) for name in "abc"], NOW)
    with pytest.raises(TooMany, match="3 alerts fire"):
        held.take([Posted(labels=Labels(alertname=name)) for name in "cd"], NOW)
    assert told(held.take([Posted(labels=Labels(alertname=name)) for name in "abc"], NOW)) == []
    assert len(held.alerts) == 3


def test_after_a_sleep_senders_have_time_to_speak_again() -> None:
    """What was not sent while the process did not run has not ended for that."""
    held = ExternalAlerts()
    held.take([Posted(labels=DOWN, ends_at=NOW + MINUTE * 4)], NOW)
    woken = NOW + MINUTE * 120
    held.wait_for_senders(woken)
    assert told(held.expire(woken)) == []
    assert told(held.expire(woken + RESOLVE_TIMEOUT)) == [("Down", AlertState.RESOLVED)]


def test_the_times_of_a_sender_are_moved_to_a_clock_that_is_ahead() -> None:
    """After the wall clock was set back by two hours: what fires by the sender's clock fires by ours."""
    ours, held = NOW + MINUTE * 120, ExternalAlerts()
    sent = Posted(labels=DOWN, starts_at=NOW - MINUTE, ends_at=NOW + MINUTE * 4)
    assert told(held.take([sent], ours)) == []
    assert told(held.take([sent.later(7200.0)], ours)) == [("Down", AlertState.FIRING)]
    assert (sent.later(0.2), Posted(labels=DOWN).later(7200.0)) == (sent, Posted(labels=DOWN))
