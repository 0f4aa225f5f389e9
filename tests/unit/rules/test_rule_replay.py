"""Replaying rules over stored samples, on the real engine and store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tocsin.model import AlertState, BlindSpot, Labels, Sample, utc
from tocsin.promql import Round
from tocsin.rules import load_text
from tocsin.rules.replay import replay
from tocsin.series import Store

START = utc(1_700_000_000)
PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED
RULES = """groups:
  - name: fast
    interval: 10s
    rules:
      - {record: doubled, expr: m * 2}
      - {alert: High, expr: doubled > 10, for: 20s}
  - name: slow
    interval: 1m
    rules:
      - {alert: Any, expr: 'ALERTS{alertname="High"}'}
"""


def after(seconds):
    return START + timedelta(seconds=seconds)


@pytest.fixture
def store():
    """`m` is 1, from 60 s to 120 s 9, then 1 again; a sample every 10 s for 5 minutes."""
    store = Store()
    for seconds in range(0, 301, 10):
        value = 9.0 if 60 <= seconds < 120 else 1.0
        store.append([Sample(name="m", labels=Labels(i="1"), value=value, at=after(seconds))])
    return store


def told(ticks):
    """(seconds since the start, alertname, before, state)"""
    return [
        ((tick.at - START).total_seconds(), change.alert.name, change.before, change.alert.state)
        for tick in ticks
        for change in tick.transitions
    ]


def ran(store, until=300, **options):
    return list(replay(load_text(RULES), lambda at: Round(store, at), store.append, START, after(until), **options))


def test_the_alerts_begin_and_end_when_they_would_have(store):
    """`for` and intervals count in the replayed time; recorded results are read by later rules and groups."""
    assert told(ran(store)) == [
        (60, "High", None, PENDING),
        (60, "Any", None, FIRING),
        (80, "High", PENDING, FIRING),
        (120, "High", FIRING, RESOLVED),
        (120, "Any", FIRING, RESOLVED),
    ]


def test_every_group_keeps_its_interval(store):
    """31 moments of the fast one; at six of them the slow one runs as well."""
    ticks = ran(store)
    assert [after(10 * number) for number in range(31)] == [tick.at for tick in ticks]


def test_what_was_active_before_goes_on(store):
    """Alerts handed in keep their times."""
    first = ran(store, until=70)
    rest = list(
        replay(
            load_text(RULES),
            lambda at: Round(store, at),
            store.append,
            after(80),
            after(80),
            alerts=first[-1].alerts,
        )
    )
    assert (80, "High", PENDING, FIRING) in told(rest)


def test_what_could_not_be_seen_then_resolves_nothing(store):
    """`blind(at)` tells it."""
    spot = BlindSpot(source="db", why="gone", since=after(100), metrics=frozenset({"m"}))
    ticks = ran(store, until=200, blind=lambda at: (spot,) if at >= after(100) else ())
    assert (FIRING, "db: gone (read by the recording rule doubled)") in {
        (alert.state, alert.frozen_why) for alert in ticks[-1].alerts.values()
    }


def test_without_groups_there_is_nothing_to_replay(store):
    """No tick, and no endless loop."""
    assert list(replay((), lambda at: Round(store, at), store.append, START, after(10))) == []
