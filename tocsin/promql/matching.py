"""Which series of two vectors belong together, for arithmetic and comparisons.

The "many" side is the left one, or the right under group_right; the other is the "one" side, where a signature may
occur once per step. Pairs are laid out as columns; a series that finds nobody may be paired with a fill value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import METRIC_NAME
from tocsin.promql.frame import Frame, Keys
from tocsin.promql.sets import merged, signatures
from tocsin.promql.storage import Array, Bools, Floats, Rows, any_of
from tocsin.promql.syntax import Matching
from tocsin.promql.vector import Grid, joined, tidy


@dataclass(slots=True, kw_only=True)
class Pairs:
    """Matched series as columns."""

    frame: Frame
    left: Floats
    right: Floats
    left_natives: Array | None
    right_natives: Array | None
    present: Bools | None
    nameless: bool | Bools
    distinct: bool
    """No two columns have the same labels."""

    def grid(self, values: Floats, kept: Bools | None, *, nameless: bool, natives: Array | None = None) -> Grid:
        """The result of the operator."""
        present = self.present
        if kept is not None:
            present = kept if present is None else present & kept
        grid = tidy(Grid(self.frame, values, present, True if nameless else self.nameless, natives=natives))
        if self.distinct or grid.frame.distinct:
            return grid
        return merged(grid, _GroupingClash)


class _GroupingClash(EvaluationError):
    def __init__(self, _: str) -> None:
        super().__init__("multiple matches for labels: grouping labels must ensure unique matches")


def matched(left: Grid, right: Grid, matching: Matching, *, compares: bool) -> Pairs | None:
    """The pairs of two vectors, or None where nothing can match. Raises EvaluationError on ambiguity."""
    swapped = matching.card == "one-to-many"
    many, one = (right, left) if swapped else (left, right)
    # As in Prometheus, group_right does not swap the fill values: fill_left is always that of the "many" side.
    fill_many, fill_one = matching.fill_left, matching.fill_right
    if (not many.size and fill_many is None) or (not one.size and fill_one is None) or not many.size + one.size:
        return None
    many_keys = signatures(many.frame, one.frame, matching)
    one_keys = signatures(one.frame, many.frame, matching)
    _check_one_side(one, one_keys, many, matching, "left" if swapped else "right")
    first, second = _pairs(many_keys, one_keys)
    if matching.card == "one-to-one":
        _check_many_side(many, first, many_keys[first], one, second)
    parts = [_matched_part(many, one, first, second, matching)]
    if fill_one is not None:
        parts.append(_filled_part(many, one, first, second, fill_one, matching, of_many=True))
    if fill_many is not None:
        parts.append(_filled_part(one, many, second, first, fill_many, matching, of_many=False))
    parts = [part for part in parts if part.frame.size] or parts[:1]
    return _oriented(parts, swapped, one_to_one=matching.card == "one-to-one" and len(parts) == 1)


def _oriented(parts: list[_Part], swapped: bool, *, one_to_one: bool) -> Pairs:
    mine = joined([part.grid(of_many=True) for part in parts])
    theirs = joined([part.grid(of_many=False) for part in parts])
    left, right = (theirs, mine) if swapped else (mine, theirs)
    distinct = one_to_one and mine.steps == 1
    return Pairs(
        frame=mine.frame, left=left.values, right=right.values, left_natives=left.natives, right_natives=right.natives,
        present=mine.present, nameless=mine.nameless, distinct=distinct,
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Part:
    frame: Frame
    many: Floats
    one: Floats
    many_natives: Array | None
    one_natives: Array | None
    present: Bools | None
    nameless: bool | Bools

    def grid(self, *, of_many: bool) -> Grid:
        """One side's values, under the labels of the result."""
        values, natives = (self.many, self.many_natives) if of_many else (self.one, self.one_natives)
        return Grid(self.frame, values, self.present, self.nameless, natives=natives)


def _pairs(many: Keys, one: Keys) -> tuple[Rows, Rows]:
    """Every (many, one) of equal key, in the order of the many side."""
    if not len(many) or not len(one):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    order = np.argsort(one, kind="stable")
    ordered = one[order]
    low = np.searchsorted(ordered, many, side="left")
    high = np.searchsorted(ordered, many, side="right")
    found = high - low
    if found.max(initial=0) <= 1:
        first = np.flatnonzero(found)
        return first, order[low[first]]
    first = np.repeat(np.arange(len(many)), found)
    offsets = np.arange(len(first)) - np.repeat(np.cumsum(found) - found, found)
    return first, order[low[first] + offsets]


