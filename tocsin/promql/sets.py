"""and, or, unless: series of one side by whether the other has one of the same labels, step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tocsin.model import METRIC_NAME
from tocsin.promql.frame import Frame, Keys
from tocsin.promql.storage import Bools, Rows
from tocsin.promql.syntax import Matching
from tocsin.promql.vector import Grid, joined, tidy


def signatures(frame: Frame, other: Frame, matching: Matching) -> Keys:
    """A key per series of the labels that the match goes by."""
    if matching.on:
        return frame.keys(tuple(sorted(set(matching.labels))))
    skip = {*matching.labels, METRIC_NAME}
    # Names of both sides, so that the cached key is the same whichever side asks.
    return frame.keys(tuple(name for name in sorted({*frame.names, *other.names}) if name not in skip))


def _has_counterpart(left: Grid, right: Grid, matching: Matching) -> Bools:
    """[T, n of left] (or [1, n]) whether the right side has a series of the same signature at that step."""
    mine = signatures(left.frame, right.frame, matching)
    theirs = signatures(right.frame, left.frame, matching)
    if right.present is None:
        return np.isin(mine, theirs)[None]
    unique, group = np.unique(theirs, return_inverse=True)
    there = np.zeros((right.steps, len(unique)), bool)
    for column in range(right.size) if right.size < len(unique) * 2 else ():
        there[:, group[column]] |= right.present[:, column]
    if right.size >= len(unique) * 2:
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(len(unique)))
        there = np.logical_or.reduceat(right.present[:, order], starts, axis=1)
    place = np.minimum(np.searchsorted(unique, mine), len(unique) - 1)
    found: Bools = there[:, place] & (unique[place] == mine)
    return found


def intersected(left: Grid, right: Grid, matching: Matching) -> Grid:
    """`left and right`"""
    if not left.size or not right.size:
        return left.take(np.zeros(0, np.intp))
    return _kept(left, _has_counterpart(left, right, matching))


def removed(left: Grid, right: Grid, matching: Matching) -> Grid:
    """`left unless right`"""
    if not left.size or not right.size:
        return left
    return _kept(left, ~_has_counterpart(left, right, matching))


def _kept(grid: Grid, kept: Bools) -> Grid:
    present = np.broadcast_to(kept, grid.values.shape)
    if grid.present is not None:
        present = present & grid.present
    elif not present.flags.writeable:
        present = present.copy()
    return tidy(replace(grid, present=present))


def united(left: Grid, right: Grid, matching: Matching) -> Grid:
    """`left or right`"""
    if not right.size:
        return left
    if not left.size:
        return right
    rest = removed(right, left, matching)
    if not rest.size:
        return left
    both = joined([left, rest])
    return merged(both) if left.steps > 1 else both


def merged(grid: Grid, clash: type[Exception] | None = None) -> Grid:
    """Series of equal labels as one, where no two of them have a value at the same step; else raises `clash`."""
    if grid.frame.distinct:
        return grid
    _, first, group = np.unique(grid.frame.keys(), return_index=True, return_inverse=True)
    mask = grid.mask()
    values = grid.values[:, first].copy()
    natives = None if grid.natives is None else grid.natives[:, first].copy()
    present = np.zeros(values.shape, bool)
    dropped = _names_at_first(grid, group)
    rank = _occurrence(group)
    for turn in range(int(rank.max()) + 1):
        columns = np.flatnonzero(rank == turn)
        target = group[columns]
        now = mask[:, columns]
        if clash is not None and (present[:, target] & now).any():
            raise clash("vector cannot contain metrics with the same labelset")
        values[:, target] = np.where(now, grid.values[:, columns], values[:, target])
        if natives is not None and grid.natives is not None:
            natives[:, target] = np.where(now, grid.natives[:, columns], natives[:, target])
        present[:, target] |= now
    order = np.argsort(first, kind="stable")
    if natives is not None:
        natives = natives[:, order]
    frame = grid.frame.take(first[order])
    return tidy(Grid(frame, values[:, order], present[:, order], dropped[order], grid.ordered, natives))


def _names_at_first(grid: Grid, group: Rows) -> Bools:
    """Whether each group's name is to go: as at the first step at which one of its series is there.

    Source: prometheus/promql/engine.go, rangeEval(), where the first sample of a series decides for all.
    """
    mask = grid.mask()
    since = np.where(mask.any(axis=0), mask.argmax(axis=0), grid.steps)
    order = np.lexsort((since, group))
    earliest = order[np.unique(group[order], return_index=True)[1]]
    return grid.names_dropped()[earliest]


def _occurrence(group: Rows) -> Rows:
    """For each element, how many of the same group came before it."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(group), np.intp)
    rank[order] = np.arange(len(group)) - starts[group[order]]
    return rank
