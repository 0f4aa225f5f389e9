"""What the engine asks of a store: the samples of the series that match, as panels.

A `Panel` is n series in one block of memory: column j holds the samples of series j, row after row, oldest first.
Series that are always sampled together share one timeline; timelines may differ in length. So a window is a pair of
row numbers per timeline, found by binary search, and most windows are a plain slice of the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tocsin.model import STALE, Matcher
from tocsin.promql.frame import Dictionary, Frame

Array = np.ndarray[Any, np.dtype[Any]]
"""Of any type."""

Floats = NDArray[np.float64]
Millis = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]

STALE_BITS = int(np.array([STALE]).view(np.int64)[0])


class Finder:
    """Row numbers by time for all timelines of a block of memory, each instant looked up once.

    Rules of a round ask for the same few instants, whatever series of a metric they pick.
    """

    __slots__ = ("_found", "times")

    def __init__(self, times: Millis) -> None:
        self.times = times
        self._found: dict[int, Rows] = {}

    def until(self, instant: int) -> Rows:
        """[timelines] how many samples lie at or before `instant`."""
        found = self._found.get(instant)
        if found is None:
            # Rows beyond a timeline's end hold the largest number, so counting is searching.
            found = self._found[instant] = (self.times <= instant).sum(axis=0, dtype=np.int32).astype(np.intp)
        return found


@dataclass(slots=True, kw_only=True)
class Panel:
    """n series. Invariant: series j has exactly `lengths[timeline[j]]` samples, in the first rows of column j."""

    frame: Frame
    times: Millis
    """[rows, timelines] milliseconds since the epoch, rising down each column; beyond a timeline's end: any."""
    timeline: Rows
    """[n] which timeline each series is on."""
    lengths: Rows
    """[timelines]"""
    values: Floats
    """[rows, n]; NaN where the sample is a native histogram"""
    stale: bool = True
    """False when no staleness marker is among the values."""
    starts: Millis | None = None
    """[rows, n] when the counter behind each sample began, 0 where not known."""
    nameless: bool | Bools = False
    """Per series: the metric's name is to be left out in the end (samples of a subquery)."""
    natives: Array | None = None
    """[rows, n] objects: the native histogram that a sample is, or None for a float. None: floats all."""
    finder: Finder | None = None
    """Of the block that this panel is a part of: `lines` are its timelines, rows before `first_row` left out."""
    lines: slice | Rows | None = None
    first_row: int = 0


class Storage(Protocol):
    """A store of samples."""

    @property
    def dictionary(self) -> Dictionary:
        """Numbers the label values of every frame."""

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """The series that match, with their samples in (after, until] (milliseconds); more may be included.

        The caller does not write to what it gets.
        """


def any_of(flags: Bools, axis: int | tuple[int, ...]) -> Bools:
    """Whether any flag is set along an axis."""
    found: Bools = np.any(flags, axis=axis)
    return found


def is_stale(values: Floats) -> Bools:
    """Where a value is the staleness marker."""
    bits: Millis = np.ascontiguousarray(values).view(np.int64)
    marked: Bools = bits == STALE_BITS
    return marked
