"""promtool's unit-test format: notation, files, verdicts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tocsin.errors import RuleError
from tocsin.model import STALE, Labels, is_stale
from tocsin.promql.native import Histogram
from tocsin.promql.native.notation import expression
from tocsin.rules import load_text
from tocsin.rules.unit_tests import Verdict, read_unit_tests, run_unit_tests
from tocsin.rules.unit_tests.notation import BadNotation, parse_series, parse_values
from tocsin.series import Store

RULES = """groups:
  - name: second
    rules:
      - {record: doubled, expr: tripled * 2}
  - name: first
    rules:
      - {record: tripled, expr: m * 3}
      - {alert: High, expr: m > 2, for: 2m, annotations: {s: "{{ $value }} in {{ $externalLabels.region }}"}}
      - {record: sub, expr: "count_over_time(m[4m:])"}
"""


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1 2 3", [1, 2, 3]),
        ("  1   2 ", [1, 2]),
        ("_ 1 _x2 2", [None, 1, None, None, 2]),
        ("1x3", [1, 1, 1, 1]),
        ("0x10", [0] * 11),
        ("1+2x3", [1, 3, 5, 7]),
        ("-1-1x2", [-1, -2, -3]),
        ("1.5e2+.5x1", [150, 150.5]),
        ("0.1+0.1x2", [0.1, 0.2, 0.30000000000000004]),
        ("Inf -inf", [math.inf, -math.inf]),
        ("", []),
    ],
)
def test_values_are_read_as_promtool_reads_them(text, values):
    """Steps are added up one by one, rounding included."""
    assert values == parse_values(text)


def test_stale_and_nan_are_not_the_same():
    """`stale` ends the series, NaN is a value."""
    stale, nan = parse_values("stale NaN")
    assert (is_stale(stale), is_stale(nan)) == (True, False)
    assert STALE != 0


@pytest.mark.parametrize("text", ["x", "1x", "1+x2", "1,2", "stalex2", "_x", "0x1F", "1++1x2", "1x99999999999"])
def test_bad_values_are_refused(text):
    """Each with what is wrong."""
    with pytest.raises(BadNotation):
        parse_values(text)


def test_native_histograms_are_read():
    """Beside numbers and gaps; repeated, and added up."""
    values = parse_values("1 {{sum:3 count:2 buckets:[2]}}+{{sum:1 count:1 buckets:[0 1]}}x2 _ {{count:1}}x1")
    assert [expression(value) if isinstance(value, Histogram) else str(value) for value in values] == [
        "1.0", "{{count:2 sum:3 buckets:[2]}}", "{{count:3 sum:4 buckets:[2 1]}}", "{{count:4 sum:5 buckets:[2 2]}}",
        "None", "{{count:1}}", "{{count:1}}",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{{sum}}", "{{schema:9}}", "{{sum:1}}x", "{{sum:1}", "{{schema:0}}+{{schema:-53}}x1"])
def test_bad_histograms_are_refused(text):
    """With what is wrong."""
    with pytest.raises(BadNotation):
        parse_values(text)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", {}),
        ("{}", {}),
        ("up", {"__name__": "up"}),
        ("job:up:sum{}", {"__name__": "job:up:sum"}),
        (" up { a = \"b\" , c='d', } ", {"__name__": "up", "a": "b", "c": "d"}),
        (r'm{a="q\"\\\n", b=`raw\n`}', {"__name__": "m", "a": 'q"\\\n', "b": "raw\\n"}),
        ('{"utf 8.name", "a.b"="c"}', {"__name__": "utf 8.name", "a.b": "c"}),
        ('{__name__="x"}', {"__name__": "x"}),
    ],
)
def test_series_are_read(text, labels):
    """Quotes of three kinds, escapes, UTF-8 names."""
    assert Labels(labels) == parse_series(text)


@pytest.mark.parametrize(
    "text", ["up{", "up{a}", "up{a=b}", 'up{a="b"', 'up{a="b" c="d"}', "up down", '{"a","b"}', "1up"]
)
def test_bad_series_are_refused(text):
    """Each with what is missing."""
    with pytest.raises(BadNotation):
        parse_series(text)


@pytest.fixture
def write(tmp_path: Path):
    """Writes a file of unit tests: `write(tests)` with the YAML of its keys."""

    def written(text):
        (tmp_path / "test.yaml").write_text(text)
        return tmp_path / "test.yaml"

    return written


@pytest.fixture
def outcome(write):
    """The verdicts of a file's cases, against RULES."""

    def ran(text):
        return run_unit_tests(read_unit_tests(write(text)), load_text(RULES), lambda: Store(retention=1e12))

    return ran


