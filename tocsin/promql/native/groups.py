"""Aggregations of vectors in which native histograms are.

sum and avg add histograms up; count and group count them; what picks by worth leaves them out and says so.
Source: prometheus/promql/engine.go, aggregation().
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tocsin.model import METRIC_NAME
from tocsin.promql.engine import Engine
from tocsin.promql.native.arithmetic import total
from tocsin.promql.native.value import Histogram, Incompatible
from tocsin.promql.storage import Rows
from tocsin.promql.syntax import Aggregate
from tocsin.promql.vector import Grid, is_native, tidy

COUNTED: Final = ("count", "group")
"""The aggregations to which a histogram is a sample as any other."""
SUMMED: Final = ("sum", "avg")


def leave_out(engine: Engine, node: Aggregate, grid: Grid) -> Grid:
    """The numbers alone; that there were histograms is told."""
    if grid.natives is None:
        return grid
    if (is_native(grid.natives) & grid.mask()).any():
        engine.inform(f"ignored histogram in {node.op} aggregation", node.expr, node)
    return tidy(grid.numbers())


def with_sums(engine: Engine, node: Aggregate, grid: Grid, groups: Rows, numbers: Grid) -> Grid:
    """The groups' sums or means of numbers, with those of the histograms; where a group has both, nothing."""
    assert grid.natives is not None
    natives = np.full(numbers.values.shape, None)
    present = numbers.mask().copy()
    there = is_native(grid.natives) & grid.mask()
    for step in np.flatnonzero(there.any(axis=1)).tolist():
        for group in np.unique(groups[there[step]]).tolist():
            if present[step, group]:
                engine.warn("encountered a mix of histograms and floats in aggregation", node.expr, node)
                present[step, group] = False
                continue
            members = np.flatnonzero(there[step] & (groups == group))
            natives[step, group] = _total(engine, node, grid, step, members)
            present[step, group] = natives[step, group] is not None
    numbers.natives, numbers.present = natives, present
    return tidy(numbers)


def _total(engine: Engine, node: Aggregate, grid: Grid, step: int, members: Rows) -> Histogram | None:
    assert grid.natives is not None
    try:
        outcome = total(grid.natives[step, members].tolist(), mean=node.op == "avg")
    except Incompatible:
        name = grid.frame.value(int(members[0]), METRIC_NAME)
        engine.warn(
            "vector contains a mix of histograms with exponential and custom buckets schemas for metric name "
            f'"{name}"', node.expr, node,
        )  # fmt: skip
        return None
    if outcome.collides:
        engine.warn("conflicting counter resets during histogram aggregation", node.expr, node)
    if outcome.reconciled:
        engine.inform("mismatched custom buckets were reconciled during aggregation", node.expr, node)
    return outcome.value
