"""Results: what a query gives back, and the grid that the engine computes on.

`Vector`, `Scalar`, `String` and `Matrix` are what callers see. Inside, every instant-vector expression is a `Grid`:
n series at T steps, values in a [T, n] array; an instant query is a grid of one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from tocsin.model import METRIC_NAME, Labels
from tocsin.promql.frame import Frame
from tocsin.promql.storage import Bools, Floats, Millis, Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotations:
    """What Prometheus returns beside a result: `warnings` (it may be wrong) and `infos` (it may be unexpected)."""

    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


METADATA = (METRIC_NAME, "__type__", "__unit__")
"""The labels that say what a metric is; a function that makes something else of it drops them."""

NO_ANNOTATIONS = Annotations()


class Vector:
    """An instant vector: label sets with one value each. Iterates (labels, value)."""

    __slots__ = ("_frame", "_labels", "annotations", "at", "values")

    def __init__(self, frame: Frame, values: Floats, at: datetime, annotations: Annotations = NO_ANNOTATIONS) -> None:
        self._frame = frame
        self._labels: list[Labels] | None = None
        self.values = values
        """float64 [n], in the order of `labels`."""
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
        return iter(zip(self.labels, self.values.tolist(), strict=True))

    def __repr__(self) -> str:
        return f"Vector({list(self)!r})"


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
        return tidy(Grid(self.frame.take(rows), self.values[:, rows], present, nameless, self.ordered))

    def with_values(self, values: Floats, *, nameless: bool = True) -> Grid:
        """The same series and presence, other values; by default the name goes."""
        return Grid(self.frame, values, self.present, True if nameless else self.nameless, self.ordered)

    def names_dropped(self) -> Bools:
        """`nameless`, spelled out."""
        return np.full(self.size, self.nameless) if isinstance(self.nameless, bool) else self.nameless


def tidy(grid: Grid) -> Grid:
    """Without the series that are nowhere present; `present` None where it says nothing."""
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
    return Grid(Frame.joined([grid.frame for grid in grids]), values, present, nameless)


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
