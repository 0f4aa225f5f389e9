"""Numbers out of a native histogram: quantiles, fractions, deviation.

Within an exponential bucket observations are taken to lie evenly on a logarithmic scale; within the zero bucket and
custom ones, evenly. Source: prometheus/promql/quantile.go, HistogramQuantile(), HistogramFraction().
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from tocsin.promql.native.value import Bucket, Histogram


class Measured(NamedTuple):
    """A number, and what the observations of NaN did to it ("" for nothing)."""

    value: float
    note: str = ""


def quantile(q: float, histogram: Histogram) -> Measured:
    """The value that the share `q` of the observations lies at or below."""
    if q < 0 or q > 1:
        return Measured(-math.inf if q < 0 else math.inf)
    if histogram.count == 0 or math.isnan(q):
        return Measured(math.nan)
    unsure = math.isnan(histogram.sum)  # Some observations were NaN: they are in the count, and in no bucket.
    upward = unsure or q < 0.5
    buckets = list(histogram.buckets())
    rank = q * histogram.count if upward else (1 - q) * histogram.count
    bucket, seen = _holding(buckets if upward else reversed(buckets), rank)
    seen = min(seen, histogram.count)
    if seen < rank:
        return Measured(math.nan, "input to histogram_quantile has NaN observations, result is NaN" if unsure else "")
    note = "input to histogram_quantile has NaN observations, result is skewed higher" if unsure else ""
    inside = rank - (seen - bucket.held) if upward else seen - rank
    return Measured(_point(histogram, bucket, inside / bucket.held if bucket.held else math.nan), note)


def _holding(buckets: Iterable[Bucket], rank: float) -> tuple[Bucket, float]:
    seen, bucket = 0.0, Bucket(0.0, 0.0, 0.0)
    for bucket in buckets:
        seen += bucket.held
        if seen >= rank:
            break
    return bucket, seen


def _point(histogram: Histogram, bucket: Bucket, share: float) -> float:
    """The value at a share of a bucket."""
    lower, upper = _ends(histogram, bucket)
    if histogram.custom:
        if lower == -math.inf:
            return upper
        if upper == math.inf:
            return lower
    if histogram.custom or lower <= 0 <= upper:
        return lower + (upper - lower) * share
    low, high = math.log2(abs(lower)), math.log2(abs(upper))
    if lower > 0:
        return float(2 ** (low + (high - low) * share))
    return -float(2 ** (high + (low - high) * (1 - share)))


def _ends(histogram: Histogram, bucket: Bucket) -> tuple[float, float]:
    """A bucket's bounds: a zero bucket of one-sided observations has one side, and so has the first custom one."""
    lower, upper = bucket.lower, bucket.upper
    if histogram.custom:
        return (0.0 if lower == -math.inf and upper > 0 else lower), upper
    if lower <= 0 <= upper:
        if not histogram.negative and histogram.positive:
            lower = 0.0
        elif not histogram.positive and histogram.negative:
            upper = 0.0
    return lower, upper


def fraction(lower: float, upper: float, histogram: Histogram) -> Measured:
    """The share of the observations between two values."""
    if histogram.count == 0 or math.isnan(lower) or math.isnan(upper):
        return Measured(math.nan)
    unsure = math.isnan(histogram.sum)
    note = "input to histogram_fraction has NaN observations, which are excluded from all fractions" if unsure else ""
    if lower >= upper:
        return Measured(0.0, note)
    buckets = list(histogram.buckets())
    known = sum(bucket.held for bucket in buckets) if unsure else histogram.count
    high, low = (min(_below(histogram, buckets, value, known), known) for value in (upper, lower))
    return Measured((high - low) / histogram.count, note)


def _below(histogram: Histogram, buckets: list[Bucket], value: float, known: float) -> float:
    """How many observations lie at or below `value`."""
    rank = 0.0
    for bucket in buckets:
        lower, upper = _ends(histogram, bucket)
        if lower >= value:
            return rank
        if upper > value:
            return rank + bucket.held * _share(histogram, lower, upper, value)
        rank += bucket.held
    return known


def _share(histogram: Histogram, lower: float, upper: float, value: float) -> float:
    if lower == -math.inf:
        return 1.0
    if upper == math.inf:
        return 0.0
    if histogram.custom or lower <= 0 <= upper:
        return (value - lower) / (upper - lower)
    low, high, at = math.log2(abs(lower)), math.log2(abs(upper)), math.log2(abs(value))
    return (at - low) / (high - low)


def variance(histogram: Histogram) -> float:
    """The variance, each bucket's observations taken to lie at its middle."""
    if histogram.count == 0:
        return math.nan
    mean = histogram.sum / histogram.count
    parts = [bucket.held * (gap := _middle(histogram, bucket) - mean) * gap for bucket in histogram.buckets()]
    return math.nan if math.isnan(mean) else math.fsum(parts) / histogram.count


def _middle(histogram: Histogram, bucket: Bucket) -> float:
    if histogram.custom:
        return (bucket.upper + bucket.lower) / 2
    if bucket.lower <= 0 <= bucket.upper:
        return 0.0
    return math.copysign(math.sqrt(bucket.upper * bucket.lower), bucket.upper)
