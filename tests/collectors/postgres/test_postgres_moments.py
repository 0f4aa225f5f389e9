"""What the difference of two snapshots proves about the longest execution between them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.postgres.moments import ZERO, Bounds, Evidence, Moments, between

DURATIONS = st.lists(st.floats(min_value=1e-6, max_value=100, allow_nan=False), min_size=1, max_size=60)


def moments(durations: list[float]) -> Moments:
    """The figures that pg_stat_statements would hold after these executions."""
    calls, total = len(durations), math.fsum(durations)
    mean = total / calls
    variance = math.fsum((duration - mean) ** 2 for duration in durations) / calls
    return Moments(calls=calls, total=total, mean=mean, stddev=math.sqrt(variance), maximum=max(durations))


@given(before=DURATIONS, during=DURATIONS)
def test_the_longest_execution_lies_between_the_bounds(before: list[float], during: list[float]) -> None:
    """Whatever ran before and since, the bounds hold what is asked for."""
    bounds = between(moments(before), moments(before + during))
    assert bounds is not None
    longest = max(during)
    assert bounds.lower <= longest * (1 + 1e-9) + 1e-9
    assert longest <= bounds.upper * (1 + 1e-9) + 1e-9


@given(before=DURATIONS, during=DURATIONS)
def test_a_verdict_is_never_wrong(before: list[float], during: list[float]) -> None:
    """`certain` means that one was that long, `none` that none was."""
    bounds = between(moments(before), moments(before + during))
    assert bounds is not None
    threshold, longest = 1.0, max(during)
    if abs(longest - threshold) < 1e-6:
        return  # on the very edge either word is right
    verdict = bounds.evidence(threshold)
    assert verdict is Evidence.POSSIBLE or (verdict is Evidence.CERTAIN) == (longest > threshold)


def test_one_slow_call_hidden_among_thousands_is_proved() -> None:
    """1.2 s among 2,999 calls of 0.1 ms, under an old maximum of 3 s, which hides it from `max_exec_time`."""
    before = [3.0] + [0.0001] * 500
    bounds = between(moments(before), moments(before + [0.0001] * 2999 + [1.2]))
    assert bounds is not None
    assert (bounds.evidence(1.0), round(bounds.upper, 2)) == (Evidence.POSSIBLE, 1.2)
    assert bounds.evidence(0.9) is Evidence.CERTAIN


def test_many_quick_calls_are_proved_innocent() -> None:
    """Ten calls of 150 ms take 1.5 s together, and none took a second."""
    bounds = between(moments([3.0]), moments([3.0] + [0.15] * 10))
    assert bounds is not None
    assert bounds.evidence(1.0) is Evidence.NONE


def test_a_single_call_is_known_exactly() -> None:
    """One call between two snapshots took what the total grew by."""
    bounds = between(moments([3.0, 0.2]), moments([3.0, 0.2, 1.5]))
    assert bounds == Bounds(lower=pytest.approx(1.5), upper=pytest.approx(1.5))


def test_no_call_no_bounds() -> None:
    """Nothing ran, so there is no longest."""
    assert between(moments([1.0]), moments([1.0])) is None


def test_figures_that_went_back_count_from_zero() -> None:
    """After pg_stat_statements_reset the new figures are all since then."""
    bounds = between(moments([5.0] * 9), moments([1.5]))
    assert bounds is not None
    assert bounds.evidence(1.0) is Evidence.CERTAIN


def test_a_new_statement_counts_from_zero() -> None:
    """A statement that was not there before has its whole figures to show."""
    bounds = between(ZERO, moments([0.2, 0.3]))
    assert bounds == Bounds(lower=pytest.approx(0.3), upper=pytest.approx(0.3))
