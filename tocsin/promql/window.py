"""Which samples of a panel a step sees: row numbers by binary search, values as views or gathers.

A `Block` is a panel under some steps. Row functions (`first`, `last`, `counts`) cost nothing per sample; `values` lays
the windows side by side as [steps, width, series], without copying where one step sees a plain slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import Enum, auto

import numpy as np

from tocsin.promql.frame import Frame
from tocsin.promql.storage import Array, Bools, Floats, Millis, Panel, Rows, is_stale
from tocsin.promql.vector import Grid

BEYOND = np.iinfo(np.int64).max
"""The time in the rows beyond a timeline's end."""

_CHUNK = 1_000_000
"""Values gathered at once, so that a long range query stays within memory."""

_NEAR = 50_000
"""Results worked out at once, so that the arrays between stay in the processor's cache."""


def rows_until(panel: Panel, instants: Millis) -> Rows:
    """[T, timelines] how many samples lie at or before each instant."""
    times = panel.times
    steps, (rows, lines) = len(instants), times.shape
    if steps == 1 and panel.finder is not None and panel.lines is not None:
        known: Rows = panel.finder.until(int(instants[0]))[panel.lines] - panel.first_row
        return np.minimum(np.maximum(known, 0), panel.lengths)[None]
    if steps > 1 and (lines <= 4 or steps >= 16):
        if lines == 1:
            only: Rows = times[:, 0].searchsorted(instants, "right")[:, None]
            return only
        found = np.empty((steps, lines), np.intp)
        for line in range(lines):
            found[:, line] = times[:, line].searchsorted(instants, "right")
        return found
    low = np.zeros((steps, lines), np.intp)
    high = np.broadcast_to(panel.lengths, (steps, lines)).astype(np.intp)
    column = np.arange(lines)
    wanted = instants[:, None]
    for _ in range(int(rows).bit_length()):
        middle = (low + high) >> 1
        before = (middle < high) & (times[np.minimum(middle, rows - 1), column] <= wanted)
        low = np.where(before, middle + 1, low)
        high = np.where(before, high, middle)
    return low


class Field(Enum):
    """What is wanted of a sample; times in milliseconds, 0 for a start that is not known."""

    VALUE = auto()
    TIME = auto()
    START = auto()


def newest(panel: Panel, instants: Millis, lookback: int, what: Field) -> Grid:
    """The newest sample of each series at or before each instant, unless it is older than the lookback or stale."""
    rows = rows_until(panel, instants)
    if what is Field.VALUE and rows.shape[1] == 1 and not panel.stale and panel.natives is None and rows[0, 0] > 0:
        # One timeline without a gap: most of what a graph of a few series takes is in the calls that this saves.
        line = rows[:, 0] - 1
        if (instants - panel.times[:, 0][line]).max() < lookback:
            return Grid(panel.frame, panel.values[line])
    last = np.maximum(rows - 1, 0)
    sampled = panel.times[last, np.arange(last.shape[1])]
    # Found per timeline first: series are many, timelines few.
    fresh = (rows > 0) & (sampled > (instants - lookback)[:, None])
    values = found = _at(panel.values, last, panel.timeline)
    natives = None
    if panel.natives is not None and what is Field.VALUE:
        natives = _at(panel.natives, last, panel.timeline)
    if what is Field.TIME:
        found = sampled[:, panel.timeline].astype(np.float64)
    elif what is Field.START:
        starts = panel.starts
        found = np.zeros(values.shape) if starts is None else _at(starts, last, panel.timeline).astype(np.float64)
    if fresh.all() and not panel.stale:
        return Grid(panel.frame, found, natives=natives)
    present: Bools = fresh[:, panel.timeline]
    if panel.stale:
        present &= ~is_stale(values)
    return Grid(panel.frame, found, present, natives=natives)


