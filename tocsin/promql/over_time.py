"""Functions of a range vector: *_over_time, deriv, predict_linear, smoothing.

Source of the formulas: prometheus/promql/functions.go.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tocsin.promql import reduce, sliding
from tocsin.promql.rates import Outcome
from tocsin.promql.storage import Bools, Floats
from tocsin.promql.window import Block

Kernel = Callable[[Block], Outcome]


def present(block: Block) -> Bools | None:
    """[T, n] where the window holds a sample."""
    there = block.counts > 0
    return None if there.all() else there


def folded(shared: Callable[[Block], Floats], reducer: reduce.Reducer) -> Kernel:
    """A kernel for what windows that overlap can share; for a few steps the reducer is shorter."""
    alone = reduced(reducer)

    def kernel(block: Block) -> Outcome:
        if len(block.start) < sliding.WORTHWHILE or block.width < sliding.WORTHWHILE:
            return alone(block)
        return shared(block), present(block)

    return kernel


def reduced(reducer: reduce.Reducer) -> Kernel:
    """A kernel that makes one number of each window's values."""

    def kernel(block: Block) -> Outcome:
        result = np.empty(block.counts.shape)
        for part, chunk in block.chunks():
            result[part] = reducer(chunk.values, chunk.mask, chunk.counts)
        return result, present(block)

    return kernel


def quantile(q: Floats) -> Kernel:
    """quantile_over_time at q [T]."""

    def kernel(block: Block) -> Outcome:
        result = np.empty(block.counts.shape)
        for part, chunk in block.chunks():
            result[part] = reduce.quantile(chunk.values, chunk.mask, chunk.counts, q[part])
        return result, present(block)

    return kernel


def count(block: Block) -> Outcome:
    """How many samples."""
    return block.counts.astype(np.float64), present(block)


def exists(block: Block) -> Outcome:
    """1 where there is a sample."""
    return np.ones(block.counts.shape), present(block)


def first(block: Block) -> Outcome:
    """The oldest sample."""
    return block.first(), present(block)


def last(block: Block) -> Outcome:
    """The newest sample."""
    return block.last(), present(block)


def first_time(block: Block) -> Outcome:
    """When the oldest sample was taken, in seconds."""
    return block.times_at(block.low) / 1000.0, present(block)


def last_time(block: Block) -> Outcome:
    """When the newest sample was taken, in seconds."""
    return block.times_at(block.high - 1) / 1000.0, present(block)


def extreme_time(*, largest: bool) -> Kernel:
    """When the window's extreme was seen last, in seconds."""

    def kernel(block: Block) -> Outcome:
        result = np.empty(block.counts.shape)
        for part, chunk in block.chunks():
            values = chunk.padded(np.nan)
            if not values.shape[1]:
                continue
            worst = -np.inf if largest else np.inf
            comparable = np.where(np.isnan(values), worst, values)
            peak = comparable.max(axis=1) if largest else comparable.min(axis=1)
            hit = (comparable == peak[:, None, :]) & ~np.isnan(values)
            newest = values.shape[1] - 1 - hit[:, ::-1].argmax(axis=1)
            # Only NaN in the window: its first sample.
            newest = np.where(hit.any(axis=1), newest, 0)
            times = np.broadcast_to(chunk.times, values.shape)
            result[part] = np.take_along_axis(times, newest[:, None, :], axis=1)[:, 0] / 1000.0
        return result, present(block)

    return kernel


def _regression(chunk: Block, origin: Floats) -> tuple[Floats, Floats]:
    """Slope per second and value at `origin` [T, n] (milliseconds) of the least-squares line.

    Times are measured from their mean and values from the first one: no large numbers are subtracted.
    """
    mask, start = chunk.mask, chunk.first()
    number = np.maximum(chunk.counts, 1).astype(np.float64)
    times = chunk.times - chunk.times[:, :1]
    seconds = np.broadcast_to(times, chunk.values.shape) / 1000.0 if mask is not None else times / 1000.0
    rise = chunk.values - start[:, None, :]
    if mask is not None:
        seconds, rise = np.where(mask, seconds, 0.0), np.where(mask, rise, 0.0)
    middle = seconds.sum(axis=1) / number
    moved = seconds - middle[:, None, :]
    if mask is not None:
        moved = np.where(mask, moved, 0.0)
    moved = np.broadcast_to(moved, rise.shape)
    slope = np.einsum("twn,twn->tn", moved, rise) / np.einsum("twn,twn->tn", moved, moved)
    height = rise.sum(axis=1) / number
    first_at = chunk.times_at(chunk.low)
    value = start + height + slope * ((origin - first_at) / 1000.0 - middle)
    # A constant line is exact, even one of infinities, which has no slope.
    flat = (chunk.padded(np.nan) == start[:, None, :]).sum(axis=1) == chunk.counts
    finite = np.isfinite(start)
    slope = np.where(flat, np.where(finite, 0.0, np.nan), slope)
    return slope, np.where(flat, np.where(finite, start, np.nan), value)


def derivative(block: Block) -> Outcome:
    """The slope of the least-squares line."""
    result = np.empty(block.counts.shape)
    for part, chunk in block.chunks():
        result[part] = _regression(chunk, chunk.times_at(chunk.low).astype(np.float64))[0]
    enough = block.counts >= 2
    return result, None if enough.all() else enough


def predicted(ahead: Floats, at: Floats) -> Kernel:
    """The least-squares line `ahead` [T] seconds after the evaluation `at` [T] (milliseconds)."""

    def kernel(block: Block) -> Outcome:
        result = np.empty(block.counts.shape)
        for part, chunk in block.chunks():
            origin = np.broadcast_to(at[part][:, None], chunk.counts.shape)
            slope, intercept = _regression(chunk, origin)
            result[part] = slope * ahead[part][:, None] + intercept
        enough = block.counts >= 2
        return result, None if enough.all() else enough

    return kernel


def smoothed(factor: Floats, trend: Floats) -> Kernel:
    """Holt's double exponential smoothing with factors [T]."""

    def kernel(block: Block) -> Outcome:
        result = np.empty(block.counts.shape)
        for part, chunk in block.chunks():
            result[part] = _holt(chunk, factor[part][:, None], trend[part][:, None])
        enough = block.counts >= 2
        return result, None if enough.all() else enough

    return kernel


def _holt(chunk: Block, factor: Floats, trend: Floats) -> Floats:
    values = chunk.values
    if values.shape[1] < 2:
        return np.zeros(chunk.counts.shape)
    level = values[:, 0]
    slope = values[:, 1] - values[:, 0]
    # Each sample builds on the one before: a loop over the window, all series and steps at once.
    for row in range(1, values.shape[1]):
        there = row < chunk.counts
        updated = factor * values[:, row] + (1 - factor) * (level + slope)
        fresh_slope = trend * (updated - level) + (1 - trend) * slope
        level, slope = np.where(there, updated, level), np.where(there, fresh_slope, slope)
    return level
