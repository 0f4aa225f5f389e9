"""Binary operators: between numbers, a vector and a number, and two vectors that find each other by labels.

Source of the semantics and wording: prometheus/promql/engine.go, VectorBinop(), VectorAnd(), VectorOr().
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from tocsin.promql.engine import Engine, Steps, Value
from tocsin.promql.matching import matched
from tocsin.promql.native import operators as native
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
        negative = value.with_values(-value.values)
        return negative if value.natives is None else native.negated(negative, value.natives)
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
        return _with_scalar(engine, node, left, right[:, None], swapped=False)
    if isinstance(right, Grid):
        return _with_scalar(engine, node, right, left[:, None], swapped=True)
    if node.op in COMPARISONS:
        return COMPARISONS[node.op](left, right).astype(np.float64)
    return ARITHMETIC[node.op](left, right)


def _with_scalar(engine: Engine, node: Binary, vector: Grid, scalar: Floats, *, swapped: bool) -> Grid:
    left, right = (scalar, vector.values) if swapped else (vector.values, scalar)
    of_left, of_right = (None, vector.natives) if swapped else (vector.natives, None)
    if node.op in ARITHMETIC:
        result = vector.with_values(ARITHMETIC[node.op](left, right))
        if vector.natives is None:
            return result
        values, natives, there = native.arithmetic(
            engine, node, result.values, left, right, of_left, of_right, vector.present
        )
        return tidy(replace(result, values=values, natives=natives, present=there))
    kept = COMPARISONS[node.op](left, right)
    if vector.natives is not None:
        kept, there = native.compared(engine, node, kept, left, right, of_left, of_right, vector.present)
        vector = replace(vector, present=there)
    if node.bool_:
        return tidy(vector.with_values(kept.astype(np.float64)))
    return filtered(vector, kept)


def filtered(vector: Grid, kept: Bools) -> Grid:
    """The vector where the comparison held; values and names stay."""
    present = kept if vector.present is None else vector.present & kept
    return tidy(replace(vector, present=present))


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
    sides = (pairs.left, pairs.right, pairs.left_natives, pairs.right_natives)
    mixed = pairs.left_natives is not None or pairs.right_natives is not None
    if node.op in ARITHMETIC:
        values = ARITHMETIC[node.op](pairs.left, pairs.right)
        if mixed:
            values, natives, there = native.arithmetic(engine, node, values, *sides, pairs.present)
            return pairs.grid(values, there, nameless=True, natives=natives)
        return pairs.grid(values, None, nameless=True)
    kept = COMPARISONS[node.op](pairs.left, pairs.right)
    if mixed:
        kept, pairs.present = native.compared(engine, node, kept, *sides, pairs.present)
    if node.bool_:
        return pairs.grid(kept.astype(np.float64), None, nameless=True)
    return pairs.grid(pairs.left, kept, nameless=False, natives=pairs.left_natives)
