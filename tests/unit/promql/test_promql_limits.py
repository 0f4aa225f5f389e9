"""What a query may cost, and what it says when it would cost more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.promql.conftest import EPOCH
from tocsin.errors import EvaluationError
from tocsin.promql import CANCELED, Limits, Round, compile_expr, evaluate_range
from tocsin.series import Store

AT = EPOCH + timedelta(hours=1)


def test_too_many_samples_are_refused_in_prometheus_words(store: Store) -> None:
    """The ceiling counts what one part of the query holds at once."""
    limits = Limits(samples=100)
    with pytest.raises(EvaluationError, match="query processing would load too many samples into memory"):
        Round(store, AT, limits=limits).evaluate(compile_expr("rate(requests[30m])"))


def test_too_many_series_are_refused(store: Store) -> None:
    """With the number there would be, and the limit."""
    with pytest.raises(EvaluationError, match="too many series: 6, limit: 5"):
        Round(store, AT, limits=Limits(series=5)).evaluate(compile_expr("requests"))


def test_too_many_steps_are_refused(store: Store) -> None:
    """11,000 points per series, as Prometheus' API."""
    with pytest.raises(EvaluationError, match=r"exceeded maximum resolution of 11,000 points per timeseries"):
        evaluate_range(compile_expr("requests"), store, EPOCH, AT, 0.1)


@pytest.mark.parametrize(("step", "hours", "message"), [(0, 1, "zero or negative"), (15, -1, "must not be before")])
def test_a_range_must_go_forward(store: Store, step: float, hours: int, message: str) -> None:
    """No step of zero, no end before the start."""
    with pytest.raises(EvaluationError, match=message):
        evaluate_range(compile_expr("requests"), store, EPOCH, EPOCH + timedelta(hours=hours), step)


def test_a_query_can_be_stopped_between_its_parts(store: Store) -> None:
    """The check is asked before each part, and what it raises comes out."""
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise EvaluationError(CANCELED)

    with pytest.raises(EvaluationError, match="query was canceled"):
        Round(store, AT, limits=Limits(check=check)).evaluate(compile_expr("sum(rate(requests[5m])) + sum(requests)"))


@pytest.mark.parametrize("text", ["requests @ 9e15", "requests @ -9e15", "rate(requests[5m] @ 9e15)"])
def test_far_times_find_nothing(store: Store, text: str) -> None:
    """No overflow into the present."""
    assert len(Round(store, AT).evaluate(compile_expr(text))) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["requests offset 9e18", "requests offset -9e18", "sum_over_time(requests[5m:1ms] offset 1e17)"]
)
def test_far_offsets_are_refused_or_find_nothing(store: Store, text: str) -> None:
    """A duration of millions of years is a mistake."""
    with pytest.raises(EvaluationError, match="duration out of range"):
        Round(store, AT).evaluate(compile_expr(text))


def test_equal_parts_of_a_round_are_worked_out_once(store: Store) -> None:
    """Two rules that share a rate ask the storage for it once."""
    asked = []

    class Counting:
        dictionary = store.dictionary

        def select(self, matchers: object, after: int, until: int) -> object:
            asked.append(matchers)
            return store.select(matchers, after, until)  # type: ignore[arg-type]

    round_ = Round(Counting(), AT)  # type: ignore[arg-type]
    for text in ("sum(rate(requests[5m])) > 1", "max by (code) (rate( requests[300s] ))"):
        round_.evaluate(compile_expr(text))
    assert len(asked) == 1


def test_an_annotation_of_a_shared_part_speaks_of_each_expression(store: Store) -> None:
    """Line and column are those in the expression asked, though the part was worked out for another."""
    round_ = Round(store, AT)
    first = round_.evaluate(compile_expr("quantile(2, requests)"))
    second = round_.evaluate(compile_expr("1 +\n  quantile(2, requests)"))
    assert first.annotations.warnings == ("PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)",)
    assert second.annotations.warnings == ("PromQL warning: quantile value should be between 0 and 1, got 2 (2:12)",)
