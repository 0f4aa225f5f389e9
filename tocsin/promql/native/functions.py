"""histogram_count and its kin, and what histogram_quantile and histogram_fraction make of native histograms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from tocsin.model import METRIC_NAME
from tocsin.promql.engine import Engine, Steps
from tocsin.promql.native.measure import Measured, variance
from tocsin.promql.native.stored import Decoded
from tocsin.promql.native.value import Histogram
from tocsin.promql.storage import Bools
from tocsin.promql.syntax import Call, Node
from tocsin.promql.vector import Grid, is_native, joined, tidy


def _mean(histogram: Histogram) -> float:
    return histogram.sum / histogram.count if histogram.count else math.nan


SIMPLE: Final[dict[str, Callable[[Histogram], float]]] = {
    "histogram_avg": _mean,
    "histogram_count": lambda histogram: histogram.count,
    "histogram_sum": lambda histogram: histogram.sum,
    "histogram_stddev": lambda histogram: math.sqrt(variance(histogram)),
    "histogram_stdvar": variance,
}


def simple(engine: Engine, call: Call, steps: Steps) -> Grid:
    """A number of each native histogram; numbers are left out, as in Prometheus."""
    grid = engine.mixed(call.args[0], call, steps)
    if grid.natives is None:
        return engine.nothing(steps)
    if call.function in ("histogram_count", "histogram_sum", "histogram_avg"):
        grid = engine.beside(Decoded(engine.storage)).mixed(call.args[0], call, steps)
    number = SIMPLE[call.function]
    return _measured(grid, _there(grid), lambda step, column, histogram: number(histogram))


def _there(grid: Grid) -> Bools:
    assert grid.natives is not None
    return is_native(grid.natives) & grid.mask()


def _measured(grid: Grid, there: Bools, number: Callable[[int, int, Histogram], float]) -> Grid:
    assert grid.natives is not None
    values = np.full(there.shape, np.nan)
    for step, column in zip(*np.nonzero(there), strict=True):
        values[step, column] = number(step, column, grid.natives[step, column])
    return tidy(Grid(grid.frame, values, there, True))


def beside_classic(
    engine: Engine, call: Call, about: Node, grid: Grid, classic: Grid,
    measure: Callable[[int, Histogram], Measured],
) -> Grid:  # fmt: skip
    """What was made of the classic buckets of `grid`, with what `measure` makes of its histograms at each step.

    Where there are both of the same labels there is nothing, and a warning.
    """
    if grid.natives is None:
        return classic
    there = _there(grid)
    _part_mixed(engine, call, about, grid, there, classic)

    def number(step: int, column: int, histogram: Histogram) -> float:
        value, note = measure(step, histogram)
        if note:
            engine.inform(f'{note} for metric name "{grid.frame.value(column, METRIC_NAME)}"', about, call)
        return value

    natives = _measured(grid, there, number)
    parts = [part for part in (tidy(classic), natives) if part.size]
    return joined(parts) if parts else natives


def _part_mixed(engine: Engine, call: Call, about: Node, grid: Grid, there: Bools, classic: Grid) -> None:
    names = tuple(sorted({*grid.frame.names, *classic.frame.names} - {"le"}))
    places = {key: column for column, key in enumerate(classic.frame.keys(names).tolist())}
    shown = classic.mask().copy()
    for column, key in enumerate(grid.frame.keys(names).tolist()):
        place = places.get(key)
        if place is None:
            continue
        both = there[:, column] & shown[:, place]
        if both.any():
            engine.warn(
                "vector contains a mix of classic and native histograms for metric name "
                f'"{grid.frame.value(column, METRIC_NAME)}"', about, call,
            )  # fmt: skip
            there[both, column] = False
            shown[both, place] = False
    classic.present = shown
