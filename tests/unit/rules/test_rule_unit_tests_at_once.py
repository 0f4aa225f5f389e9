"""Evaluations between two cases are made at once where nobody can tell: the same verdicts, to the word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.rules import load_rules
from tocsin.rules.unit_tests import Verdict, read_unit_tests, run_unit_tests
from tocsin.series import Store

SHIPPED = Path(__file__).parents[3] / "alert_rules"

TESTS = """
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    external_labels: {region: eu}
    input_series:
      - {series: 'm{i="a"}', values: "0 1 2 3 4 _ _ 5x3 stale 1+1x20"}
      - {series: 'm{i="b"}', values: "9-1x30"}
      - {series: 'n', values: "0 0 7 0 0 0 7 7 7 0x20"}
    alert_rule_test:
      # Wrong on purpose: what was got must be told alike.
      - {eval_time: 3m, alertname: A}
      - {eval_time: 5m30s, alertname: A}
      - {eval_time: 9m, alertname: A}
      - {eval_time: 9m, alertname: B}
      - {eval_time: 25m, alertname: A}
      - {eval_time: 25m, alertname: B}
    promql_expr_test:
      - {eval_time: 20m, expr: 'sum_over_time(r[15m])'}
      - {eval_time: 20m, expr: 'sum_over_time(n[15m])'}
      - {eval_time: 20m, expr: 'sum(sub)'}
      - {eval_time: 20m, expr: 'bad('}
"""

OF_ALERTS = """\
      - {eval_time: 12m, expr: 'sum_over_time(ALERTS[8m])'}
      - {eval_time: 20m, expr: '{__name__=~"r|ALERTS.*"}'}
"""

RULES = {
    "plain": "{alert: A, expr: m > 2, for: 2m, annotations: {s: '{{ $value }} {{ $externalLabels.region }}'}}",
    "kept": "{alert: A, expr: n > 5, keep_firing_for: 3m}",
    "records": "{record: r, expr: sum(m)}, {alert: A, expr: r > 3}, {record: sub, expr: 'max_over_time(m[4m:])'}",
    "own past": "{record: r, expr: r * 2 or n}, {alert: A, expr: 'r > 20'}",
    "alerts read": "{alert: A, expr: n > 5}, {alert: B, expr: 'ALERTS{alertname=\"A\"} == 1'}",
    "value as label": "{alert: A, expr: m > 2, labels: {v: '{{ $value }}'}, for: 1m}",
    "ahead": "{alert: A, expr: m offset -3m > 5, for: 2m}, {record: r, expr: 'm offset -2m'}",
    "ends": "{alert: A, expr: 'm @ end() > 5'}",
    "asks": "{alert: A, expr: n > 5, annotations: {s: '{{ with query \"m offset -2m\" }}{{ . | len }}{{ end }}'}}",
    "fails": "{alert: A, expr: n > 5}, {record: r, expr: 'm + on () m'}",
    "one label set": "{alert: A, expr: m > 2, labels: {i: x}}",
    "collected too": "{record: n, expr: sum(m)}, {alert: A, expr: n > 5}",
    "bad template": "{alert: A, expr: m > 2, annotations: {s: '{{ $value.x }}'}}",
}


@pytest.mark.parametrize(("limit", "more"), [(0, ""), (1, ""), (0, OF_ALERTS)], ids=["free", "limited", "of alerts"])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_rules_that_differ_by_step_are_told_alike(tmp_path: Path, rules: str, limit: int, more: str) -> None:
    """Rules that see ahead, that fail, that read themselves or ALERTS, that are over their limit: no difference."""
    (tmp_path / "rules.yaml").write_text(f"groups: [{{name: g, limit: {limit}, rules: [{rules}]}}]\n")
    (tmp_path / "test.yaml").write_text(TESTS + more)
    file, groups = read_unit_tests(tmp_path / "test.yaml"), load_rules([tmp_path / "rules.yaml"])
    singly = run_unit_tests(file, groups, Store, at_once=False)
    assert singly.of(Verdict.FAILED)
    assert run_unit_tests(file, groups, Store) == singly


@pytest.mark.untraced  # thousands of steps of the same code: traced, they take three times as long
@pytest.mark.parametrize("name", ["endpoints"])
def test_shipped_tests_are_told_alike(name: str) -> None:
    """Every case of real rules."""
    file = read_unit_tests(SHIPPED / "tests" / f"{name}.yaml")
    groups = load_rules(list(file.rule_files))
    singly = run_unit_tests(file, groups, Store, at_once=False)
    assert (singly, True) == (run_unit_tests(file, groups, Store), singly.passed)
