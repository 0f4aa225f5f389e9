"""rate, increase, delta and their kin.

Extrapolation as in prometheus/promql/functions.go, extrapolatedRate(): the change between the first and the last
sample of the window is stretched to the window's edges, as far as the samples' spacing makes likely, and a counter no
further back than where it would have been zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tocsin.promql.storage import Bools, Floats, Millis, Rows
from tocsin.promql.window import Block, slice_rows

Outcome = tuple[Floats, Bools | None]
"""[T, n] values, and where there is one (None: everywhere)."""


def extrapolated(*, counter: bool, per_second: bool) -> Callable[[Block], Outcome]:
    """The kernel of rate, increase (counter) or delta."""

    def kernel(block: Block) -> Outcome:
        return near(block, change, lost(block) if counter else None)

    def change(block: Block, fallen: Floats | None) -> Outcome:
        first, last = block.first(), block.last()
        counts = block.counts
        first_at, last_at = block.times_at(block.low), block.times_at(block.high - 1)
        rise = last - first
        before_first: Floats | None = None
        present = counts >= 2
        if counter:
            if fallen is not None:
                rise += fallen
            rise, first_at, counts, before_first = _from_start(block, rise, first, first_at)
            present = counts >= 2
        start, end = block.start[:, None], block.end[:, None]
        sampled = (last_at - first_at) / 1000.0
        gaps = np.where(counts >= 2, counts - 1, 1)
        average = sampled / gaps
        to_start = (first_at - start) / 1000.0
        to_end = (end - last_at) / 1000.0
        threshold = average * 1.1
        to_start = np.where(to_start >= threshold, average / 2, to_start)
        if before_first is not None:
            to_zero = sampled * (before_first / rise)
            rises = (rise > 0) & (before_first >= 0) & (to_zero < to_start)
            to_start = np.where(rises, to_zero, to_start)
        to_end = np.where(to_end >= threshold, average / 2, to_end)
        factor = (sampled + to_start + to_end) / sampled
        if per_second:
            factor = factor / ((end - start) / 1000.0)
        return rise * factor, None if present.all() else present

    return kernel


def near(block: Block, work: Callable[[Block, Floats | None], Outcome], beside: Floats | None) -> Outcome:
    """The outcome of `work`, some steps at a time, with the rows of `beside` [T, n] that belong to them."""
    parts = []
    for part, chunk in block.near():
        parts.append(work(chunk, None if beside is None else beside[part]))
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate([values for values, _ in parts])
    if all(present is None for _, present in parts):
        return values, None
    present = [np.ones(values.shape, bool) if there is None else there for values, there in parts]
    return values, np.concatenate(present)


def _from_start(block: Block, change: Floats, first: Floats, first_at: Millis) -> tuple[Floats, Millis, Rows, Floats]:
    """Where a start time inside the window is known, the counter stood at 0 then: one sample more."""
    began = block.starts_at(block.low)
    if began is None:
        return change, first_at, block.counts, first
    start = block.start[:, None]
    inside = (began > 0) & (began > start) & (began < first_at) & (block.counts >= 1)
    change = np.where(inside, change + first, change)
    first_at = np.where(inside, began, first_at)
    return change, first_at, block.counts + inside, np.where(inside, 0.0, first)


def restarted(began_before: Millis, began: Millis, before: Millis, at: Millis) -> Bools:
    """Whether the start times say that a counter began anew between two samples.

    A start right at the sample before is that of a delta, if that sample had a start of its own before it.
    """
    delta = (began == before) & (began_before != 0) & (began_before < before)
    anew: Bools = (began != 0) & (began < at) & ((began > before) | delta)
    return anew


def _restarts(chunk: Block) -> Bools | None:
    """[T, width - 1, n] where the start times say so; None where none are known."""
    if chunk.panel.starts is None:
        return None
    began, times = chunk.gathered(chunk.panel.starts), chunk.times
    return restarted(began[:, :-1], began[:, 1:], times[:, :-1], times[:, 1:])


def overlaps(block: Block) -> Rows:
    """The series of which a sample claims to have begun before the sample before it was taken, yet anew."""
    if block.panel.starts is None or block.width < 2:
        return np.zeros(0, np.intp)
    found = np.zeros(block.frame.size, bool)
    for _, chunk in block.chunks():
        began, times = chunk.gathered(block.panel.starts), chunk.times
        wrong = (began[:, 1:] != 0) & (began[:, 1:] < times[:, :-1]) & (began[:, 1:] != began[:, :-1])
        if chunk.mask is not None:
            wrong = wrong & chunk.mask[:, 1:]
        found |= wrong.any(axis=(0, 1))
    return np.flatnonzero(found)


def lost(block: Block) -> Floats | None:
    """[T, n] what a counter lost by starting anew, added over the window; None for nothing anywhere."""
    if block.width < 2:
        return None
    if block.panel.starts is None:
        # Most counters never fall: only those that do in the rows at hand are looked at window by window.
        fallen = _falling(block)
        if not len(fallen):
            return None
        if len(fallen) < block.frame.size:
            added = np.zeros(block.counts.shape)
            some = lost(block.only(fallen))
            if some is not None:
                added[:, fallen] = some
            return added
    added = np.zeros(block.counts.shape)
    for part, chunk in block.chunks():
        values, mask = chunk.values, chunk.mask
        fell = values[:, 1:] < values[:, :-1]
        restarts = _restarts(chunk)
        if restarts is not None:
            fell = fell | restarts
        if mask is not None:
            fell = fell & mask[:, 1:]
        if fell.any():
            added[part] = np.where(fell, values[:, :-1], 0.0).sum(axis=1)
    return added


def _falling(block: Block) -> Rows:
    """The series that fall somewhere in the rows that any window sees."""
    first, last = slice_rows(block)
    values = block.panel.values[first:last]
    fell = values[1:] < values[:-1]
    lengths = block.panel.lengths
    shortest = int(lengths.min()) - first
    if shortest < len(values):
        fell &= np.arange(1, len(values))[:, None] + first < lengths[block.panel.timeline]
    return np.flatnonzero(fell.any(axis=0))


def instant(*, counter: bool) -> Callable[[Block], Outcome]:
    """The kernel of irate (counter) or idelta: the last two samples."""

    def kernel(block: Block) -> Outcome:
        present = block.counts >= 2
        last, before = block.last(), block.at(block.high - 2)
        seconds = (block.times_at(block.high - 1) - block.times_at(block.high - 2)) / 1000.0
        if not counter:
            return last - before, None if present.all() else present
        fell = last < before
        began, began_before = block.starts_at(block.high - 1), block.starts_at(block.high - 2)
        if began is not None and began_before is not None:
            earlier, later = block.times_at(block.high - 2), block.times_at(block.high - 1)
            fell = fell | restarted(began_before, began, earlier, later)
        return np.where(fell, last, last - before) / seconds, None if present.all() else present

    return kernel


def changes(block: Block) -> Outcome:
    """How often the value changed; from NaN to NaN is no change."""

    def differs(before: Floats, after: Floats) -> Bools:
        changed: Bools = (before != after) & ~(np.isnan(before) & np.isnan(after))
        return changed

    return _counted(block, differs), _some(block)


def resets(block: Block) -> Outcome:
    """How often a counter fell."""
    if block.panel.starts is None:
        return _counted(block, _fell), _some(block)
    found = np.zeros(block.counts.shape)
    for part, chunk in block.chunks():
        fell = chunk.values[:, 1:] < chunk.values[:, :-1]
        restarts = _restarts(chunk)
        if restarts is not None:
            fell = fell | restarts
        if chunk.mask is not None:
            fell = fell & chunk.mask[:, 1:]
        found[part] = fell.sum(axis=1)
    return found, _some(block)


def _fell(before: Floats, after: Floats) -> Bools:
    return after < before


def _counted(block: Block, event: Callable[[Floats, Floats], Bools]) -> Floats:
    """[T, n] how many pairs of neighbours in each window show the event: the difference of two running counts."""
    first, last = slice_rows(block)
    if last - first < 2:
        return np.zeros(block.counts.shape)
    values = block.panel.values[first:last]
    running = np.zeros(values.shape, np.int64)
    np.cumsum(event(values[:-1], values[1:]), axis=0, out=running[1:])
    counter = replace(block.panel, values=running.astype(np.float64), times=block.panel.times[first:last])
    shifted = Block(counter, block.low - first, block.high - first, block.start, block.end)
    return np.where(block.counts > 0, shifted.last() - shifted.first(), 0.0)


def _some(block: Block) -> Bools | None:
    present = block.counts > 0
    return None if present.all() else present
