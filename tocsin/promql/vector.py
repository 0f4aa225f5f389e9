"""Results: what a query gives back, and the grid that the engine computes on.

`Vector`, `Scalar`, `String` and `Matrix` are what callers see. Inside, every instant-vector expression is a `Grid`:
n series at T steps, values in a [T, n] array; an instant query is a grid of one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import METRIC_NAME, Labels
from tocsin.promql.frame import Frame
from tocsin.promql.native import Histogram
from tocsin.promql.storage import Array, Bools, Floats, Millis, Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotations:
    """What Prometheus returns beside a result: `warnings` (it may be wrong) and `infos` (it may be unexpected)."""

    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


METADATA = (METRIC_NAME, "__type__", "__unit__")
"""The labels that say what a metric is; a function that makes something else of it drops them."""

NO_ANNOTATIONS = Annotations()


class Vector:
    """An instant vector: label sets with one value each. Iterates (labels, value), where all values are numbers."""

    __slots__ = ("_frame", "_labels", "annotations", "at", "natives", "values")

    def __init__(
        self,
        frame: Frame,
        values: Floats,
        at: datetime,
        annotations: Annotations = NO_ANNOTATIONS,
        natives: Array | None = None,
    ) -> None:
        self._frame = frame
        self._labels: list[Labels] | None = None
        self.values = values
        """float64 [n], in the order of `labels`; NaN in the place of a native histogram."""
        self.natives = natives
        """[n] the native histogram that a sample is, or None for a number. None: numbers all."""
        self.at = at
        self.annotations = annotations

    @property
    def labels(self) -> list[Labels]:
        """The label sets, `__name__` included."""
        if self._labels is None:
            self._labels = self._frame.labels()
        return self._labels

    def __len__(self) -> int:
        return self._frame.size

    def __bool__(self) -> bool:
        return self._frame.size > 0

    def __iter__(self) -> Iterator[tuple[Labels, float]]:
        """Raises EvaluationError where a sample is a native histogram: no number says what it is."""
        if self.natives is not None:
            raise EvaluationError(
                "the result holds native histograms, and a number is needed: "
                "use histogram_quantile(), histogram_count(), histogram_sum() or histogram_avg()"
            )
        return iter(zip(self.labels, self.values.tolist(), strict=True))

    def samples(self) -> list[tuple[Labels, float | Histogram]]:
        """The label sets with what each sample is."""
        if self.natives is None:
            return list(self)
        both = zip(self.labels, self.values.tolist(), self.natives.tolist(), strict=True)
        return [(labels, value if native is None else native) for labels, value, native in both]

    def __repr__(self) -> str:
        return f"Vector({self.samples()!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """A number at a time."""

    value: float
    at: datetime
    annotations: Annotations = NO_ANNOTATIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class String:
    """A string at a time."""

    value: str
    at: datetime
    annotations: Annotations = NO_ANNOTATIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One series of a matrix: its samples, oldest first."""

    labels: Labels
    times: Millis
    """int64 milliseconds since the epoch."""
    values: Floats
    natives: Array | None = None
    """As of a Vector."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """A range vector: series with their samples. Iterates `Line`s; of a range query, sorted by labels."""

    lines: tuple[Line, ...]
    annotations: Annotations = NO_ANNOTATIONS

    def __len__(self) -> int:
        return len(self.lines)

    def __bool__(self) -> bool:
        return bool(self.lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)


@dataclass(slots=True)
class Grid:
    """n series at T steps."""

    frame: Frame
    values: Floats
    """[T, n]"""
    present: Bools | None = None
    """[T, n]; None: a value everywhere. Where False the value means nothing."""
    nameless: bool | Bools = False
    """Per series: the metric's name is to be left out of the result (Prometheus: delayed name removal)."""
    ordered: bool = field(default=False)
    """The order of the series is part of the result (sort, topk)."""
    natives: Array | None = None
    """[T, n] objects: the native histogram that a value is, or None for a number. None: numbers all."""

    @property
    def size(self) -> int:
        return self.frame.size

    @property
    def steps(self) -> int:
        return len(self.values)

    def mask(self) -> Bools:
        """`present`, spelled out."""
        return np.ones(self.values.shape, bool) if self.present is None else self.present

    def take(self, rows: Rows) -> Grid:
        """Some of the series."""
        present = None if self.present is None else self.present[:, rows]
        nameless = self.nameless if isinstance(self.nameless, bool) else self.nameless[rows]
        natives = None if self.natives is None else self.natives[:, rows]
        return tidy(Grid(self.frame.take(rows), self.values[:, rows], present, nameless, self.ordered, natives))

    def numbers(self) -> Grid:
        """Without the values that are native histograms; the series stay."""
        if self.natives is None:
            return self
        return replace(self, present=self.mask() & ~is_native(self.natives), natives=None)

    def with_values(self, values: Floats, *, nameless: bool = True) -> Grid:
        """The same series and presence, other values, numbers all; by default the name goes."""
        return Grid(self.frame, values, self.present, True if nameless else self.nameless, self.ordered)

    def names_dropped(self) -> Bools:
        """`nameless`, spelled out."""
        return np.full(self.size, self.nameless) if isinstance(self.nameless, bool) else self.nameless


_without_hints = np.frompyfunc(lambda each: each and each.between_others(), 1, 1)
_there = np.frompyfunc(lambda each: each is not None, 1, 1)


def unhinted(natives: Array | None) -> Array | None:
    """As seen at other times than they were sampled: what a hint says of the sample before does not hold there."""
    return None if natives is None else _without_hints(natives)


def is_native(natives: Array) -> Bools:
    """Where a value is a native histogram."""
    found: Bools = _there(natives).astype(bool)
    return found


def tidy(grid: Grid) -> Grid:
    """Without the series that are nowhere present; `present` and `natives` None where they say nothing."""
    if grid.natives is not None and not (is_native(grid.natives) & grid.mask()).any():
        grid.natives = None
    if grid.present is None:
        return grid
    if grid.present.all():
        grid.present = None
        return grid
    alive = grid.present[0] if len(grid.present) == 1 else grid.present.any(axis=0)
    if alive.all():
        return grid
    return grid.take(np.flatnonzero(alive))


def joined(grids: list[Grid]) -> Grid:
    """The series of all `grids`, in their order."""
    if len(grids) == 1:
        return grids[0]
    present: Bools | None = None
    if any(grid.present is not None for grid in grids):
        present = np.concatenate([grid.mask() for grid in grids], axis=1)
    nameless: bool | Bools = grids[0].nameless
    if not all(isinstance(grid.nameless, bool) and grid.nameless == nameless for grid in grids):
        nameless = np.concatenate([grid.names_dropped() for grid in grids])
    values = np.concatenate([grid.values for grid in grids], axis=1)
    natives: Array | None = None
    if any(grid.natives is not None for grid in grids):
        parts = [np.full(g.values.shape, None) if g.natives is None else g.natives for g in grids]
        natives = np.concatenate(parts, axis=1)
    return Grid(Frame.joined([grid.frame for grid in grids]), values, present, nameless, natives=natives)


def unnamed(grid: Grid) -> Frame:
    """The frame of the result: name, type and unit left out where they are to be."""
    if grid.nameless is False:
        return grid.frame
    there = [name for name in METADATA if name in grid.frame.names]
    if not there:
        return grid.frame
    if grid.nameless is True or bool(np.all(grid.nameless)):
        return grid.frame.without(*METADATA)
    frame = grid.frame
    for name in there:
        frame = frame.with_column(name, np.where(grid.nameless, 0, frame.column(name)).astype(np.int32))
    return frame
