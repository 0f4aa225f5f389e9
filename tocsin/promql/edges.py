"""`anchored` and `smoothed`: windows whose edges have values of their own, so that nothing is extrapolated.

anchored: the left edge takes the last sample at or before it. smoothed: both edges are interpolated between their
neighbours. The neighbours may lie up to the lookback outside.
Source: prometheus/promql/functions.go, extendedRate(), pickOrInterpolateLeft(), interpolate().
"""

from __future__ import annotations

import numpy as np

from tocsin.promql import rates
from tocsin.promql.engine import Engine, Steps
from tocsin.promql.native import edges as native
from tocsin.promql.native.windows import Over, grid_over
from tocsin.promql.rates import Outcome
from tocsin.promql.storage import Bools, Floats, Millis, Panel, Rows
from tocsin.promql.syntax import Call, Selector
from tocsin.promql.vector import Grid, joined, tidy
from tocsin.promql.window import Block, rows_until, without_stale


def edged_function(engine: Engine, call: Call, selector: Selector, steps: Steps) -> Grid:
    """A function of an anchored or smoothed range vector."""
    smooth = selector.edges == "smoothed"

    def kernel(block: Block) -> Outcome:
        before = _before(block, engine.lookback)
        if smooth:
            return _smoothed(block, before, call.function, engine.lookback)
        return _anchored(block, before, call.function)

    grids = []
    for block in engine.windows(selector, call, steps):
        if block.panel.natives is None:
            grids.append(tidy(Grid(block.frame, *kernel(block), True)))
            continue
        over = Over(
            engine=engine, node=call, about=selector, function=call.function, kernel=kernel,
            natives=native.SMOOTHED if smooth else native.ANCHORED,
        )  # fmt: skip
        high = block.high + _after(block, engine.lookback) if smooth else block.high
        grids.append(grid_over(over, block, block.low - _before(block, engine.lookback), high))
    return joined(grids) if grids else engine.nothing(steps)


def _before(block: Block, lookback: int) -> Bools:
    """[T, timelines] whether a sample lies at or before the window's start, within the lookback."""
    row = np.maximum(block.low - 1, 0)
    at = block.panel.times[row, np.arange(row.shape[1])]
    return (block.low > 0) & (at > (block.start - lookback)[:, None])


def _after(block: Block, lookback: int) -> Bools:
    """[T, timelines] whether a sample lies after the window's end, within the lookback."""
    times, lines = block.panel.times, np.arange(block.low.shape[1])
    last = len(times) - 1
    following = times[np.minimum(block.high, last), lines]
    return (block.high <= last) & (block.high < block.panel.lengths) & (following <= (block.end + lookback)[:, None])


def _anchored(block: Block, before: Bools, function: str) -> Outcome:
    extended = Block(block.panel, block.low - before, block.high, block.start, block.end)
    # Samples before the window alone say nothing about the window.
    inside = block.counts > 0
    present = None if inside.all() else inside
    if function in ("changes", "resets"):
        return (rates.changes if function == "changes" else rates.resets)(extended)[0], present
    change = extended.last() - extended.first()
    if function != "delta":
        fallen = rates.lost(extended)
        change = change if fallen is None else change + fallen
    return _per_second(block, change, function), present


def _per_second(block: Block, change: Floats, function: str) -> Floats:
    if function != "rate":
        return change
    return change / ((block.end - block.start) / 1000.0)[:, None]


def _interpolated(block: Block, right: Rows, at: Floats, *, counter: bool) -> Floats:
    """[T, n] the value at `at` [T] on the line between rows right - 1 and `right`; a fallen counter began at 0."""
    earlier, later = block.at(right - 1), block.at(right)
    since, until = block.times_at(right - 1), block.times_at(right)
    if counter:
        earlier = np.where(later < earlier, 0.0, earlier)
    share = (at[:, None] - since) / np.where(until > since, until - since, 1)
    return earlier + (later - earlier) * share


def _smoothed(block: Block, before: Bools, function: str, lookback: int) -> Outcome:
    counter = function != "delta"
    after = _after(block, lookback)
    first, final = block.first(), block.last()
    some = block.counts > 0
    has_before, has_after = block.across(before) > 0, block.across(after) > 0
    # Between the start's neighbours; where the later one is the first inside, or the one after the window.
    left_line = _interpolated(block, block.low, block.start.astype(np.float64), counter=counter)
    right_line = _interpolated(block, block.high, block.end.astype(np.float64), counter=counter)
    exact = block.times_at(block.high - 1) == block.end[:, None]
    left = np.where(has_before & (some | has_after), left_line, first)
    on_start = has_before & (block.times_at(block.low - 1) == block.start[:, None])
    left = np.where(on_start, block.at(block.low - 1), left)
    right = np.where(has_after & (some | has_before) & ~(exact & some), right_line, final)
    present = some | (has_before & has_after)
    change = right - left
    if counter:
        fallen = rates.lost(block)
        change = change if fallen is None else change + fallen
        change += np.where(some & (first < left), left, 0.0)
        change += np.where(some & (right < final), final, 0.0)
        change += np.where(~some & (right < left), left, 0.0)
    return _per_second(block, change, function), None if present.all() else present


def edged_selector(engine: Engine, node: Selector, steps: Steps) -> Grid:
    """A smoothed instant vector: interpolated between the samples around each step."""
    instants = engine.shifted(node, steps)
    after = int(instants.min()) - engine.lookback
    grids = []
    for whole in engine.panels(node.matchers, after, int(instants.max()) + engine.lookback):
        for panel in without_stale(whole):
            if panel.natives is None:
                grids.append(tidy(Grid(panel.frame, *_between(panel, instants, engine.lookback))))
                continue
            block = engine.block(panel, instants - engine.lookback, instants + engine.lookback)
            over = Over(
                engine=engine, node=node, about=node, function=node.edges, nameless=False,
                kernel=lambda numbers: _between(numbers.panel, instants, engine.lookback),
                natives={node.edges: native.at_instant},
            )  # fmt: skip
            grids.append(grid_over(over, block, block.low, block.high))
    return joined(grids) if grids else engine.nothing(steps)


def _between(panel: Panel, instants: Millis, lookback: int) -> Outcome:
    rows = rows_until(panel, instants)
    block = Block(panel, rows - 1, rows, instants - lookback, instants)
    since, last = block.times_at(rows - 1), block.last()
    present = (block.across(rows) > 0) & (since > (instants - lookback)[:, None])
    ends = block.across(rows) >= panel.lengths[panel.timeline]
    until = block.times_at(rows)
    usable = ~ends & (until <= (instants + lookback)[:, None]) & (since < instants[:, None])
    line = _interpolated(block, rows, instants.astype(np.float64), counter=False)
    return np.where(usable, line, last), present
