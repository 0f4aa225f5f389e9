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
    """[rows, n]"""
    stale: bool = True
    """False when no staleness marker is among the values."""
    starts: Millis | None = None
    """[rows, n] when the counter behind each sample began, 0 where not known."""
    nameless: bool | Bools = False
    """Per series: the metric's name is to be left out in the end (samples of a subquery)."""


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
