"""Pending, firing, resolved: Prometheus' states."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tocsin.model import AlertState, Labels, Sample, Series, is_stale
from tocsin.rules import AllRemoved, Removed, abandoned, evaluate_group, load_text, orphans

PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED
ONE = [({"__name__": "m", "i": "1"}, 5.0)]
TWO = [({"__name__": "m", "i": "1"}, 5.0), ({"__name__": "m", "i": "2"}, 6.0)]


def changes(result):
    return [(change.before, change.alert.state) for change in result.transitions]


def test_without_for_an_alert_fires_at_once(instant):
    """`for` 0 skips pending."""
    assert changes(instant.step(m=ONE)) == [(None, FIRING)]
    assert (instant.now, instant.now) == (instant.only.active_at, instant.only.fired_at)


def test_with_for_an_alert_is_pending_until_it_has_lasted(simple):
    """It fires at the first evaluation at which the condition is `for` old, not before."""
    assert changes(simple.step(m=ONE)) == [(None, PENDING)]
    assert changes(simple.step(59)) == []
    assert changes(simple.step(1)) == [(PENDING, FIRING)]
    assert timedelta(seconds=60) == simple.only.fired_at - simple.only.active_at


def test_a_for_below_the_interval_fires_at_the_next_evaluation(simple):
    """Never between evaluations."""
    simple.step(m=ONE)
    assert changes(simple.step(300)) == [(PENDING, FIRING)]


def test_a_pending_alert_that_is_not_seen_again_is_gone(simple):
    """It never fired: fired_at stays unset, so that nobody is told."""
    simple.step(m=ONE)
    result = simple.step(10, m=[])
    assert changes(result) == [(PENDING, RESOLVED)]
    assert (result.transitions[0].alert.fired_at, simple.alerts) == (None, {})


def test_a_firing_alert_that_is_not_seen_again_resolves(instant):
    """The transition carries when it fired and when it ended."""
    instant.step(m=ONE)
    fired = instant.now
    (change,) = instant.step(30, m=[]).transitions
    assert (FIRING, RESOLVED, fired, instant.now) == (
        change.before,
        change.alert.state,
        change.alert.fired_at,
        change.alert.resolved_at,
    )
    assert instant.alerts == {}


def test_an_alert_that_returns_is_a_new_one(simple):
    """The condition began anew, so `for` counts anew."""
    simple.step(m=ONE)
    simple.step(30, m=[])
    simple.step(40, m=ONE)
    assert simple.states == [("1", PENDING)]
    assert simple.now == simple.only.active_at


def test_each_series_is_an_alert_of_its_own(instant):
    """One appears, one stays, one ends, each by itself."""
    instant.step(m=ONE)
    instant.step(10, m=TWO)
    assert instant.states == [("1", FIRING), ("2", FIRING)]
    assert changes(instant.step(10, m=TWO[1:])) == [(FIRING, RESOLVED)]
    assert instant.states == [("2", FIRING)]


def test_the_value_and_the_annotations_are_of_the_last_evaluation(make_bench):
    """Annotations may change while the alert lives; that is no transition."""
    bench = make_bench("- {alert: A, expr: m, annotations: {summary: 'at {{ $value }}'}}")
    bench.step(m=ONE)
    result = bench.step(10, m=[({"i": "1"}, 7.5)])
    assert (bench.only.value, bench.only.annotations["summary"], result.transitions) == (7.5, "at 7.5", ())


def test_keep_firing_for_holds_an_alert_that_has_ended(make_bench):
    """It resolves at the first evaluation at which it has been gone that long."""
    bench = make_bench("- {alert: A, expr: m, keep_firing_for: 1m}")
    bench.step(m=ONE)
    assert changes(bench.step(10, m=[])) == []
    assert changes(bench.step(59)) == []
    assert changes(bench.step(1)) == [(FIRING, RESOLVED)]


def test_keep_firing_for_begins_anew_after_the_condition_returned(make_bench):
    """A flapping condition is one long alert."""
    bench = make_bench("- {alert: A, expr: m, keep_firing_for: 1m}")
    bench.step(m=ONE)
    bench.step(10, m=[])
    bench.step(40, m=ONE)
    assert bench.only.keep_firing_since is None
    assert changes(bench.step(50, m=[])) == []


def test_keep_firing_for_does_not_hold_a_pending_alert(make_bench):
    """Only what fired is kept firing."""
    bench = make_bench("- {alert: A, expr: m, for: 1m, keep_firing_for: 1m}")
    bench.step(m=ONE)
    assert changes(bench.step(10, m=[])) == [(PENDING, RESOLVED)]


def test_a_restart_goes_on_where_it_was(simple):
    """The alerts given are the whole state: `for` counts from their active_at."""
    simple.step(m=ONE)
    simple.memory = replace(simple.memory, recorded={}, hidden={})
    assert changes(simple.step(60)) == [(PENDING, FIRING)]


def test_a_clock_set_back_loses_nothing(simple):
    """Firing stays firing, pending counts from the new now, and no time lies in the future."""
    simple.step(m=TWO[:1])
    simple.step(60)
    simple.step(10, m=TWO)
    assert changes(simple.step(-3600)) == []
    assert simple.states == [("1", FIRING), ("2", PENDING)]
    times = [at for alert in simple.alerts.values() for at in (alert.active_at, alert.fired_at) if at]
    assert [simple.now] == sorted({max(at, simple.now) for at in times})
    assert changes(simple.step(60)) == [(PENDING, FIRING)]


def test_a_longer_for_does_not_take_back_what_fired(simple):
    """A reload that raises `for` keeps the alert firing: somebody was told."""
    simple.step(m=ONE)
    simple.step(60)
    (simple.group,) = load_text("groups: [{name: g, rules: [{alert: A, expr: m, for: 1h}]}]")
    assert changes(simple.step(10)) == []
    assert simple.states == [("1", FIRING)]


def test_alerts_are_stored_as_series(simple):
    """ALERTS with the state, ALERTS_FOR_STATE with the time since when; a state that ended is marked stale."""
    simple.step(m=ONE)
    labels = Labels(alertname="A", i="1")
    assert [
        Sample(name="ALERTS", labels=labels.with_(alertstate="pending"), value=1.0, at=simple.now),
        Sample(name="ALERTS_FOR_STATE", labels=labels, value=simple.now.timestamp(), at=simple.now),
    ] == simple.stored
    simple.stored.clear()
    simple.step(60)
    ended = [sample for sample in simple.stored if is_stale(sample.value)]
    assert [Series(name="ALERTS", labels=labels.with_(alertstate="pending"))] == [
        Series(name=sample.name, labels=sample.labels) for sample in ended
    ]


def test_a_removed_rule_ends_its_alerts_with_the_reason(instant):
    """Whoever was told "firing" is told the end, also when the rule is deleted; its series end too."""
    instant.step(m=ONE)
    groups = load_text("groups: [{name: g, rules: [{alert: B, expr: m}]}]")
    (change,) = orphans(instant.alerts, groups, instant.now)
    assert (change.before, change.alert.state) == (FIRING, RESOLVED)
    assert change.why == "its rule 'A' was removed or its labels were changed"
    assert {"ALERTS", "ALERTS_FOR_STATE"} == {sample.name for sample in abandoned(instant.memory, groups, instant.now)}
    assert orphans(instant.alerts, [instant.group], instant.now) == ()


def test_a_tuned_threshold_keeps_its_alerts(instant):
    """The expression is no part of a rule's identity."""
    instant.step(m=ONE)
    (instant.group,) = load_text("groups: [{name: g, rules: [{alert: A, expr: m > 1}]}]")
    assert changes(instant.step(10, **{"m > 1": ONE})) == []


