"""Functions of range vectors in whose windows native histograms lie, window by window.

What a function makes of the numbers alone is worked out as ever, for the whole block; this module has the windows in
which histograms are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tocsin.model import METRIC_NAME
from tocsin.promql.engine import Engine
from tocsin.promql.native.arithmetic import total
from tocsin.promql.native.rates import extrapolated, instant
from tocsin.promql.native.value import Histogram, Incompatible
from tocsin.promql.native.window import MIXED, Point, Value, Window, changed, events, restarted_at
from tocsin.promql.rates import Outcome
from tocsin.promql.storage import Bools, Rows
from tocsin.promql.syntax import Call, Node
from tocsin.promql.vector import Grid, is_native, tidy
from tocsin.promql.window import Block, packed

_EXPONENTIAL_AND_CUSTOM: Final = "vector contains a mix of histograms with exponential and custom buckets schemas"


@dataclass(slots=True, kw_only=True)
class Over:
    """What is asked of the windows of a series."""

    engine: Engine
    node: Node
    """Being evaluated."""
    about: Node
    """The part of it that the samples are of."""
    function: str
    kernel: Callable[[Block], Outcome]
    """What it is of numbers."""
    natives: Mapping[str, Callable[[Window], Value | None]]
    """By function, what it is of a window with histograms; without one it is of numbers alone."""
    nameless: bool | Bools = True


def ranged(
    engine: Engine, call: Call, about: Node, block: Block, kernel: Callable[[Block], Outcome], nameless: bool | Bools
) -> Grid:
    """The grid of a range function over a block with native histograms."""
    over = Over(
        engine=engine, node=call, about=about, function=call.function, kernel=kernel, natives=_OF_HISTOGRAMS,
        nameless=nameless,
    )  # fmt: skip
    return grid_over(over, block, block.low, block.high)


def grid_over(over: Over, block: Block, low: Rows, high: Rows) -> Grid:
    """The grid; rows [low, high) per step and timeline are what a function of histograms sees."""
    panel = block.panel
    assert panel.natives is not None
    seen = is_native(panel.natives)
    alone = packed(panel, seen)
    alone.natives = None
    values, present = over.kernel(over.engine.block(alone, block.start, block.end))
    result = Grid(block.frame, values.copy(), np.ones(values.shape, bool) if present is None else present.copy())
    result.natives, result.nameless = np.full(values.shape, None), over.nameless
    low, high = block.across(low), block.across(high)
    for step, column in zip(*np.nonzero(high > low), strict=True):
        rows = slice(low[step, column], high[step, column])
        if seen[rows, column].any():
            window = Window(
                over.engine, over.node, over.about, over.function, block.frame.value(column, METRIC_NAME),
                int(block.start[step]), int(block.end[step]), _points(block, rows, column),
            )  # fmt: skip
            _put(result, step, column, window, over.natives.get(over.function))
    return tidy(result)


def _points(block: Block, rows: slice, column: int) -> list[Point]:
    panel = block.panel
    assert panel.natives is not None
    times = panel.times[rows, panel.timeline[column]].tolist()
    began = [0] * len(times) if panel.starts is None else panel.starts[rows, column].tolist()
    values = zip(panel.values[rows, column].tolist(), panel.natives[rows, column].tolist(), strict=True)
    both = [value if native is None else native for value, native in values]
    return [Point(*each) for each in zip(times, both, began, strict=True)]


def _put(
    result: Grid, step: int, column: int, window: Window, function: Callable[[Window], Value | None] | None
) -> None:
    """What comes of a window that holds a histogram."""
    assert isinstance(result.present, np.ndarray)
    assert result.natives is not None
    if function is None:  # A function of numbers: those of the window are its result, the histograms are left out.
        if window.is_mixed:
            window.inform(
                f'ignored histograms in a range containing both floats and histograms for metric name "{window.metric}"'
            )
        return
    try:
        value = function(window)
    except Incompatible:
        window.warn(_EXPONENTIAL_AND_CUSTOM)
        value = None
    result.present[step, column] = value is not None
    if isinstance(value, Histogram):
        result.natives[step, column] = value
        result.values[step, column] = np.nan
    elif value is not None:
        result.values[step, column] = value


def _folded(*, mean: bool) -> Callable[[Window], Value | None]:
    """sum_over_time or avg_over_time."""

    def function(window: Window) -> Value | None:
        if window.is_mixed:
            window.warn(MIXED)
            return None
        outcome = total(window.histograms(), mean=mean)
        if outcome.collides:
            window.warn("conflicting counter resets during histogram aggregation", named=False)
        return window.checked(outcome, "aggregation")

    return function


_OF_HISTOGRAMS: Final[dict[str, Callable[[Window], Value | None]]] = {
    "rate": extrapolated(counter=True, per_second=True),
    "increase": extrapolated(counter=True, per_second=False),
    "delta": extrapolated(counter=False, per_second=False),
    "irate": instant(counter=True),
    "idelta": instant(counter=False),
    "sum_over_time": _folded(mean=False),
    "avg_over_time": _folded(mean=True),
    "changes": events(changed),
    "resets": events(restarted_at),
    "count_over_time": lambda window: float(len(window.points)),
    "present_over_time": lambda window: 1.0,
    "first_over_time": lambda window: window.points[0].value,
    "last_over_time": lambda window: window.points[-1].value,
    "ts_of_first_over_time": lambda window: window.points[0].at / 1000,
    "ts_of_last_over_time": lambda window: window.points[-1].at / 1000,
}
