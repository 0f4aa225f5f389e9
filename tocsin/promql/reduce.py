"""Many values to one: the sums, means, quantiles … that aggregations and `*_over_time` share.

Each takes a stack of values [T, width, n], a mask of the same shape (None: all count) and the counts [T, n], and
gives [T, n]; width is the members of a group, or the samples of a window. Where a count is 0 the result means nothing.

Sums are compensated: pairs are added in a tree, and what each addition rounded off is added up beside it
(Knuth's TwoSum), so the error stays near one rounding whatever the order, as with Prometheus' Kahan-Neumaier sums.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tocsin.promql.storage import Bools, Floats, Rows

Reducer = Callable[[Floats, Bools | None, Rows], Floats]


def _filled(values: Floats, mask: Bools | None, fill: float) -> Floats:
    return values if mask is None else np.where(mask, values, fill)


def compensated(values: Floats) -> tuple[Floats, Floats]:
    """Sum and rest along axis 1 of [T, width, n]: the true sum is very nearly sum + rest."""
    total = values
    rest = np.zeros((values.shape[0], 1, values.shape[2]))
    while total.shape[1] > 1:
        half = total.shape[1] // 2
        odd = total[:, 2 * half :]
        left, right = total[:, :half], total[:, half : 2 * half]
        added = left + right
        bound = added - left
        error = (left - (added - bound)) + (right - bound)
        # An overflow has no rest; without this, inf would turn into NaN.
        error[~np.isfinite(error)] = 0.0
        if rest.shape[1] == total.shape[1]:
            error += rest[:, :half] + rest[:, half : 2 * half]
            odd_rest = rest[:, 2 * half :]
        else:
            odd_rest = np.zeros_like(odd)
        total = np.concatenate((added, odd), axis=1) if odd.shape[1] else added
        rest = np.concatenate((error, odd_rest), axis=1) if odd.shape[1] else error
    if not total.shape[1]:
        empty = np.zeros((values.shape[0], values.shape[2]))
        return empty, empty
    return total[:, 0], rest[:, 0]


def total(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """The sum."""
    whole, rest = compensated(_filled(values, mask, 0.0))
    return whole + rest


def mean(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """The average; a sum that overflows is worked out on values divided first."""
    filled = _filled(values, mask, 0.0)
    whole, rest = compensated(filled)
    result = whole / counts + rest / counts
    lost = ~np.isfinite(whole)
    if lost.any():
        divided, small = compensated(filled / np.maximum(counts, 1)[:, None, :])
        result = np.where(lost, divided + small, result)
    return result


def smallest(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """The minimum; NaN only where there is nothing else."""
    filled = _filled(values, mask, np.nan)
    return np.fmin.reduce(filled, axis=1) if filled.shape[1] else np.full(counts.shape, np.nan)


def largest(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """The maximum; NaN only where there is nothing else."""
    filled = _filled(values, mask, np.nan)
    return np.fmax.reduce(filled, axis=1) if filled.shape[1] else np.full(counts.shape, np.nan)


def count(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """How many."""
    return counts.astype(np.float64)


def one(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """1 for anything."""
    return np.ones(counts.shape)


def variance(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """The population variance, in two passes, measured from the first value so that equal values give exactly 0."""
    if not values.shape[1]:
        return np.full(counts.shape, np.nan)
    if mask is None:
        anchor = values[:, :1]
    else:
        first = mask.argmax(axis=1)[:, None, :]
        anchor = np.take_along_axis(values, first, axis=1)
    moved = _filled(values - anchor, mask, 0.0)
    middle = mean(moved, None, counts)
    spread = _filled((moved - middle[:, None, :]) ** 2, mask, 0.0)
    return mean(spread, None, counts)


def deviation(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """The population standard deviation."""
    return np.sqrt(variance(values, mask, counts))


def quantile(values: Floats, mask: Bools | None, counts: Rows, q: Floats) -> Floats:
    """The q-quantile, q [T], between neighbours in proportion; NaN sorts before all numbers.

    Source: prometheus/promql/quantile.go, quantile().
    """
    if not values.shape[1]:
        return np.full(counts.shape, np.nan)
    ordered = np.sort(_filled(values, mask, np.nan), axis=1)
    numbers = (~np.isnan(ordered)).sum(axis=1)
    nans = counts - numbers
    rank = np.clip(q, 0, 1)[:, None] * (counts - 1)
    rank = np.nan_to_num(rank)
    lower = np.floor(rank)
    upper = np.minimum(lower + 1, np.maximum(counts - 1, 0))
    weight = rank - lower

    def at(index: Floats) -> Floats:
        row = np.clip(index.astype(np.intp) - nans, 0, ordered.shape[1] - 1)
        found = np.take_along_axis(ordered, row[:, None, :], axis=1)[:, 0]
        return np.where(index < nans, np.nan, found)

    low, high = at(lower), at(upper)
    # As in Prometheus, where an infinity beside a weight of 0 makes it NaN.
    result = low * (1 - weight) + high * weight
    edges = q[:, None]
    result = np.where(edges < 0, -np.inf, np.where(edges > 1, np.inf, result))
    return np.where(np.isnan(edges) | (counts == 0), np.nan, result)


def absolute_deviation(values: Floats, mask: Bools | None, counts: Rows) -> Floats:
    """The median of the distances from the median; NaN where any value is."""
    half = np.full(len(values), 0.5)
    middle = quantile(values, mask, counts, half)
    result = quantile(np.abs(values - middle[:, None, :]), mask, counts, half)
    return np.where(np.isnan(_filled(values, mask, 0.0)).any(axis=1), np.nan, result)
