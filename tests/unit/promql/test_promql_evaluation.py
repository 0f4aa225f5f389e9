"""What an expression evaluates to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.promql.conftest import EPOCH, Ask
from tocsin.errors import EvaluationError
from tocsin.model import Labels
from tocsin.promql import Round, Scalar, String, compile_expr, evaluate_range
from tocsin.series import Store


def test_rate_is_per_second(ask: Ask) -> None:
    """A counter that rises by n each 15 s has a rate of n / 15."""
    rates = ask('rate(requests{code="200"}[5m])')
    assert {
        Labels(code="200", instance=str(i)): pytest.approx((i + 1) / 15) for i in range(3)
    } == rates  # fmt: skip


def test_aggregation_keeps_only_the_labels_asked_for(ask: Ask) -> None:
    """sum by (code) adds over instances."""
    assert {Labels(code="200"): 239.0 * 6, Labels(code="500"): 239.0 * 15} == ask("sum by (code) (requests)")


def test_vectors_match_on_the_labels_named(ask: Ask) -> None:
    """500s by 200s of the same instance."""
    expected = {Labels(instance=str(i)): (4 + i) / (1 + i) for i in range(3)}
    assert expected == ask('requests{code="500"} / on (instance) requests{code="200"}')


def test_many_to_many_is_an_error_not_a_guess(ask: Ask) -> None:
    """Prometheus' words for a match that is not unique."""
    with pytest.raises(EvaluationError, match="found duplicate series for the match group"):
        ask("requests + on (code) requests")


def test_a_scalar_and_a_string_have_results_of_their_own(store: Store) -> None:
    """Grafana's health check is 1+1."""
    round_ = Round(store, EPOCH)
    scalar, string = round_.evaluate(compile_expr("1+1")), round_.evaluate(compile_expr('"x"'))
    assert isinstance(scalar, Scalar)
    assert isinstance(string, String)
    assert (scalar.value, string.value) == (2.0, "x")


def test_a_range_query_equals_its_instants(store: Store) -> None:
    """Evaluating all steps at once gives what each step gives."""
    plan = compile_expr("sum by (code) (rate(requests[1m])) > 0")
    start, step = EPOCH + timedelta(minutes=1), timedelta(seconds=25)
    matrix = evaluate_range(plan, store, start, start + 40 * step, step)
    apart = {}
    for number in range(41):
        at = start + number * step
        for labels, value in Round(store, at).evaluate(plan):  # type: ignore[union-attr,misc]
            apart[labels, round(at.timestamp() * 1000)] = value
    together = {
        (line.labels, at): value
        for line in matrix
        for at, value in zip(line.times.tolist(), line.values.tolist(), strict=True)
    }
    assert apart == together


def test_a_rate_of_what_seems_no_counter_is_remarked_upon(store: Store) -> None:
    """An info, with the metric's name and where it stands; the result is given all the same."""
    at = store.newest
    assert at is not None
    result = Round(store, at).evaluate(compile_expr("sum(rate(requests[5m]))"))
    assert result.annotations.infos == (
        "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
        '"requests" (1:10)',
    )
    assert result.annotations.warnings == ()