def without_stale(panel: Panel) -> list[Panel]:
    """The panel less its staleness markers: they end a series, but are no samples of a range."""
    if not panel.stale or not panel.values.size:
        return [panel]
    marked = is_stale(panel.values)
    if not marked.any():
        return [replace(panel, stale=False)]
    rows = np.arange(len(panel.values))[:, None]
    marked &= rows < panel.lengths[panel.timeline]
    dirty = marked.any(axis=0)
    parts = []
    if not dirty.all():
        clean = np.flatnonzero(~dirty)
        parts.append(replace(columns_of(panel, clean), stale=False))
    if dirty.any():
        parts.append(packed(columns_of(panel, np.flatnonzero(dirty)), marked[:, dirty]))
    return parts


def columns_of(panel: Panel, chosen: Rows) -> Panel:
    """Some of the series."""
    starts = None if panel.starts is None else panel.starts[:, chosen]
    nameless = panel.nameless if isinstance(panel.nameless, bool) else panel.nameless[chosen]
    return replace(
        panel,
        frame=panel.frame.take(chosen),
        timeline=panel.timeline[chosen],
        values=panel.values[:, chosen],
        starts=starts,
        nameless=nameless,
        natives=None if panel.natives is None else panel.natives[:, chosen],
    )


def slice_rows(block: Block) -> tuple[int, int]:
    """The rows that any window of the block sees: [first, last)."""
    return int(block.low.min(initial=BEYOND)), int(block.high.max(initial=0))


def packed(panel: Panel, drop: Bools) -> Panel:
    """Every series on a timeline of its own, without the samples marked."""
    order = np.argsort(drop, axis=0, kind="stable")
    lengths = panel.lengths[panel.timeline] - drop.sum(axis=0)
    times = np.take_along_axis(panel.times[:, panel.timeline], order, axis=0)
    times[np.arange(len(times))[:, None] >= lengths] = BEYOND
    values = np.take_along_axis(panel.values, order, axis=0)
    starts = None if panel.starts is None else np.take_along_axis(panel.starts, order, axis=0)
    natives = None if panel.natives is None else np.take_along_axis(panel.natives, order, axis=0)
    return Panel(
        frame=panel.frame, times=times, timeline=np.arange(panel.frame.size), lengths=lengths, values=values,
        stale=False, starts=starts, nameless=panel.nameless, natives=natives,
    )  # fmt: skip


