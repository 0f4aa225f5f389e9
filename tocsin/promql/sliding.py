"""Sums and extremes of windows that overlap, for range queries: each window is two look-ups, whatever its length.

Extremes: level k of a sparse table holds the extreme of 2^k rows from each row on; a window is covered by two such
stretches, which may overlap. Sums must not count a row twice: of whole numbers they are differences of running sums,
which are exact; of others they come from a disjoint sparse table. There on level k the rows are cut into blocks of
2^(k+1), and every row holds the sum from itself to the middle of its block; a window from row a to row b lies astride
the middle of a block on the level of the highest bit in which a and b differ. Nothing is subtracted, nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from tocsin.promql import reduce
from tocsin.promql.storage import Floats, any_of
from tocsin.promql.window import Block, slice_rows

WORTHWHILE: Final = 8
"""Steps and width from which building a table pays."""

_NEAR: Final = 120_000
"""Values of a table built at once, so that it stays in the processor's cache."""

_EXACT: Final = 2.0**52
"""Whole numbers whose running sum stays below this are added without rounding."""


def _by_columns(block: Block, rows: int, work: Callable[[Block], Floats]) -> Floats:
    """[T, n] of `work`, for a few series at a time."""
    size = max(1, _NEAR // max(1, rows))
    if size >= block.frame.size:
        return work(block)
    columns = np.arange(block.frame.size)
    parts = [work(block.only(columns[at : at + size])) for at in range(0, len(columns), size)]
    return np.concatenate(parts, axis=1)


# Extremes ------------------------------------------------------------------------------------------------------------


def extreme(block: Block, pick: Callable[[Floats, Floats], Floats]) -> Floats:
    """[T, n] np.fmin or np.fmax of each window; where a window is empty the result means nothing."""
    first, last = slice_rows(block)
    if last <= first or not block.frame.size:
        return np.full(block.counts.shape, np.nan)
    return _by_columns(block, 2 * (last - first), lambda part: _extreme(part, pick, first, last))


def _extreme(block: Block, pick: Callable[[Floats, Floats], Floats], first: int, last: int) -> Floats:
    lengths = np.maximum(block.high - block.low, 1)
    level = np.frexp(lengths.astype(np.float64))[1] - 1
    result = np.empty(block.counts.shape)
    table = block.panel.values[first:last]
    reach = 1
    for each in range(int(level.max()) + 1):
        if each:
            table = pick(table[:-reach], table[reach:])
            reach *= 2
        wanted = level == each
        if not wanted.any():
            continue
        shifted = Block(
            replace(block.panel, values=table), block.low - first, block.high - first, block.start, block.end
        )
        found = pick(shifted.at(shifted.low), shifted.at(shifted.high - reach))
        if wanted.all():
            return found
        np.copyto(result, found, where=block.across(wanted).astype(bool))
    return result


# Sums ----------------------------------------------------------------------------------------------------------------


def total(block: Block) -> Floats:
    """[T, n] the compensated sum of each window; where a window is empty the result means nothing."""
    first, last = slice_rows(block)
    if last <= first or not block.frame.size:
        return np.full(block.counts.shape, np.nan)
    exact = _running(block, first, last)
    if exact is not None:
        return exact
    rows = 2 * (last - first) * max(1, (last - first).bit_length())
    return _by_columns(block, rows, lambda part: _added(part, first, last))


def mean(block: Block) -> Floats:
    """[T, n] the average of each window."""
    result = total(block) / np.maximum(block.counts, 1)
    lost = np.flatnonzero(any_of(~np.isfinite(result), 0))
    if len(lost):
        # A sum may overflow where the average does not: those series are worked out value by value.
        few = block.only(lost)
        for part, chunk in few.chunks():
            result[part, lost] = reduce.mean(chunk.values, chunk.mask, chunk.counts)
    return result


def _running(block: Block, first: int, last: int) -> Floats | None:
    """Differences of running sums, where these are exact: whole numbers, not too large."""
    values = block.panel.values[first:last]
    lengths = block.panel.lengths
    if int(lengths.min(initial=last)) < last:
        held = np.arange(first, last)[:, None] < lengths[block.panel.timeline]
        values = np.where(held, values, 0.0)
    # NaN and infinities fail here as well.
    if not float(np.abs(values).sum(axis=0).max(initial=0.0)) < _EXACT or not bool((values == np.rint(values)).all()):
        return None
    running = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=running[1:])
    sums = replace(block.panel, values=running)
    shifted = Block(sums, block.low - first, block.high - first, block.start, block.end)
    return shifted.at(shifted.high) - shifted.at(shifted.low)


Pair = tuple[Floats, Floats]
"""Sums, and what was rounded off them."""


def _join(left: Pair, right: Pair) -> Pair:
    added = left[0] + right[0]
    bound = added - left[0]
    error = (left[0] - (added - bound)) + (right[0] - bound)
    # An overflow has no rest; without this, inf would turn into NaN.
    error[~np.isfinite(error)] = 0.0
    return added, left[1] + right[1] + error


def _levels(values: Floats) -> Pair:
    """[levels, rows, n] sums and rests; rows a power of two."""
    rows, size = values.shape
    count = max(1, rows.bit_length())
    sums, rests = np.empty((count, rows, size)), np.zeros((count, rows, size))
    sums[0] = values
    half = 1
    for level in range(1, count):
        shape = (rows // (2 * half), 2 * half, size)
        sums[level] = values
        s, r = sums[level].reshape(shape), rests[level].reshape(shape)
        for row in range(half - 2, -1, -1):  # From the middle to the left …
            s[:, row], r[:, row] = _join((s[:, row], r[:, row]), (s[:, row + 1], r[:, row + 1]))
        for row in range(half + 1, 2 * half):  # … and to the right.
            s[:, row], r[:, row] = _join((s[:, row - 1], r[:, row - 1]), (s[:, row], r[:, row]))
        half *= 2
    return sums, rests


def _added(block: Block, first: int, last: int) -> Floats:
    rows = 1 << (last - first - 1).bit_length()
    padded = np.zeros((rows, block.frame.size))
    padded[: last - first] = block.panel.values[first:last]
    sums, rests = _levels(padded)
    # An empty window may lie beyond the rows: any row will do for it.
    low = np.minimum(block.low - first, last - first - 1)
    high = np.maximum(block.high - 1 - first, low)
    level = np.where(low == high, 0, np.frexp((low ^ high).astype(np.float64))[1])
    if low.shape[1] == 1:
        at, a, b = level[:, 0], low[:, 0], high[:, 0]
        left, right = (sums[at, a], rests[at, a]), (sums[at, b], rests[at, b])
    else:
        line, column = block.panel.timeline, np.arange(block.frame.size)
        at, a, b = level[:, line], low[:, line], high[:, line]
        left, right = (sums[at, a, column], rests[at, a, column]), (sums[at, b, column], rests[at, b, column])
    total, rest = _join(left, right)
    single = np.broadcast_to(block.across(low == high), block.counts.shape)
    return np.where(single, left[0], total + rest)
