"""A group: order, recording, limits, offsets, labels, templates."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tocsin.errors import SeriesLimit
from tocsin.model import AlertState, Labels, Sample, is_stale
from tocsin.promql import Round, Scalar, String
from tocsin.rules import evaluate_group, load_text
from tocsin.series import Store

ONE = [({"__name__": "m", "i": "1"}, 5.0)]
TWO = [({"__name__": "m", "i": "1"}, 5.0), ({"__name__": "m", "i": "2"}, 6.0)]


def problems(result):
    return [problem.what for problem in result.problems]


def test_the_labels_are_the_results_then_the_rules_then_alertname(make_bench):
    """The metric's name goes, the rule's labels win, an empty one removes, alertname is the rule's."""
    bench = make_bench("- {alert: A, expr: m, labels: {i: 'x{{ $labels.i }}', gone: '', severity: P1}}")
    bench.step(m=[({"__name__": "m", "i": "1", "gone": "y", "alertname": "other", "kept": "z"}, 1.0)])
    assert Labels(alertname="A", i="x1", severity="P1", kept="z") == bench.only.labels


def test_the_series_of_an_alert_bears_its_state_whatever_its_labels_say(make_bench):
    """A label `alertstate` of the rule's is the alert's, and not the series'."""
    bench = make_bench("- {alert: A, expr: m, labels: {alertstate: critical}}")
    bench.step(m=ONE)
    (stored,) = [sample for sample in bench.stored if sample.name == "ALERTS"]
    assert (bench.only.labels["alertstate"], stored.labels["alertstate"]) == ("critical", "firing")


def test_templates_know_the_alert_and_the_world(make_bench):
    """$labels, $value, $externalLabels, $externalURL and queries."""
    bench = make_bench(
        "- alert: A\n  expr: m\n  annotations:\n"
        "    a: '{{ $labels.i }} {{ $value }} {{ $externalLabels.region }} {{ $externalURL }}'\n"
        "    b: '{{ with query \"other\" }}{{ . | first | value }}{{ end }}'"
    )
    bench.step(m=ONE, other=[({}, 7.0)])
    assert dict(bench.only.annotations) == {"a": "1 5 eu http://tocsin.example/x", "b": "7"}


def test_a_template_that_fails_costs_the_sentence_and_not_the_alert(make_bench):
    """The text says what went wrong, and so do the problems."""
    bench = make_bench("- {alert: A, expr: m, annotations: {s: '{{ query \"none\" | first }}'}}")
    result = bench.step(m=ONE)
    assert bench.only.annotations["s"].startswith("<error expanding template: error executing template __alert_A: ")
    assert [what.rsplit(": ", 1)[1] for what in problems(result)] == ["first() called on vector with no elements"]


def test_more_alerts_than_the_limit_are_kept_and_reported(make_bench):
    """Elsewhere they are all dropped."""
    bench = make_bench("- {alert: A, expr: m}")
    (bench.group,) = load_text("groups: [{name: g, limit: 1, rules: [{alert: A, expr: m}]}]")
    result = bench.step(m=TWO)
    assert (len(bench.alerts), problems(result)) == (2, ["exceeded limit of 1 with 2 alerts; all are kept"])


def test_more_series_than_the_limit_are_not_recorded_and_hide(make_bench):
    """The limit protects the store; who reads the series can't know."""
    bench = make_bench("- {record: r, expr: m}")
    (bench.group,) = load_text("groups: [{name: g, limit: 1, rules: [{record: r, expr: m}]}]")
    result = bench.step(m=TWO)
    assert (bench.stored, problems(result)) == ([], ["exceeded limit of 1 with 2 series; none is stored"])
    assert [frozenset({"r"})] == [spot.metrics for spot in result.blind]


def test_a_recording_rule_names_and_labels_its_result(make_bench):
    """The metric's name is the rule's; its labels win."""
    bench = make_bench("- {record: 'job:m', expr: m, labels: {i: x, team: db}}")
    bench.step(m=ONE)
    assert [Sample(name="job:m", labels=Labels(i="x", team="db"), value=5.0, at=bench.now)] == bench.stored


def test_a_recorded_series_that_ends_is_marked(make_bench):
    """Stale at once, not after five minutes."""
    bench = make_bench("- {record: r, expr: m}")
    bench.step(m=TWO)
    bench.stored.clear()
    bench.step(10, m=ONE)
    assert [(sample.labels["i"], is_stale(sample.value)) for sample in bench.stored] == [("1", False), ("2", True)]


def test_recorded_twins_are_an_error(make_bench):
    """Two results of one label set."""
    bench = make_bench("- {record: r, expr: m, labels: {i: x}}")
    assert problems(bench.step(m=TWO)) == ["vector contains metrics with the same labelset after applying rule labels"]


def test_a_scalar_is_one_series_without_labels(make_bench):
    """`expr: 1` is an alert that always fires."""
    bench = make_bench("- {alert: A, expr: 1}")
    bench.says["1"] = Scalar(value=1.0, at=bench.now)
    bench.step()
    assert (Labels(alertname="A"), 1.0) == (bench.only.labels, bench.only.value)