class Block:
    """A panel seen through windows: rows [low, high) per step and timeline; windows (start, end] in milliseconds."""

    __slots__ = ("_mask", "_values", "counts", "end", "frame", "high", "low", "panel", "start")

    def __init__(self, panel: Panel, low: Rows, high: Rows, start: Millis, end: Millis) -> None:
        self.panel = panel
        self.frame: Frame = panel.frame
        self.low, self.high, self.start, self.end = low, high, start, end
        self.counts: Rows = self.across(high - low)
        """[T, n] samples in each window."""
        self._values: Floats | None = None
        self._mask: Bools | None = None

    def across(self, per_line: Array) -> Array:
        """[T, timelines] to [T, n]."""
        if self.frame.size == per_line.shape[1] == 1:
            return per_line
        if per_line.shape[1] == 1:
            return np.broadcast_to(per_line, (len(per_line), self.frame.size))
        return per_line[:, self.panel.timeline]

    @property
    def width(self) -> int:
        """Samples in the longest window."""
        return int((self.high - self.low).max(initial=0))

    def chunks(self) -> Iterator[tuple[slice, Block]]:
        """The block in parts of some steps each, small enough to gather."""
        yield from self._split(max(1, _CHUNK // max(1, self.width * self.frame.size)))

    def near(self) -> Iterator[tuple[slice, Block]]:
        """The block in parts of some steps each, for work that needs no gathering."""
        yield from self._split(max(1, _NEAR // max(1, self.frame.size)))

    def _split(self, size: int) -> Iterator[tuple[slice, Block]]:
        steps = len(self.start)
        if size >= steps:
            yield slice(0, steps), self
            return
        for first in range(0, steps, size):
            part = slice(first, min(first + size, steps))
            yield part, Block(self.panel, self.low[part], self.high[part], self.start[part], self.end[part])

    def only(self, chosen: Rows) -> Block:
        """Some of the series."""
        return Block(columns_of(self.panel, chosen), self.low, self.high, self.start, self.end)

    def at(self, rows: Rows) -> Floats:
        """[T, n] the values in row `rows[t, timeline]`; clipped to the rows there are."""
        return _at(self.panel.values, self._clipped(rows), self.panel.timeline)

    def times_at(self, rows: Rows) -> Millis:
        """[T, n] the times in row `rows[t, timeline]`."""
        clipped = self._clipped(rows)
        lines = self.panel.times[clipped, np.arange(clipped.shape[1])]
        return self.across(lines)

    def starts_at(self, rows: Rows) -> Millis | None:
        """[T, n] the start times in these rows, where known."""
        if self.panel.starts is None:
            return None
        return _at(self.panel.starts, self._clipped(rows), self.panel.timeline)

    def _clipped(self, rows: Rows) -> Rows:
        return np.minimum(np.maximum(rows, 0), max(0, len(self.panel.values) - 1))

    def first(self) -> Floats:
        """[T, n] the oldest value of each window."""
        return self.at(self.low)

    def last(self) -> Floats:
        """[T, n] the newest value of each window."""
        return self.at(self.high - 1)

    def _one_slice(self) -> bool:
        low, high = self.low, self.high
        return len(low) == 1 and bool((low == low[0, 0]).all() and (high == high[0, 0]).all())

    def gathered(self, source: Array) -> Array:
        """[T, width, n] rows of an array of the panel's shape; a window's own rows come first, then padding."""
        if self._one_slice():
            return source[self.low[0, 0] : self.high[0, 0]][None]
        offsets = np.arange(self.width)
        last = max(0, len(source) - 1)
        found: Array
        if self.low.shape[1] == 1:
            found = source[np.minimum(self.low + offsets, last)]
            return found
        rows = np.minimum(self.low[:, None, :] + offsets[None, :, None], last)[:, :, self.panel.timeline]
        found = source[rows, np.arange(self.frame.size)]
        return found

    @property
    def values(self) -> Floats:
        """[T, width, n]"""
        if self._values is None:
            self._values = self.gathered(self.panel.values)
        return self._values

    @property
    def times(self) -> Millis:
        """[T, width, n] or [T, width, 1]"""
        offsets = np.arange(self.width)
        last = max(0, len(self.panel.times) - 1)
        rows = np.minimum(self.low[:, None, :] + offsets[None, :, None], last)
        lines = self.panel.times[rows, np.arange(rows.shape[2])]
        times: Millis = lines if rows.shape[2] == 1 else lines[:, :, self.panel.timeline]
        return times

    @property
    def mask(self) -> Bools | None:
        """[T, width, n] where `values` is no padding; None: nowhere padding."""
        if self._mask is None and not bool((self.counts == self.width).all()):
            self._mask = np.arange(self.width)[None, :, None] < self.counts[:, None, :]
        return self._mask

    def padded(self, fill: float) -> Floats:
        """`values` with the padding replaced."""
        mask = self.mask
        return self.values if mask is None else np.where(mask, self.values, fill)


def _at(source: Array, rows: Rows, timeline: Rows) -> Array:
    found: Array
    if not source.shape[1]:
        found = np.zeros((len(rows), 0), source.dtype)
    elif rows.shape[1] == 1:
        found = source[rows[:, 0]]
    elif len(rows) == 1 and bool((rows == rows[0, 0]).all()):
        found = source[rows[0, 0]][None]
    else:
        found = source[rows[:, timeline], np.arange(source.shape[1])]
    return found
