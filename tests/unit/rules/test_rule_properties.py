"""What holds for every history of a rule: found by trying thousands.

A history is a list of steps: time passes (or jumps back), the rule sees some series, or fails, or is blind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.errors import EvaluationError
from tocsin.model import Alert, AlertState, Transition

PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED
SEEN, FAILED, HIDDEN = "seen", "failed", "hidden"
RULES = (
    "- {alert: A, expr: m}",
    "- {alert: A, expr: m, for: 1m}",
    "- {alert: A, expr: m, for: 30s, keep_firing_for: 1m}",
    "- {alert: A, expr: 'rate(m[2m]) > 0', for: 30s}",
)


@dataclass(frozen=True)
class Moment:
    """One step of a history."""

    after: float
    series: frozenset[str]
    view: str
    restarts: bool


@dataclass(frozen=True)
class Told:
    """What one evaluation came to."""

    moment: Moment
    before: Mapping[str, Alert]
    after: Mapping[str, Alert]
    transitions: tuple[Transition, ...]
    now: object


moments = st.builds(
    Moment,
    after=st.sampled_from([1, 10, 30, 60, 300, 3600]) | st.sampled_from([-3600, -10, 0]),
    series=st.frozensets(st.sampled_from(["1", "2", "3"])),
    view=st.sampled_from([SEEN, SEEN, SEEN, FAILED, HIDDEN]),
    restarts=st.booleans(),
)
histories = st.lists(moments, min_size=1, max_size=25)


@pytest.fixture
def live(make_bench):
    """`live(rules, history)`: the rule, and what each evaluation came to."""

    def lived(rules, history):
        bench = make_bench(rules)
        text = bench.group.rules[0].plan.text
        told = []
        for moment in history:
            bench.show()
            if moment.view == HIDDEN:
                bench.hide("m")
            if moment.restarts:
                bench.memory = type(bench.memory)()
            pairs = [({"i": name}, 1.0) for name in sorted(moment.series)]
            bench.says[text] = EvaluationError("no") if moment.view == FAILED else pairs
            before = bench.alerts
            result = bench.step(moment.after)
            told.append(Told(moment, before, result.alerts, result.transitions, bench.now))
        return bench.group.rules[0], told

    return lived


def check(function):
    """Many histories of every rule; the fixture is a function without state, so sharing it is sound."""
    suppress = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    tried = settings(max_examples=120, deadline=None, suppress_health_check=suppress)
    return tried(given(rules=st.sampled_from(RULES), history=histories)(function))


@check
def test_what_fired_does_not_vanish_without_its_end_being_told(live, rules, history):
    """firing → gone is always a transition to resolved, with its time."""
    for told in live(rules, history)[1]:
        ended = {change.alert.id: change for change in told.transitions if change.alert.state is RESOLVED}
        for id, alert in told.before.items():
            if id not in told.after:
                assert (alert.state, told.now) == (ended[id].before, ended[id].alert.resolved_at)


@check
def test_the_unknown_resolves_nothing_and_fires_nothing(live, rules, history):
    """While the rule fails, no alert changes its state; while it is blind, none ends."""
    for told in live(rules, history)[1]:
        if told.moment.view == FAILED:
            assert told.transitions == ()
            assert {id: alert.state for id, alert in told.before.items()} == {
                id: alert.state for id, alert in told.after.items()
            }
        if told.moment.view == HIDDEN:
            assert [change for change in told.transitions if change.alert.state is RESOLVED] == []
            assert [change for change in told.transitions if change.before is PENDING] == []


@check
def test_every_change_is_told_once_and_follows_the_states(live, rules, history):
    """None→pending or firing, pending→firing or resolved, firing→resolved; never firing→pending."""
    allowed = {(None, PENDING), (None, FIRING), (PENDING, FIRING), (PENDING, RESOLVED), (FIRING, RESOLVED)}
    for told in live(rules, history)[1]:
        changed = {change.alert.id: (change.before, change.alert.state) for change in told.transitions}
        assert len(changed) == len(told.transitions)
        assert allowed >= set(changed.values())
        for id in {*told.before, *told.after}:
            states = tuple(alerts[id].state if id in alerts else None for alerts in (told.before, told.after))
            if states[0] is not states[1]:
                assert (states[0], states[1] or RESOLVED) == changed[id]
            else:
                assert id not in changed


@check
def test_nothing_fires_before_its_time(live, rules, history):
    """A firing alert's condition is at least `for` old at the moment it fires."""
    rule, all_told = live(rules, history)
    for told in all_told:
        for change in told.transitions:
            if change.alert.state is FIRING:
                assert change.at - change.alert.active_at >= timedelta(seconds=rule.hold)


@check
def test_no_time_lies_in_the_future_whatever_the_clock_does(live, rules, history):
    """And what fired, fired after it began."""
    for told in live(rules, history)[1]:
        for alert in told.after.values():
            times = (alert.active_at, alert.fired_at, alert.keep_firing_since, alert.frozen_since)
            assert all(at <= told.now for at in times if at is not None)
            assert alert.fired_at is None or alert.active_at <= alert.fired_at
            assert (alert.state is FIRING) is (alert.fired_at is not None)


@check
def test_the_active_alerts_are_those_seen_now_or_kept_for_a_reason(live, rules, history):
    """Every alert is in the result, or frozen, or held by keep_firing_for."""
    for told in live(rules, history)[1]:
        for alert in told.after.values():
            seen = told.moment.view == SEEN and alert.labels["i"] in told.moment.series
            assert seen or alert.frozen_why or alert.keep_firing_since or told.moment.view == HIDDEN
        if told.moment.view != FAILED:
            assert told.moment.series <= {alert.labels["i"] for alert in told.after.values()}


@check
def test_it_is_pure(live, rules, history):
    """The same history comes to the same end."""
    assert live(rules, history) == live(rules, history)
