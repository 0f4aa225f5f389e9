"""Functions of one value: rounding, logarithms, angles, clamping, dates.

Source of the semantics: prometheus/promql/functions.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from tocsin.promql.engine import Engine, Steps
from tocsin.promql.frame import Frame
from tocsin.promql.storage import Floats
from tocsin.promql.syntax import Call
from tocsin.promql.vector import Grid, tidy

PLAIN: Final[dict[str, Callable[[Floats], Floats]]] = {
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "exp": np.exp, "sqrt": np.sqrt, "ln": np.log, "log2": np.log2,
    "log10": np.log10, "sgn": np.sign, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "deg": np.degrees, "rad": np.radians,
}  # fmt: skip


def plain(engine: Engine, call: Call, steps: Steps) -> Grid:
    """A function of each value by itself."""
    grid = engine.vector(call.args[0], call, steps)
    return grid.with_values(PLAIN[call.function](grid.values))


def rounded(engine: Engine, call: Call, steps: Steps) -> Grid:
    """round(v, to_nearest = 1): halves go up."""
    grid = engine.vector(call.args[0], call, steps)
    nearest = engine.scalar(call.args[1], call, steps)[:, None] if len(call.args) > 1 else np.ones((1, 1))
    # Dividing by the inverse, as Prometheus does, gives 0.1 and not 0.1000…01.
    inverse = 1.0 / nearest
    return grid.with_values(np.floor(grid.values * inverse + 0.5) / inverse)


def clamped(engine: Engine, call: Call, steps: Steps) -> Grid:
    """clamp, clamp_min, clamp_max; a minimum above the maximum gives nothing."""
    grid = engine.vector(call.args[0], call, steps)
    bounds = [engine.scalar(arg, call, steps)[:, None] for arg in call.args[1:]]
    values = grid.values
    if call.function == "clamp_min":
        return grid.with_values(np.maximum(values, bounds[0]))
    if call.function == "clamp_max":
        return grid.with_values(np.minimum(values, bounds[0]))
    low, high = bounds
    result = grid.with_values(np.maximum(low, np.minimum(high, values)))
    if (low > high).any():
        result.present = result.mask() & ~(low > high)
    return tidy(result)


_DAY: Final = 86_400


def _days(seconds: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    whole = np.floor(np.nan_to_num(seconds, nan=0.0, posinf=0.0, neginf=0.0))
    return np.floor(whole / _DAY).astype(np.int64).astype("datetime64[D]")


def _month_start(seconds: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    return _days(seconds).astype("datetime64[M]")


DATES: Final[dict[str, Callable[[Floats], np.ndarray]]] = {
    "minute": lambda s: np.floor(s / 60) % 60,
    "hour": lambda s: np.floor(s / 3600) % 24,
    "day_of_week": lambda s: (np.floor(s / _DAY) + 4) % 7,
    "day_of_month": lambda s: (_days(s) - _month_start(s)).astype(np.int64) + 1,
    "day_of_year": lambda s: (_days(s) - _days(s).astype("datetime64[Y]")).astype(np.int64) + 1,
    "days_in_month": lambda s: (
        (_month_start(s) + 1).astype("datetime64[D]") - _month_start(s).astype("datetime64[D]")
    ).astype(np.int64),
    "month": lambda s: _month_start(s).astype(np.int64) % 12 + 1,
    "year": lambda s: _days(s).astype("datetime64[Y]").astype(np.int64) + 1970,
}


def dated(engine: Engine, call: Call, steps: Steps) -> Grid:
    """A part of the UTC date of each value, or of the evaluation time."""
    if call.args:
        grid = engine.vector(call.args[0], call, steps)
    else:
        now = (steps.times / 1000.0)[:, None]
        grid = Grid(Frame.single(engine.dictionary), now)
    seconds = np.trunc(grid.values)
    parts = DATES[call.function](seconds).astype(np.float64)
    return grid.with_values(np.where(np.isfinite(seconds), parts, np.nan))