def verdicts(outcome):
    return [(case.line, case.verdict.value) for case in outcome.cases]


TEST = """group_eval_order: [first, second]
tests:
  - interval: 1m
    input_series:
      - {series: m, values: 1+1x10}
    external_labels: {region: eu}
    alert_rule_test:
      - eval_time: 3m59s
        alertname: High
        exp_alerts: []
      - eval_time: 4m
        alertname: High
        exp_alerts: [{exp_annotations: {s: "5 in eu"}}]
    promql_expr_test:
      - {expr: doubled, eval_time: 3m, exp_samples: [{labels: doubled, value: 24}]}
      - {expr: sub, eval_time: 4m, exp_samples: [{labels: "{}", value: 4}]}
      - {expr: m * 2, eval_time: 1m, exp_samples: [{value: 4}]}
      - {expr: scalar(m), eval_time: 1m, exp_samples: [{value: 2}]}
      - {expr: time(), eval_time: 90s, exp_samples: [{value: 90}]}
"""


def test_alerts_and_expressions_are_checked_in_time_and_order(outcome):
    """group_eval_order decides who reads what in one evaluation; a case between two evaluations sees the earlier."""
    assert verdicts(outcome(TEST))[:4] == [(8, "passed"), (11, "passed"), (15, "passed"), (16, "failed")]
    assert [verdict for _, verdict in verdicts(outcome(TEST))[4:]] == ["passed"] * 3


def test_without_an_order_the_groups_run_as_they_are_written(outcome):
    """`second` reads what `first` stored a minute before."""
    text = TEST.replace("[first, second]", "[]").replace("value: 24", "value: 18")
    assert verdicts(outcome(text))[2] == (15, "passed")


def test_a_test_begins_when_it_says(outcome):
    """start_timestamp as RFC 3339 or Unix seconds."""
    tests = "".join(
        f"  - start_timestamp: {start}\n"
        f"    promql_expr_test: [{{expr: time(), eval_time: 1m, exp_samples: [{{value: {at}}}]}}]\n"
        for start, at in (('"2024-01-01T00:00:00Z"', 1704067260), (1609459200, 1609459260), ('"0.5"', 60.5))
    )
    assert [verdict for _, verdict in verdicts(outcome(f"tests:\n{tests}"))] == ["passed"] * 3


def test_a_rule_that_fails_ends_its_test_and_is_a_finding(write):
    """As promtool: the rest of the test would mean nothing."""
    rules = load_text("groups: [{name: g, rules: [{record: r, expr: a + on() b}]}]")
    series = "[{series: a, values: 1x5}, {series: 'b{x=\"1\"}', values: 1x5}, {series: 'b{x=\"2\"}', values: _x2 1x3}]"
    path = write(
        f"tests:\n  - input_series: {series}\n    promql_expr_test: [{{expr: a, eval_time: 4m, exp_samples: []}}]\n"
    )
    outcome = run_unit_tests(read_unit_tests(path), rules, Store)
    assert [(case.line, case.verdict) for case in outcome.cases] == [(2, Verdict.FAILED)]
    assert outcome.cases[0].what.startswith("rule g;r at 2m: found duplicate series for the match group")


def test_a_difference_shows_expected_and_got(outcome):
    """- expected, + got, = both."""
    text = TEST.replace("{labels: doubled, value: 24}", "{labels: doubled, value: 25}, {labels: other, value: 1}")
    case = outcome(text).cases[2]
    assert case.detail == (
        "  expected 2 samples, got 1 sample (- expected, + got, = both):\n  - doubled 25\n  - other 1\n  + doubled 24"
    )


