"""Sealed and recent samples of the same series, one after the other, as one panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tocsin.promql.frame import Frame
from tocsin.promql.storage import Panel, Rows
from tocsin.promql.window import BEYOND
from tocsin.series.chunk import Samples


def spliced(frame: Frame, serials: Rows, parts: Sequence[Samples], *, stale: bool) -> Panel:
    """The samples of `serials` in all `parts`, which follow each other in time."""
    placed = [_placed(part, serials) for part in parts]
    counts = [np.where(columns >= 0, part.lengths[part.timeline[columns]], 0) for part, columns in
              zip(parts, placed, strict=True)]  # fmt: skip
    total: Rows = np.stack(counts).sum(axis=0)
    rows, size = int(total.max(initial=0)), len(serials)
    timeline, representative = _timelines(parts, placed, size)
    values = np.zeros((rows, size))
    times = np.full((rows, len(representative)), BEYOND, np.int64)
    offset = np.zeros(size, np.intp)
    for part, columns, count in zip(parts, placed, counts, strict=True):
        there = np.flatnonzero(count)
        if not len(there):
            continue
        longest = int(count[there].max())
        at, source = offset[there], columns[there]
        if len(there) == size and bool((count == longest).all()) and bool((at == at[0]).all()):
            values[at[0] : at[0] + longest] = part.values[:longest, source]
        else:
            row = np.arange(longest)[:, None]
            held = row < count[there]
            target = np.broadcast_to(at + row, held.shape)[held]
            column = np.broadcast_to(there, held.shape)[held]
            values[target, column] = part.values[:longest, source][held]
        for line, series in enumerate(representative.tolist()):
            if count[series]:
                begin = offset[series]
                times[begin : begin + count[series], line] = part.times[
                    : count[series], part.timeline[columns[series]]
                ]  # fmt: skip
        offset += count
    lengths = total[representative]
    return Panel(frame=frame, times=times, timeline=timeline, lengths=lengths, values=values, stale=stale)


def _placed(part: Samples, serials: Rows) -> Rows:
    """The column of each series in a part, -1 where it has none."""
    if not len(part.serials):
        return np.full(len(serials), -1)
    order = np.argsort(part.serials, kind="stable")
    place = np.minimum(np.searchsorted(part.serials[order], serials), len(order) - 1)
    found = order[place]
    return np.where(part.serials[found] == serials, found, -1)


def _timelines(parts: Sequence[Samples], placed: list[Rows], size: int) -> tuple[Rows, Rows]:
    """Series that share their timelines in every part share one here: its number, and one series of each."""
    lines = np.stack(
        [np.where(columns >= 0, part.timeline[columns], -1) for part, columns in zip(parts, placed, strict=True)]
    )
    _, first, inverse = np.unique(lines, axis=1, return_index=True, return_inverse=True)
    return inverse.ravel(), first
