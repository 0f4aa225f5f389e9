"""Binary operators: between numbers, a vector and a number, and two vectors that find each other by labels.

Source of the semantics and wording: prometheus/promql/engine.go, VectorBinop(), VectorAnd(), VectorOr().
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tocsin.promql.engine import Engine, Steps, Value
from tocsin.promql.matching import matched
from tocsin.promql.sets import intersected, removed, united
from tocsin.promql.storage import Bools, Floats
from tocsin.promql.syntax import Binary, Unary
from tocsin.promql.vector import Grid, tidy

COMPARISONS: Final = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip
ARITHMETIC: Final = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power, "atan2": np.arctan2,
}  # fmt: skip


def unary(engine: Engine, node: Unary, steps: Steps) -> Value:
    """A sign."""
    value = engine.child(node.expr, node, steps)
    if node.op == "+" or isinstance(value, str):
        return value
    if isinstance(value, Grid):
        return value.with_values(-value.values)
    return -value


def binary(engine: Engine, node: Binary, steps: Steps) -> Value:
    """The value of a binary operator."""
    left = engine.child(node.left, node, steps)
    right = engine.child(node.right, node, steps)
    assert not isinstance(left, str)
    assert not isinstance(right, str)
    if isinstance(left, Grid) and isinstance(right, Grid):
        return _vectors(engine, node, left, right)
    if isinstance(left, Grid):
        assert not isinstance(right, Grid)
        return _with_scalar(node, left, right[:, None], swapped=False)
    if isinstance(right, Grid):
        return _with_scalar(node, right, left[:, None], swapped=True)
    if node.op in COMPARISONS:
        return COMPARISONS[node.op](left, right).astype(np.float64)
    return ARITHMETIC[node.op](left, right)


def _with_scalar(node: Binary, vector: Grid, scalar: Floats, *, swapped: bool) -> Grid:
    left, right = (scalar, vector.values) if swapped else (vector.values, scalar)
    if node.op in ARITHMETIC:
        return vector.with_values(ARITHMETIC[node.op](left, right))
    kept = COMPARISONS[node.op](left, right)
    if node.bool_:
        return vector.with_values(kept.astype(np.float64))
    return filtered(vector, kept)


def filtered(vector: Grid, kept: Bools) -> Grid:
    """The vector where the comparison held; values and names stay."""
    present = kept if vector.present is None else vector.present & kept
    return tidy(Grid(vector.frame, vector.values, present, vector.nameless, vector.ordered))


def _vectors(engine: Engine, node: Binary, left: Grid, right: Grid) -> Grid:
    matching = node.matching
    assert matching is not None
    match node.op:
        case "and":
            return intersected(left, right, matching)
        case "unless":
            return removed(left, right, matching)
        case "or":
            return united(left, right, matching)
    pairs = matched(left, right, matching, compares=node.op in COMPARISONS and not node.bool_)
    if pairs is None:
        return Grid(left.frame.take(np.zeros(0, np.intp)), np.zeros((left.steps, 0)))
    if node.op in ARITHMETIC:
        values = ARITHMETIC[node.op](pairs.left, pairs.right)
        return pairs.grid(values, None, nameless=True)
    kept = COMPARISONS[node.op](pairs.left, pairs.right)
    if node.bool_:
        return pairs.grid(kept.astype(np.float64), None, nameless=True)
    return pairs.grid(pairs.left, kept, nameless=False)