def _columns(array: Array | None, rows: Rows) -> Array | None:
    return None if array is None else array[:, rows]


def _both(a: Bools | None, b: Bools | None) -> Bools | None:
    if a is None or b is None:
        return b if a is None else a
    both: Bools = a & b
    return both


def _matched_part(many: Grid, one: Grid, first: Rows, second: Rows, matching: Matching) -> _Part:
    frame = many.frame.take(first)
    if matching.card == "one-to-one":
        frame = frame.only(*matching.labels) if matching.on else frame.without(*matching.labels)
    for name in matching.include:
        frame = frame.with_column(name, one.frame.column(name)[second])
    nameless = many.nameless if isinstance(many.nameless, bool) else many.nameless[first]
    return _Part(
        frame=frame, many=many.values[:, first], one=one.values[:, second],
        many_natives=_columns(many.natives, first), one_natives=_columns(one.natives, second),
        present=_both(_columns(many.present, first), _columns(one.present, second)), nameless=nameless,
    )  # fmt: skip


def _filled_part(
    mine: Grid, other: Grid, matched: Rows, partner: Rows, fill: float, matching: Matching, *, of_many: bool
) -> _Part:
    """The series of one side at the steps where no partner is there, paired with the fill value."""
    lonely = mine.mask().copy()
    if len(matched):
        there = np.zeros(lonely.shape, bool)
        partners = other.mask()
        for column, counterpart in zip(matched.tolist(), partner.tolist(), strict=True):
            there[:, column] |= partners[:, counterpart]
        lonely &= ~there
    rows = np.flatnonzero(lonely.any(axis=0))
    frame = mine.frame.take(rows)
    if not of_many or matching.card == "one-to-one":
        if matching.on:
            frame = frame.only(*matching.labels)
        elif of_many:
            frame = frame.without(*matching.labels)
        else:
            frame = frame.without(*matching.labels, METRIC_NAME)
    for name in matching.include if of_many else ():
        # The label to join comes from a series that is not there.
        frame = frame.without(name)
    values = mine.values[:, rows]
    filled = np.full(values.shape, fill)
    many, one = (values, filled) if of_many else (filled, values)
    natives = _columns(mine.natives, rows)
    many_natives, one_natives = (natives, None) if of_many else (None, natives)
    nameless = mine.nameless if isinstance(mine.nameless, bool) else mine.nameless[rows]
    return _Part(
        frame=frame, many=many, one=one, many_natives=many_natives, one_natives=one_natives,
        present=lonely[:, rows], nameless=nameless,
    )  # fmt: skip


# Ambiguity -----------------------------------------------------------------------------------------------------------


def _clashing(keys: Keys, present: Bools | None, when: Bools | None) -> tuple[int, int] | None:
    """Two columns of equal key that are there at the same step, if any."""
    unique, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    if len(unique) == len(keys):
        return None
    for each in np.flatnonzero(sizes > 1).tolist():
        columns = np.flatnonzero(group == each)
        if present is None:
            if when is None or when.any():
                return int(columns[0]), int(columns[1])
            continue
        there = present[:, columns]
        if when is not None:
            there = there & when[:, None]
        step = int(there.sum(axis=1).argmax())
        both = columns[there[step]]
        if len(both) > 1:
            return int(both[0]), int(both[1])
    return None


def _check_one_side(one: Grid, keys: Keys, many: Grid, matching: Matching, side: str) -> None:
    when = None if many.present is None else any_of(many.present, 1)
    clash = _clashing(keys, one.present, when)
    if clash is None:
        return
    shown = one.frame.take(np.array(clash)).labels()
    names = matching.labels if matching.on else None
    signature = shown[0].only(*names) if names is not None else shown[0].without(*matching.labels, METRIC_NAME)
    raise EvaluationError(
        f"found duplicate series for the match group {signature!r} on the {side} hand-side of the operation: "
        f"[{shown[0]!r}, {shown[1]!r}];many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _check_many_side(many: Grid, first: Rows, keys: Keys, one: Grid, second: Rows) -> None:
    present = _both(_columns(many.present, first), _columns(one.present, second))
    if _clashing(keys, present, None) is not None:
        raise EvaluationError(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )
