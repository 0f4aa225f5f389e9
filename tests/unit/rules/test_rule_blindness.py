"""Unknown is not OK: what can't be known neither resolves nor fires."""

from __future__ import annotations

import pytest

from tocsin.model import AlertState, is_stale

PENDING, FIRING, RESOLVED = AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED
ONE = [({"__name__": "m", "i": "1"}, 5.0)]
TWO = [({"__name__": "m", "i": "1"}, 5.0), ({"__name__": "m", "i": "2"}, 6.0)]


def changes(result):
    return [(change.before, change.alert.state) for change in result.transitions]


def test_a_failed_evaluation_freezes_a_firing_alert(instant, failure):
    """No "resolved" for a query that failed; the reason is on the alert and among the problems."""
    instant.step(m=ONE)
    result = instant.step(10, m=failure)
    assert changes(result) == []
    assert ([("1", FIRING)], instant.now) == (instant.states, instant.only.frozen_since)
    assert f"its rule failed: {failure}" == instant.only.frozen_why
    assert [(instant.only.rule, str(failure))] == [(problem.rule, problem.what) for problem in result.problems]


def test_the_freeze_is_dated_from_its_first_moment(instant, failure):
    """frozen_since does not move while it lasts."""
    instant.step(m=ONE)
    instant.step(10, m=failure)
    since = instant.now
    instant.step(10)
    assert since == instant.only.frozen_since


def test_a_defect_in_one_rule_freezes_it_and_spares_the_others(make_bench):
    """Whatever an evaluation raises, the other rules are evaluated and this one's alerts are kept."""
    bench = make_bench("- {alert: A, expr: m}\n- {alert: B, expr: n}")
    bench.step(m=ONE)
    result = bench.step(10, m=ZeroDivisionError("oops"), n=ONE)
    assert changes(result) == [(None, FIRING)]
    assert [problem.what for problem in result.problems] == ["unexpected ZeroDivisionError: oops"]
    assert bench.states == [("1", FIRING), ("1", FIRING)]


def test_a_hidden_input_freezes_what_would_resolve(instant):
    """The series is missing because nobody looked."""
    instant.step(m=ONE)
    instant.hide("m")
    assert changes(instant.step(10, m=[])) == []
    assert instant.only.frozen_why == "db: no answer"


def test_a_frozen_pending_alert_does_not_fire_by_the_passing_of_time(simple):
    """Nor is it gone."""
    simple.step(m=ONE)
    simple.hide("m")
    assert changes(simple.step(600, m=[])) == []
    assert simple.states == [("1", PENDING)]


def test_an_echo_does_not_make_a_pending_alert_fire(simple):
    """While all that a rule reads is hidden, its result is the last look again, within the lookback."""
    simple.step(m=ONE)
    simple.hide("m")
    assert changes(simple.step(60, m=ONE)) == []
    assert (simple.states, simple.only.frozen_why) == ([("1", PENDING)], "db: no answer")


def test_absent_of_what_is_hidden_fires_nothing_until_it_is_seen(instant):
    """Whether it is gone, nobody knows: it waits, and fires at once when a look finds it gone."""
    instant.hide("m")
    assert changes(instant.step(m=ONE)) == [(None, PENDING)]
    assert instant.only.frozen_why == "db: no answer"
    instant.show()
    assert changes(instant.step(10, m=ONE)) == [(PENDING, FIRING)]


def test_a_pending_alert_fires_on_what_can_be_seen(make_bench):
    """Half of the rule's inputs are hidden; the other half says so."""
    bench = make_bench("- {alert: A, expr: m or n, for: 1m}")
    bench.step(**{"m or n": ONE})
    bench.hide("n")
    assert changes(bench.step(60)) == [(PENDING, FIRING)]


def test_a_new_alert_is_raised_while_blind(instant):
    """What is seen counts, also when something else is not."""
    instant.hide("m", i="2")
    assert changes(instant.step(m=ONE)) == [(None, FIRING)]


def test_a_frozen_alert_that_is_seen_again_goes_on(simple):
    """It thaws, with the time since when the condition began."""
    simple.step(m=ONE)
    simple.hide("m")
    simple.step(600, m=[])
    simple.show()
    assert changes(simple.step(10, m=ONE)) == [(PENDING, FIRING)]
    assert (simple.only.frozen_since, simple.only.frozen_why) == (None, "")


def test_a_frozen_alert_that_is_really_gone_resolves_when_its_inputs_are_back(instant):
    """The end is told once it is known."""
    instant.step(m=ONE)
    instant.hide("m")
    instant.step(10, m=[])
    instant.show()
    result = instant.step(10)
    assert changes(result) == [(FIRING, RESOLVED)]
    assert None is result.transitions[0].alert.frozen_since


def test_after_the_gap_the_windows_are_given_time_to_fill(make_bench):
    """`rate` of one sample is nothing: right after the gap that is no reason to resolve."""
    bench = make_bench("- {alert: A, expr: 'rate(m[1m]) > 0'}")
    text = "rate(m[1m]) > 0"
    bench.step(**{text: ONE})
    bench.hide("m")
    bench.step(300, **{text: []})
    bench.step(300)
    bench.show()
    assert changes(bench.step(10)) == []
    assert bench.only.frozen_why == "its inputs are back, its windows not yet full"
    assert changes(bench.step(40)) == []
    assert changes(bench.step(10)) == [(FIRING, RESOLVED)]