def test_what_is_neither_vector_nor_scalar_is_unknown(make_bench):
    """It can't be loaded from a file; should an engine yield it, nothing resolves."""
    bench = make_bench("- {alert: A, expr: m}")
    bench.step(m=ONE)
    bench.says["m"] = String(value="x", at=bench.now)
    assert problems(bench.step(10)) == ["rule result is not a vector or scalar"]
    assert len(bench.alerts) == 1


def test_a_full_store_is_a_problem_and_not_an_end(make_bench):
    """The alerts live on; who reads the series that could not be stored can't know."""
    bench = make_bench("- {record: r, expr: m}\n- {alert: A, expr: r}")
    bench.step(m=ONE, r=ONE)
    bench.refuses = SeriesLimit("full")
    result = bench.step(10, r=[])
    assert len(bench.alerts) == 1
    assert problems(result) == ["its result could not be stored: full"] * 2


def test_the_offset_looks_and_stores_in_the_past(make_bench):
    """query_offset: for sources whose samples come late."""
    bench = make_bench("- {record: r, expr: m}")
    (bench.group,) = load_text("groups: [{name: g, query_offset: 30s, rules: [{record: r, expr: m}]}]")
    bench.step(m=ONE)
    then = bench.now - timedelta(seconds=30)
    assert ([then], [then]) == (bench.asked_at, [sample.at for sample in bench.stored])


def test_a_rule_reads_what_an_earlier_one_recorded_just_now(make_bench):
    """On the real engine and store, in one evaluation; a rule that reads nothing new shares the round."""
    bench = make_bench(
        "- {record: a, expr: m * 2}\n- {record: b, expr: m * 3}\n- {record: c, expr: a + 1}\n"
        "- {alert: A, expr: c > 10}\n- {alert: B, expr: 'ALERTS{alertname=\"A\"}'}"
    )
    store = Store()
    store.append([Sample(name="m", labels=Labels(i="1"), value=5.0, at=bench.now)])
    asked = []

    def rounds(at):
        asked.append(at)
        return Round(store, at)

    result = evaluate_group(bench.group, rounds, {}, [], bench.now, record=store.append)
    assert [(alert.name, alert.value) for alert in result.alerts.values()] == [("A", 11.0), ("B", 1.0)]
    assert len(asked) == 4


def test_the_group_names_what_it_reads_and_yields():
    """What arrives may be a reason to evaluate; what it makes itself is none."""
    (group,) = load_text(
        "groups: [{name: g, rules: [{record: r, expr: m + n}, {alert: A, expr: r > 1}, {alert: B, expr: o}]}]"
    )
    assert (frozenset({"m", "n", "o"}), frozenset({"r", "ALERTS", "ALERTS_FOR_STATE"})) == (group.reads, group.yields)


def test_a_group_that_may_read_anything_says_so():
    """None, not the empty set."""
    (group,) = load_text("groups: [{name: g, rules: [{alert: A, expr: '{job=\"x\"}'}]}]")
    assert group.reads is None


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("{alert: A, expr: m}", "{alert: A, expr: m > 9, for: 5m, annotations: {x: y}}", True),
        ("{alert: A, expr: m}", "{alert: B, expr: m}", False),
        ("{alert: A, expr: m, labels: {severity: P1}}", "{alert: A, expr: m, labels: {severity: P0}}", False),
        ("{alert: A, expr: m, labels: {a: b, c: d}}", "{alert: A, expr: m, labels: {c: d, a: b}}", True),
    ],
)
def test_a_rules_id_stands_for_its_name_and_labels(first, second, same):
    """Not for its expression, timing or place in the file."""
    ids = [load_text(f"groups: [{{name: g, rules: [{rule}]}}]")[0].rules[0].id for rule in (first, second)]
    assert same is (ids[0] == ids[1])


def test_rules_that_agree_in_name_and_labels_are_told_apart():
    """By their order, across files as well."""
    twice = "{alert: A, expr: m}, {alert: A, expr: n}"
    (group,) = load_text(f"groups: [{{name: g, rules: [{twice}]}}]")
    assert [rule.id for rule in group.rules] == ["g;A", "g;A;2"]


def test_two_severities_of_one_alert_live_apart(make_bench):
    """The usual pair of thresholds: each rule touches its own alerts only."""
    bench = make_bench(
        "- {alert: A, expr: m > 1, labels: {severity: P1}}\n- {alert: A, expr: m > 5, labels: {severity: P0}}"
    )
    bench.step(**{"m > 1": ONE, "m > 5": ONE})
    result = bench.step(10, **{"m > 5": []})
    assert [(change.alert.labels["severity"], change.alert.state) for change in result.transitions] == [
        ("P0", AlertState.RESOLVED)
    ]
    assert [alert.labels["severity"] for alert in bench.alerts.values()] == ["P1"]


def test_other_groups_alerts_are_left_alone(make_bench):
    """The mapping may hold everything that is active."""
    bench, other = make_bench("- {alert: A, expr: m}"), make_bench("- {alert: B, expr: n}")
    other.step(n=ONE)
    bench.alerts = other.alerts
    assert (bench.step().transitions, bench.alerts) == ((), {})
