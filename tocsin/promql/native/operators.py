"""Binary operators where a side is a native histogram, value by value.

A histogram is scaled by a number; two are added, subtracted and told apart. Anything else gives nothing, and an info.
Source: prometheus/promql/engine.go, vectorElemBinop().
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tocsin.promql.engine import Engine
from tocsin.promql.native.arithmetic import added, divided, scaled, subtracted
from tocsin.promql.native.value import Histogram, Incompatible
from tocsin.promql.storage import Array, Bools, Floats
from tocsin.promql.syntax import Binary
from tocsin.promql.vector import Grid, is_native

Side = float | Histogram

_NAMES: Final = {"+": "addition", "-": "subtraction"}


def negated(grid: Grid, natives: Array) -> Grid:
    """A grid whose numbers are negated already, with its histograms."""
    grid.natives = np.full(natives.shape, None)
    for place in zip(*np.nonzero(is_native(natives)), strict=True):
        grid.natives[place] = scaled(natives[place], -1.0)
    return grid


def arithmetic(
    engine: Engine, node: Binary, values: Floats, left: Floats, right: Floats,
    left_natives: Array | None, right_natives: Array | None, present: Bools | None,
) -> tuple[Floats, Array, Bools]:  # fmt: skip
    """`values` of the numbers, with what comes of the histograms: values, histograms, and where there is either."""
    shape = values.shape
    there = np.ones(shape, bool) if present is None else np.broadcast_to(present, shape).copy()
    natives = np.full(shape, None)
    touched = _touched(shape, left_natives, right_natives)
    for place in zip(*np.nonzero(touched & there), strict=True):
        a, b = _side(left, left_natives, shape, place), _side(right, right_natives, shape, place)
        natives[place] = _combined(engine, node, a, b)
    there &= ~touched | is_native(natives)
    return np.where(touched, np.nan, values), natives, there


def compared(
    engine: Engine, node: Binary, kept: Bools, left: Floats, right: Floats,
    left_natives: Array | None, right_natives: Array | None, present: Bools | None,
) -> tuple[Bools, Bools]:  # fmt: skip
    """Where the comparison holds, given where it does of the numbers; and where there is anything to compare."""
    shape = kept.shape
    there = np.ones(shape, bool) if present is None else np.broadcast_to(present, shape).copy()
    touched = _touched(shape, left_natives, right_natives)
    result = kept & ~touched
    for place in zip(*np.nonzero(touched & there), strict=True):
        a, b = _side(left, left_natives, shape, place), _side(right, right_natives, shape, place)
        if isinstance(a, Histogram) and isinstance(b, Histogram) and node.op in ("==", "!="):
            result[place] = a.equals(b) == (node.op == "==")
        else:
            _refuse(engine, node, a, b)
            there[place] = False
    return result, there


def _touched(shape: tuple[int, ...], *sides: Array | None) -> Bools:
    touched = np.zeros(shape, bool)
    for natives in sides:
        if natives is not None:
            touched |= np.broadcast_to(is_native(natives), shape)
    return touched


def _side(values: Floats, natives: Array | None, shape: tuple[int, ...], place: tuple[int, ...]) -> Side:
    native = None if natives is None else np.broadcast_to(natives, shape)[place]
    return float(np.broadcast_to(values, shape)[place]) if native is None else native


def _combined(engine: Engine, node: Binary, a: Side, b: Side) -> Histogram | None:
    if isinstance(a, Histogram) and isinstance(b, Histogram):
        if node.op in _NAMES:
            return _sum(engine, node, a, b)
    elif isinstance(a, Histogram) and not isinstance(b, Histogram) and node.op in ("*", "/"):
        return scaled(a, b) if node.op == "*" else divided(a, b)
    elif isinstance(b, Histogram) and not isinstance(a, Histogram) and node.op == "*":
        return scaled(b, a)
    _refuse(engine, node, a, b)
    return None


def _sum(engine: Engine, node: Binary, a: Histogram, b: Histogram) -> Histogram | None:
    try:
        result = (added if node.op == "+" else subtracted)(a, b)
    except Incompatible:
        engine.warn(f"incompatible bucket layout encountered for binary operator {node.op}", node, node)
        return None
    if result.collides:
        engine.warn(f"conflicting counter resets during histogram {_NAMES[node.op]}", node, node)
    if result.reconciled:
        engine.inform(f"mismatched custom buckets were reconciled during {_NAMES[node.op]}", node, node)
    return result.value


def _refuse(engine: Engine, node: Binary, a: Side, b: Side) -> None:
    left, right = ("histogram" if isinstance(side, Histogram) else "float" for side in (a, b))
    engine.inform(
        f'incompatible sample types encountered for binary operator "{node.op}": {left} {node.op} {right}', node, node
    )
