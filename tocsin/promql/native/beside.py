"""A storage of floats, with series that hold native histograms beside it, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from tocsin.model import Labels, Matcher, Sample
from tocsin.promql.frame import Dictionary, Frame
from tocsin.promql.matchers import matches
from tocsin.promql.native.value import Histogram
from tocsin.promql.storage import Panel, Storage
from tocsin.promql.window import BEYOND


class FloatStore(Storage, Protocol):
    """What the floats go to."""

    def append(self, samples: Iterable[Sample]) -> int:
        """Store samples."""


class Beside:
    """A storage for unit tests of rules, whose input may be native histograms.

    A series that ever holds a histogram is here as a whole, its numbers included; all others are in the other store.
    """

    def __init__(self, floats: FloatStore) -> None:
        self._floats = floats
        self._series: dict[Labels, list[tuple[int, float | Histogram]]] = {}
        self.append = floats.append

    def put(self, labels: Labels, at: int, value: float | Histogram) -> None:
        """A sample of a series with histograms, `__name__` among its labels; `at` in milliseconds, rising."""
        self._series.setdefault(labels, []).append((at, value))

    @property
    def dictionary(self) -> Dictionary:
        """The other store's."""
        return self._floats.dictionary

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """Both's."""
        chosen = [
            (labels, points)
            for labels, points in self._series.items()
            if all(matches(matcher, labels.get(matcher.name, "")) for matcher in matchers)
        ]
        panels = list(self._floats.select(matchers, after, until))
        return [*panels, self._panel(chosen)] if chosen else panels

    def _panel(self, chosen: list[tuple[Labels, list[tuple[int, float | Histogram]]]]) -> Panel:
        lengths = np.array([len(points) for _, points in chosen])
        shape = (int(lengths.max()), len(chosen))
        times, values, natives = np.full(shape, BEYOND), np.full(shape, np.nan), np.full(shape, None)
        for column, (_, points) in enumerate(chosen):
            for row, (at, value) in enumerate(points):
                times[row, column] = at
                if isinstance(value, Histogram):
                    natives[row, column] = value
                else:
                    values[row, column] = value
        names = {name for labels, _ in chosen for name in labels}
        columns = {name: self.dictionary.codes([labels.get(name, "") for labels, _ in chosen]) for name in names}
        return Panel(
            frame=Frame(self.dictionary, columns, len(chosen)), times=times, timeline=np.arange(len(chosen)),
            lengths=lengths, values=values, natives=natives,
        )  # fmt: skip
