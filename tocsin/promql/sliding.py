"""Sums and extremes of windows that overlap, for range queries: each window is two look-ups, whatever its length.

A disjoint sparse table: on level k the rows are cut into blocks of 2^(k+1), and every row holds the fold from itself to
the middle of its block. A window from row a to row b lies astride the middle of a block on the level of the highest bit
in which a and b differ; its fold is that of a and that of b put together. No subtraction, so nothing is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from tocsin.promql.storage import Floats, Rows
from tocsin.promql.window import Block, slice_rows

WORTHWHILE: Final = 8
"""Steps and width from which building the table pays."""


class Fold(Protocol):
    """An associative way to put values together; a state is an array of parts in front of the values' shape."""

    def start(self, values: Floats) -> Floats:
        """[parts, …] the states of single values."""

    def join(self, left: Floats, right: Floats) -> Floats:
        """The state of two together."""

    def finish(self, state: Floats, counts: Rows) -> Floats:
        """The result."""


class Sum:
    """A compensated sum: total and what was rounded off."""

    def __init__(self, *, mean: bool = False) -> None:
        self.mean = mean

    def start(self, values: Floats) -> Floats:
        return np.stack((values, np.zeros_like(values)))

    def join(self, left: Floats, right: Floats) -> Floats:
        total = left[0] + right[0]
        bound = total - left[0]
        error = (left[0] - (total - bound)) + (right[0] - bound)
        error[~np.isfinite(error)] = 0.0
        return np.stack((total, left[1] + right[1] + error))

    def finish(self, state: Floats, counts: Rows) -> Floats:
        if not self.mean:
            total: Floats = state[0] + state[1]
            return total
        number = np.maximum(counts, 1)
        mean: Floats = state[0] / number + state[1] / number
        return mean


class Extreme:
    """The smallest or largest; NaN only where there is nothing else."""

    def __init__(self, pick: Callable[[Floats, Floats], Floats]) -> None:
        self.pick = pick

    def start(self, values: Floats) -> Floats:
        return values[None]

    def join(self, left: Floats, right: Floats) -> Floats:
        return self.pick(left, right)

    def finish(self, state: Floats, counts: Rows) -> Floats:
        only: Floats = state[0]
        return only


def _levels(values: Floats, fold: Fold) -> list[Floats]:
    """The states per level, [parts, rows, n] each; rows a power of two."""
    rows = len(values)
    single = fold.start(values)
    levels = [single]
    half = 1
    while half < rows:
        shape = (single.shape[0], rows // (2 * half), 2 * half, *values.shape[1:])
        state = single.reshape(shape).copy()
        for row in range(half - 2, -1, -1):  # Towards the middle from the left …
            state[:, :, row] = fold.join(state[:, :, row], state[:, :, row + 1])
        for row in range(half + 1, 2 * half):  # … and away from it to the right.
            state[:, :, row] = fold.join(state[:, :, row - 1], state[:, :, row])
        levels.append(state.reshape(single.shape))
        half *= 2
    return levels


_NEAR: Final = 120_000
"""Values of a table built at once, so that it stays in the processor's cache."""


def folded(block: Block, fold: Fold) -> Floats:
    """[T, n] the fold of each window; where a window is empty the result means nothing."""
    first, last = slice_rows(block)
    if last <= first or not block.frame.size:
        return np.full(block.counts.shape, np.nan)
    if isinstance(fold, Sum):
        exact = _running(block, first, last)
        if exact is not None:
            return exact / np.maximum(block.counts, 1) if fold.mean else exact
    size = max(1, _NEAR // ((last - first) * max(1, (last - first).bit_length())))
    if size >= block.frame.size:
        return _folded(block, fold, first, last)
    columns = np.arange(block.frame.size)
    parts = [_folded(block.only(columns[at : at + size]), fold, first, last) for at in range(0, len(columns), size)]
    return np.concatenate(parts, axis=1)


_EXACT: Final = 2.0**52
"""Whole numbers whose running sum stays below this are added without rounding."""


def _running(block: Block, first: int, last: int) -> Floats | None:
    """[T, n] the sums as differences of running sums, where these are exact: whole numbers, not too large."""
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


def _folded(block: Block, fold: Fold, first: int, last: int) -> Floats:
    rows = 1 << (last - first - 1).bit_length() if last - first > 1 else 1
    padded = np.zeros((rows, block.frame.size))
    padded[: last - first] = block.panel.values[first:last]
    table = np.stack(_levels(padded, fold))
    low = np.maximum(block.low - first, 0)
    high = np.maximum(block.high - 1 - first, low)
    level = np.where(low == high, 0, np.frexp((low ^ high).astype(np.float64))[1])
    if low.shape[1] == 1:
        left, right = table[level[:, 0], :, low[:, 0]], table[level[:, 0], :, high[:, 0]]
    else:
        line, column = block.panel.timeline, np.arange(block.frame.size)
        at = level[:, line]
        left, right = table[at, :, low[:, line], column], table[at, :, high[:, line], column]
        left, right = np.moveaxis(left, 2, 1), np.moveaxis(right, 2, 1)
    joined = fold.join(np.moveaxis(left, 1, 0), np.moveaxis(right, 1, 0))
    single = np.broadcast_to(block.across(low == high), block.counts.shape)
    state = np.where(single, np.moveaxis(left, 1, 0), joined)
    return fold.finish(state, block.counts)