def test_native_histograms_are_evaluated(outcome):
    """Samples, and what is made of them; as promtool has it, the hint that a store gives is a part of a sample."""
    text = """tests:
  - input_series:
      - {series: h, values: "{{sum:1 count:1 buckets:[1]}}+{{sum:1 count:1 buckets:[1]}}x5"}
      - {series: m, values: 1x5}
    promql_expr_test:
      - {expr: h, eval_time: 1m, exp_samples: [{labels: h, histogram: "{{sum:2 count:2 buckets:[2] counter_reset_hint:not_reset}}"}]}
      - {expr: h, eval_time: 1m, exp_samples: [{labels: h, histogram: "{{sum:2 count:2 buckets:[2]}}"}]}
      - {expr: "histogram_count(increase(h[2m]))", eval_time: 3m, exp_samples: [{labels: "{}", value: 2}]}
      - {expr: m, eval_time: 1m, exp_samples: [{labels: m, histogram: "{{sum:1}}"}]}
"""  # noqa: E501
    assert verdicts(outcome(text)) == [(6, "passed"), (7, "failed"), (8, "passed"), (9, "failed")]


def test_an_alert_on_a_histogram_itself_fails_with_how_to_mend_it(write):
    """An alert needs a number."""
    text = """tests:
  - input_series: [{series: h, values: "{{sum:1 count:1}}x5"}]
    alert_rule_test: [{alertname: Slow, eval_time: 1m, exp_alerts: []}]
"""
    rules = load_text("groups: [{name: g, rules: [{alert: Slow, expr: h}]}]")
    (case,) = run_unit_tests(read_unit_tests(write(text)), rules, lambda: Store(retention=1e12)).cases
    assert (case.verdict.value, "use histogram_quantile()" in case.what) == ("failed", True)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("test: []\n", 1, "unknown key 'test' in the file"),
        ("tests:\n  - {intervall: 1m}\n", 2, "unknown key 'intervall' in the test"),
        (
            "tests:\n  - alert_rule_test:\n    - {eval_time: 1m}\n",
            3,
            "the item of alert_rule_test at 1m needs an alertname",
        ),
        ("group_eval_order:\n  - a\n  - a\n", 3, "the group 'a' is named twice in group_eval_order"),
        ("tests:\n  - start_timestamp: soon\n", 2, "start_timestamp 'soon' is no time"),
        (
            "tests:\n  - input_series:\n      - series: up\n        values: 1 x\n",
            4,
            "'x' is no value; write numbers, _, stale, 1x5 or 1+2x5",
        ),
        (
            "evaluation_interval: fast\n",
            1,
            "evaluation_interval: not a duration: 'fast'; write it like 30s, 5m or 1h30m",
        ),
    ],
)
def test_a_file_that_cant_be_used_names_line_and_reason(write, text, line, what):
    """Every finding at once, as for rule files."""
    with pytest.raises(RuleError) as caught:
        read_unit_tests(write(text))
    assert [(line, what)] == [(finding.line, finding.what) for finding in caught.value.findings]


def test_rule_files_are_found_beside_the_test(write, tmp_path: Path):
    """Globs relative to the file; what matches nothing is told, as promtool warns."""
    (tmp_path / "a.yaml").write_text("")
    tests = read_unit_tests(write("rule_files: ['a*.yaml', a.yaml, none.yaml]\n"))
    assert ((tmp_path / "a.yaml",), ("none.yaml",)) == (tests.rule_files, tests.missing)


def test_progress_is_told(write):
    """From 0 to 1, in steps, never back."""
    shares = []
    tests = read_unit_tests(write("tests:\n  - promql_expr_test: [{expr: '1', eval_time: 200m, exp_samples: []}]\n"))
    run_unit_tests(tests, (), Store, progress=shares.append)
    assert (sorted(shares), True) == (shares, 0 <= shares[0] < shares[-1] <= 1)