def test_the_poll_that_caused_a_change_is_noted(instant):
    """The start of the clock for fault→message times."""
    instant.says["m"] = ONE
    result = evaluate_group(
        instant.group,
        instant._round,
        {},
        [],
        instant.now,
        record=lambda samples: None,
        sampled_at=instant.now - timedelta(seconds=1),
    )
    assert [instant.now - timedelta(seconds=1)] == [change.sampled_at for change in result.transitions]


def test_an_alert_about_what_is_not_configured_any_more_ends_as_that_and_does_not_begin_anew(instant):
    """It did not recover; and windows go on showing what was removed for as long as they reach back."""
    both = [({"job": "web", "instance": name}, 1.0) for name in ("a", "b")]
    instant.step(m=both)
    instant.removed = AllRemoved([Removed(labels=Labels(job="web", instance="a"), at=instant.now)])
    result = instant.step(5, m=both)
    assert [(each.alert.labels["instance"], each.alert.state, each.why) for each in result.transitions] == [
        ("a", RESOLVED, "a of web is no longer configured")
    ]
    assert instant.step(5, m=both).transitions == ()


def test_an_alert_about_a_whole_source_that_is_removed_ends_and_others_go_on(instant):
    """Whatever its other labels are. An alert whose labels don't say what it is about is left to its expression."""
    several = [({"job": "web", "instance": "a"}, 1.0), ({"job": "shop", "instance": "a"}, 1.0), ({}, 1.0)]
    instant.step(m=several)
    instant.removed = AllRemoved([Removed(labels=Labels(job="web"), at=instant.now)])
    result = instant.step(5, m=several)
    assert [(each.alert.labels.get("job"), each.why) for each in result.transitions] == [
        ("web", "web is no longer configured")
    ]
