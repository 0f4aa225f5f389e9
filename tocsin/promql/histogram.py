"""histogram_quantile, histogram_quantiles and histogram_fraction over classic histograms (`_bucket` series with `le`).

What they make of native histograms is in native.measure.
Source of the formulas: prometheus/promql/quantile.go, BucketQuantile() and BucketFraction().
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import METRIC_NAME
from tocsin.promql.aggregate import go_number, openmetrics_number
from tocsin.promql.engine import Engine, Steps
from tocsin.promql.frame import Frame
from tocsin.promql.native import Histogram, measure
from tocsin.promql.native.functions import beside_classic
from tocsin.promql.storage import Bools, Floats, Rows, any_of
from tocsin.promql.syntax import Call, Node
from tocsin.promql.vector import Grid, joined, tidy

_TOLERANCE = 1e-12
"""A dip between cumulative buckets smaller than this share is rounding, not a fault. Source: smallDeltaTolerance."""


@dataclass(slots=True)
class _Histograms:
    """Buckets of G histograms of equal bounds at T steps, cumulative and rising."""

    rows: Rows
    """Which histograms of the whole these are."""
    bounds: Floats
    """[B], rising"""
    counts: Floats
    """[T, G, B]"""
    present: Bools
    """[T, G, B]"""


def quantile(engine: Engine, call: Call, steps: Steps) -> Grid:
    """histogram_quantile(q, buckets)"""
    q = engine.scalar(call.args[0], call, steps)
    _check_quantile(engine, call, call.args[0], q)
    grid = engine.mixed(call.args[1], call, steps)
    frame, nameless, parts = _histograms(engine, call, call.args[1], grid)
    classic = _result(frame, nameless, _quantiles(engine, call, call.args[1], frame, parts, q, steps))
    return beside_classic(engine, call, call.args[1], grid, classic, _at(q))


def quantiles(engine: Engine, call: Call, steps: Steps) -> Grid:
    """histogram_quantiles(buckets, label, q, …): one series per quantile."""
    label = engine.text(call.args[1])
    asked = [engine.scalar(arg, call, steps) for arg in call.args[2:]]
    grid = engine.mixed(call.args[0], call, steps)
    for arg, q in zip(call.args[2:], asked, strict=True):
        _check_quantile(engine, call, arg, q)
    frame, nameless, parts = _histograms(engine, call, call.args[0], grid)
    if any(label in each.names and each.column(label).any() for each in (frame, grid.frame)):
        raise EvaluationError(f'label "{label}" is already there on a histogram')
    results = []
    for q in asked:
        classic = _result(frame, nameless, _quantiles(engine, call, call.args[0], frame, parts, q, steps))
        both = beside_classic(engine, call, call.args[0], grid, classic, _at(q))
        codes = engine.dictionary.codes([openmetrics_number(float(q[0]))] * both.size)
        results.append(Grid(both.frame.with_column(label, codes), both.values, both.present, both.nameless))
    return joined(results)


def _at(q: Floats) -> Callable[[int, Histogram], measure.Measured]:
    return lambda step, histogram: measure.quantile(float(q[step]), histogram)


def _check_quantile(engine: Engine, call: Call, node: Node, q: Floats) -> None:
    for value in np.unique(q[~((q >= 0) & (q <= 1))]).tolist():
        engine.warn(f"quantile value should be between 0 and 1, got {go_number(value)}", node, call)


def fraction(engine: Engine, call: Call, steps: Steps) -> Grid:
    """histogram_fraction(lower, upper, buckets)"""
    lower = engine.scalar(call.args[0], call, steps)
    upper = engine.scalar(call.args[1], call, steps)
    grid = engine.mixed(call.args[2], call, steps)
    frame, nameless, parts = _histograms(engine, call, call.args[2], grid)
    values = np.full((steps.count, frame.size), np.nan)
    present = np.zeros(values.shape, bool)
    for part in parts:
        counts, there = _filled(part)
        values[:, part.rows] = _fraction(part.bounds, counts, lower[:, None], upper[:, None])
        present[:, part.rows] = there
    classic = _result(frame, nameless, (values, present))
    return beside_classic(
        engine, call, call.args[2], grid, classic,
        lambda step, each: measure.fraction(float(lower[step]), float(upper[step]), each),
    )  # fmt: skip


def _result(frame: Frame, nameless: bool | Bools, outcome: tuple[Floats, Bools]) -> Grid:
    values, present = outcome
    return tidy(Grid(frame, values, present, nameless))


def _histograms(engine: Engine, call: Call, about: Node, grid: Grid) -> tuple[Frame, bool | Bools, list[_Histograms]]:
    """Series put together by their labels less `le`, and these by their bounds; native histograms left out."""
    grid = tidy(grid.numbers())
    column = grid.frame.column("le")
    values = engine.dictionary.values
    codes, inverse = np.unique(column, return_inverse=True)
    parsed = np.array([_bound(values[code]) for code in codes.tolist()])
    bounds = parsed[inverse] if len(codes) else np.zeros(0)
    bad = np.flatnonzero(np.isnan(bounds))
    for row in bad.tolist():
        name = grid.frame.value(row, METRIC_NAME)
        text = grid.frame.value(row, "le")
        engine.warn(
            f'bucket label "le" is missing or has a malformed value of "{text}"'
            + (f' for metric name "{name}"' if name else ""), about, call,
        )  # fmt: skip
    if len(bad):
        keep = np.flatnonzero(~np.isnan(bounds))
        grid, bounds = grid.take(keep), bounds[keep]
        if grid.size != len(bounds):
            return _histograms(engine, call, about, grid)
    if not grid.size:
        return Frame.empty(engine.dictionary), True, []
    base = grid.frame.without("le")
    _, first, groups = np.unique(base.keys(), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    groups = rank[groups]
    frame = base.take(first[order])
    return frame, True, list(_by_bounds(grid, groups, bounds, frame.size))


def _bound(text: str) -> float:
    if not text or text != text.strip() or "_" in text:
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def _by_bounds(grid: Grid, groups: Rows, bounds: Floats, size: int) -> list[_Histograms]:
    order = np.lexsort((bounds, groups))
    sizes = np.bincount(groups, minlength=size)
    starts = np.cumsum(sizes) - sizes
    kinds: dict[bytes, list[int]] = {}
    ordered = bounds[order]
    for group in range(size):
        own = ordered[starts[group] : starts[group] + sizes[group]]
        kinds.setdefault(own.tobytes(), []).append(group)
    mask = grid.mask()
    parts = []
    for raw, members in kinds.items():
        own = np.frombuffer(raw)
        rows = np.array(members, np.intp)
        columns = order[starts[rows][:, None] + np.arange(len(own))]
        counts = grid.values[:, columns]
        present = mask[:, columns]
        unique, where = np.unique(own, return_inverse=True)
        if len(unique) != len(own):  # 0.2 and 2e-1: one bucket, counts added.
            slots = np.searchsorted(where, np.arange(len(unique)))
            counts = np.add.reduceat(np.where(present, counts, 0.0), slots, axis=2)
            present = np.logical_or.reduceat(present, slots, axis=2)
        parts.append(_Histograms(rows, unique, counts, present))
    return parts


def _filled(part: _Histograms) -> tuple[Floats, Bools]:
    """Counts where a missing bucket takes the one below it, and where there is any bucket."""
    there = any_of(part.present, 2)
    if part.present.all():
        return part.counts, there
    place = np.where(part.present, np.arange(part.counts.shape[2]), -1)
    np.maximum.accumulate(place, axis=2, out=place)
    counts = np.take_along_axis(part.counts, np.maximum(place, 0), axis=2)
    return np.where(place >= 0, counts, 0.0), there


def _monotonic(counts: Floats) -> tuple[Floats, bool]:
    """Counts that never fall, and whether a dip was more than rounding."""
    peak = np.maximum.accumulate(counts, axis=2)
    dips = peak - counts
    return peak, bool((dips > _TOLERANCE * (np.abs(peak) + np.abs(counts))).any())


def _quantiles(
    engine: Engine, call: Call, about: Node, frame: Frame, parts: list[_Histograms], q: Floats, steps: Steps
) -> tuple[Floats, Bools]:
    values = np.full((steps.count, frame.size), np.nan)
    present = np.zeros(values.shape, bool)
    forced = False
    for part in parts:
        counts, there = _filled(part)
        present[:, part.rows] = there
        if len(part.bounds) < 2 or not np.isposinf(part.bounds[-1]):
            values[:, part.rows] = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, np.nan))[:, None]
            continue
        rising, dipped = _monotonic(counts)
        forced |= dipped
        values[:, part.rows] = _interpolated(part, rising, q[:, None])
    if forced:
        engine.inform(
            "input to histogram_quantile needed to be fixed for monotonicity "
            "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
            about, call,
        )  # fmt: skip
    return values, present


def _interpolated(part: _Histograms, counts: Floats, q: Floats) -> Floats:
    """Linear within the bucket that holds the rank."""
    bounds, last = part.bounds, len(part.bounds) - 1
    observations = counts[:, :, -1]
    rank = q * observations
    bucket = (counts[:, :, :-1] < rank[:, :, None]).sum(axis=2)
    # A step at which only some buckets are there has its highest finite one as the answer of the last bucket.
    upper = bounds[np.minimum(bucket, last)]
    below = np.maximum(bucket - 1, 0)
    lower = np.where(bucket > 0, bounds[below], 0.0)
    before = np.where(bucket > 0, np.take_along_axis(counts, below[:, :, None], axis=2)[:, :, 0], 0.0)
    inside = np.take_along_axis(counts, bucket[:, :, None], axis=2)[:, :, 0] - before
    value = lower + (upper - lower) * ((rank - before) / inside)
    value = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], value)
    value = np.where(bucket == last, bounds[last - 1], value)
    whole = part.present[:, :, -1]
    value = np.where((observations == 0) | np.isnan(observations) | ~whole, np.nan, value)
    value = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, value))
    return np.where(np.isnan(q), np.nan, value)


def _fraction(bounds: Floats, counts: Floats, lower: Floats, upper: Floats) -> Floats:
    """The share of observations in (lower, upper]."""
    counts, _ = _monotonic(counts)
    total = counts[:, :, -1]
    at_upper, at_lower = _rank(bounds, counts, upper), _rank(bounds, counts, lower)
    result = (at_upper - at_lower) / total
    result = np.where(lower >= upper, 0.0, result)
    undefined = np.isnan(lower) | np.isnan(upper) | (total == 0) | np.isnan(total) | ~np.isposinf(bounds[-1])
    return np.where(undefined, np.nan, result)


def _rank(bounds: Floats, counts: Floats, value: Floats) -> Floats:
    """[T, G] how many observations lie at or below `value` [T, 1], by linear interpolation."""
    last = len(bounds) - 1
    bucket = np.minimum(np.searchsorted(bounds, value[:, 0], side="left"), last)
    step = np.arange(len(bucket))
    upper = bounds[bucket]
    first = bucket == 0
    floor = 0.0 if bounds[0] > 0 else -np.inf
    lower = np.where(first, floor, bounds[np.maximum(bucket - 1, 0)])
    below = np.where(first[:, None], 0.0, counts[step, :, np.maximum(bucket - 1, 0)])
    within = counts[step, :, bucket] - below
    point = value[:, 0]
    # Nothing is known of how observations lie in a bucket without end: as if all lay at its finite bound.
    share = (point - lower) / (upper - lower)
    share = np.where(np.isinf(upper), np.where(point >= upper, 1.0, 0.0), share)
    share = np.where(np.isneginf(lower), np.where(np.isneginf(point), 0.0, 1.0), share)
    return below + within * np.clip(np.nan_to_num(share), 0.0, 1.0)[:, None]
