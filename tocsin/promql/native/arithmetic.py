"""Native histograms added, subtracted, scaled, and seen to have been reset.

Two histograms are brought to one layout first: the coarser schema, the wider zero bucket, the bounds that both have.
Source: prometheus/model/histogram/float_histogram.go.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tocsin.promql.native.value import CUSTOM, Hint, Histogram, Incompatible

Buckets = Mapping[int, float]


class Sum(NamedTuple):
    """A histogram made of others."""

    value: Histogram
    collides: bool = False
    """One counter was reset and another was not: what the sum's own hint should be is not known."""
    reconciled: bool = False
    """Custom bounds differed: those that both have were kept."""


def scaled(histogram: Histogram, factor: float) -> Histogram:
    """Every count and the sum times `factor`; less than 0 makes a gauge of it."""
    return _each(histogram, lambda value: value * factor, gauge=factor < 0)


def divided(histogram: Histogram, divisor: float) -> Histogram:
    """Every count and the sum by `divisor`; by 0, the buckets go."""
    if divisor == 0:
        histogram = replace(histogram, positive={}, negative={})
        return _each(histogram, lambda value: _over_zero(value, divisor), gauge=False)
    return _each(histogram, lambda value: value / divisor, gauge=divisor < 0)


def _over_zero(value: float, zero: float) -> float:
    if value == 0 or math.isnan(value):
        return math.nan
    return math.copysign(math.inf, value) * math.copysign(1.0, zero)


def _each(histogram: Histogram, change: Callable[[float], float], *, gauge: bool) -> Histogram:
    return replace(
        histogram,
        count=change(histogram.count), sum=change(histogram.sum), zero_count=change(histogram.zero_count),
        positive=compact({index: change(value) for index, value in histogram.positive.items()}),
        negative=compact({index: change(value) for index, value in histogram.negative.items()}),
        hint=Hint.GAUGE if gauge else histogram.hint,
    )  # fmt: skip


def compact(buckets: Buckets) -> dict[int, float]:
    """Without the buckets of 0."""
    return {index: value for index, value in buckets.items() if value != 0}


def added(a: Histogram, b: Histogram) -> Sum:
    """a + b. Raises Incompatible."""
    hint, collides = _joint_hint(a.hint, b.hint)
    return _combined(a, b, 1.0, hint, collides)


def subtracted(a: Histogram, b: Histogram) -> Sum:
    """a - b, which is a gauge. Raises Incompatible."""
    return _combined(a, b, -1.0, Hint.GAUGE, _joint_hint(a.hint, b.hint)[1])


def _joint_hint(a: Hint, b: Hint) -> tuple[Hint, bool]:
    if a is b:
        return a, False
    for strongest in (Hint.GAUGE, Hint.UNKNOWN):
        if strongest in (a, b):
            return strongest, False
    return Hint.UNKNOWN, True


def _combined(a: Histogram, b: Histogram, sign: float, hint: Hint, collides: bool) -> Sum:
    reconciled = a.custom and b.custom and a.bounds != b.bounds
    a, b = aligned(a, b)
    value = replace(
        a,
        count=a.count + sign * b.count, sum=a.sum + sign * b.sum, zero_count=a.zero_count + sign * b.zero_count,
        positive=_added(a.positive, b.positive, sign), negative=_added(a.negative, b.negative, sign), hint=hint,
    )  # fmt: skip
    return Sum(value, collides, reconciled)


def _added(a: Buckets, b: Buckets, sign: float) -> dict[int, float]:
    both = dict(a)
    for index, value in b.items():
        both[index] = both.get(index, 0.0) + sign * value
    return compact(both)


def total(histograms: Sequence[Histogram], *, mean: bool = False) -> Sum:
    """The sum or the mean, each figure rounded once. Raises Incompatible.

    A mean of what would add up to more than a float holds is the sum of the parts.
    """
    layout, reconciled = histograms[0], False
    for histogram in histograms[1:]:
        layout, _, differs = added(layout, histogram)
        reconciled = reconciled or differs
    # Whatever lies between them in the order of adding up.
    collides = {Hint.RESET, Hint.NOT_RESET} <= {histogram.hint for histogram in histograms}
    parts = [_laid_out(histogram, layout) for histogram in histograms]
    share = len(parts) if mean else 1

    def folded(pick: Callable[[Histogram], Buckets]) -> dict[int, float]:
        found: dict[int, list[float]] = {}
        for part in parts:
            for index, value in pick(part).items():
                found.setdefault(index, []).append(value)
        return compact({index: exact_sum(values, share) for index, values in found.items()})

    value = replace(
        layout,
        count=exact_sum([part.count for part in parts], share),
        sum=exact_sum([part.sum for part in parts], share),
        zero_count=exact_sum([part.zero_count for part in parts], share),
        positive=folded(lambda part: part.positive), negative=folded(lambda part: part.negative),
    )  # fmt: skip
    return Sum(value, collides, reconciled)