def test_a_short_gap_is_waited_out_only_as_long_as_it_was(make_bench):
    """A window of an hour is not emptied by ten seconds of blindness."""
    bench = make_bench("- {alert: A, expr: 'rate(m[1h]) > 0'}")
    text = "rate(m[1h]) > 0"
    bench.step(**{text: ONE})
    bench.hide("m")
    bench.step(10, **{text: []})
    bench.step(10)
    bench.show()
    assert changes(bench.step(10)) == [(FIRING, RESOLVED)]


def test_one_hidden_target_does_not_freeze_the_alerts_of_the_others(instant):
    """The alert's labels say that it is about something else."""
    instant.step(m=TWO)
    instant.hide("m", i="2")
    assert changes(instant.step(10, m=[])) == [(FIRING, RESOLVED)]
    assert instant.states == [("2", FIRING)]


def test_a_label_that_the_rule_sets_proves_nothing(make_bench):
    """`i: x` is the rule's word, not the series'."""
    bench = make_bench("- {alert: A, expr: m, labels: {i: x}}")
    bench.step(m=ONE)
    bench.hide("m", i="1")
    assert changes(bench.step(10, m=[])) == []


def test_a_relabelled_result_proves_nothing(make_bench):
    """After label_replace the alert's labels are no witness."""
    text = 'label_replace(m, "i", "x", "i", ".*")'
    bench = make_bench(f"- alert: A\n  expr: '{text}'")
    bench.step(**{text: [({"i": "x"}, 1.0)]})
    bench.hide("m", i="1")
    assert changes(bench.step(10, **{text: []})) == []


@pytest.mark.parametrize(("expr", "blind"), [('m{i="1"}', False), ('m{i!="2"}', False), ('m{i=~"1"}', True)])
def test_a_selector_that_asks_for_other_series_is_not_blind(make_bench, expr, blind):
    """`m{i="1"}` does not read what is hidden of `i="2"`; patterns are given the benefit of the doubt."""
    bench = make_bench(f"- alert: A\n  expr: 'sum({expr})'")
    bench.step(**{f"sum({expr})": [({}, 1.0)]})
    bench.hide("m", i="2")
    bench.step(10, **{f"sum({expr})": []})
    assert blind == bool(bench.alerts)


def test_other_metrics_may_hide(instant):
    """A blind source that the rule does not read changes nothing."""
    instant.step(m=ONE)
    instant.hide("other")
    assert changes(instant.step(10, m=[])) == [(FIRING, RESOLVED)]


def test_a_rule_that_may_read_any_metric_is_blind_with_any_source(make_bench):
    """`{job="x"}` may be about what is hidden."""
    bench = make_bench("- alert: A\n  expr: '{job=\"x\"}'")
    bench.step(**{'{job="x"}': ONE})
    bench.hide("whatever")
    assert changes(bench.step(10, **{'{job="x"}': []})) == []


def test_blindness_goes_through_recording_rules(make_bench):
    """An alert on a recorded series is frozen when what was recorded from is hidden."""
    bench = make_bench("- {record: 'job:m', expr: sum by (i) (m)}\n- {alert: A, expr: 'job:m'}")
    bench.step(**{"sum by (i) (m)": ONE, "job:m": ONE})
    bench.hide("m", i="1")
    result = bench.step(10, **{"sum by (i) (m)": [], "job:m": []})
    assert bench.states == [("1", FIRING)]
    assert [frozenset({"job:m"})] == [spot.metrics for spot in result.blind]
    assert [dict(spot.labels) for spot in result.blind] == [{"i": "1"}]


def test_a_blind_recording_rule_ends_no_series(make_bench):
    """What could not be seen has not ended; once it can be seen, it has."""
    bench = make_bench("- {record: r, expr: m}")
    bench.step(m=ONE)
    bench.hide("m")
    bench.step(10, m=[])
    assert [sample for sample in bench.stored if is_stale(sample.value)] == []
    bench.show()
    bench.step(10)
    assert [sample.name for sample in bench.stored if is_stale(sample.value)] == ["r"]


def test_a_failed_recording_rule_freezes_who_reads_it(make_bench, failure):
    """In the same group, and through `blind` in others."""
    bench = make_bench("- {record: r, expr: m}\n- {alert: A, expr: r}")
    bench.step(m=ONE, r=ONE)
    result = bench.step(10, m=failure, r=[])
    assert bench.states == [("1", FIRING)]
    assert [("g;r", f"the recording rule r failed: {failure}")] == [(spot.source, spot.why) for spot in result.blind]


def test_a_frozen_alert_is_still_stored_as_a_series(instant):
    """Rules that read ALERTS see the last state known."""
    instant.step(m=ONE)
    instant.hide("m")
    instant.stored.clear()
    instant.step(10, m=[])
    assert [(sample.name, sample.value) for sample in instant.stored if sample.name == "ALERTS"] == [("ALERTS", 1.0)]


def test_two_alerts_of_one_label_set_are_an_error_and_not_an_end(make_bench):
    """After templating the labels must tell the alerts apart; until they do, what fired goes on."""
    bench = make_bench("- {alert: A, expr: m, labels: {i: x}}")
    bench.step(m=ONE)
    result = bench.step(10, m=TWO)
    assert [problem.what for problem in result.problems] == [
        "vector contains metrics with the same labelset after applying alert labels"
    ]
    assert bench.states == [("x", FIRING)]


def test_a_keep_firing_hold_does_not_run_out_while_blind(make_bench):
    """It is asked again once the inputs are back."""
    bench = make_bench("- {alert: A, expr: m, keep_firing_for: 1m}")
    bench.step(m=ONE)
    bench.step(10, m=[])
    bench.hide("m")
    assert changes(bench.step(600)) == []
    bench.show()
    assert changes(bench.step(10)) == [(FIRING, RESOLVED)]