def exact_sum(values: Sequence[float], share: int = 1) -> float:
    """The sum by `share`, rounded once; infinities and NaN as in plain addition."""
    try:
        return math.fsum(values) / share
    except (OverflowError, ValueError):
        return sum(value / share for value in values)


# Layouts -------------------------------------------------------------------------------------------------------------


def aligned(a: Histogram, b: Histogram) -> tuple[Histogram, Histogram]:
    """Both in one layout. Raises Incompatible for exponential beside custom buckets."""
    if a.custom != b.custom:
        raise Incompatible("exponential and custom buckets")
    if a.custom:
        if a.bounds == b.bounds:
            return a, b
        shared = tuple(sorted(set(a.bounds) & set(b.bounds)))
        return _bounded(a, shared), _bounded(b, shared)
    schema = min(a.schema, b.schema)
    a, b = to_schema(a, schema), to_schema(b, schema)
    while a.zero_threshold != b.zero_threshold:
        if a.zero_threshold < b.zero_threshold:
            a = widened(a, b.zero_threshold)
        else:
            b = widened(b, a.zero_threshold)
    return a, b


def _laid_out(histogram: Histogram, layout: Histogram) -> Histogram:
    if layout.custom:
        return histogram if histogram.bounds == layout.bounds else _bounded(histogram, layout.bounds)
    histogram = to_schema(histogram, layout.schema)
    if histogram.zero_threshold == layout.zero_threshold:
        return histogram
    return widened(histogram, layout.zero_threshold)


def _bounded(histogram: Histogram, bounds: tuple[float, ...]) -> Histogram:
    """With fewer custom bounds: a bucket goes to the one that holds it."""
    merged: dict[int, float] = {}
    for index, value in histogram.positive.items():
        place = bisect_left(bounds, histogram.upper(index))
        merged[place] = merged.get(place, 0.0) + value
    return replace(histogram, schema=CUSTOM, bounds=bounds, positive=compact(merged))


def to_schema(histogram: Histogram, schema: int) -> Histogram:
    """At a coarser exponential schema."""
    coarser = histogram.schema - schema
    if coarser <= 0:
        return histogram
    return replace(
        histogram, schema=schema,
        positive=_merged(histogram.positive, coarser), negative=_merged(histogram.negative, coarser),
    )  # fmt: skip


def _merged(buckets: Buckets, coarser: int) -> dict[int, float]:
    merged: dict[int, float] = {}
    for index, value in buckets.items():
        place = ((index - 1) >> coarser) + 1
        merged[place] = merged.get(place, 0.0) + value
    return compact(merged)


def widened(histogram: Histogram, threshold: float) -> Histogram:
    """With a zero bucket that reaches to `threshold`, or to the end of a bucket that counts something there."""
    while True:
        reach = threshold
        for buckets in (histogram.positive, histogram.negative):
            for index in sorted(buckets):
                if histogram.upper(index - 1) < reach:
                    reach = max(reach, histogram.upper(index))
        if reach == threshold:
            break
        threshold = reach
    inside = [
        value
        for buckets in (histogram.positive, histogram.negative)
        for index, value in buckets.items()
        if histogram.upper(index) <= threshold
    ]
    return replace(
        histogram, zero_threshold=threshold, zero_count=histogram.zero_count + sum(inside),
        positive=_beyond(histogram, histogram.positive, threshold),
        negative=_beyond(histogram, histogram.negative, threshold),
    )  # fmt: skip


def _beyond(histogram: Histogram, buckets: Buckets, threshold: float) -> dict[int, float]:
    return {index: value for index, value in buckets.items() if histogram.upper(index) > threshold}


# Resets --------------------------------------------------------------------------------------------------------------


def was_reset(now: Histogram, before: Histogram) -> bool:
    """Whether a counter began anew between two samples: by the hint, or because something fell."""
    if now.hint is Hint.RESET:
        return True
    if now.hint is Hint.NOT_RESET:
        return False
    if now.count < before.count or now.custom != before.custom:
        return True
    if not now.custom:
        if now.schema > before.schema or now.zero_threshold < before.zero_threshold:
            return True
        before = widened(to_schema(before, now.schema), now.zero_threshold)
        if before.zero_threshold != now.zero_threshold:
            return True
    now, before = aligned(now, before)
    return now.zero_count < before.zero_count or _fell(now.positive, before.positive) or _fell(
        now.negative, before.negative
    )  # fmt: skip


def _fell(now: Buckets, before: Buckets) -> bool:
    return any(now.get(index, 0.0) < value for index, value in before.items())
