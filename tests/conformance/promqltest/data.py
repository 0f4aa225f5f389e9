"""The samples that a script has loaded, as a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.conformance.promqltest.custom_buckets import with_custom_buckets
from tests.conformance.promqltest.script import Load
from tocsin.model import Labels, Matcher, Sample, utc
from tocsin.promql import Dictionary, Panel
from tocsin.promql.native import Histogram
from tocsin.promql.native.beside import Beside
from tocsin.promql.native.stored import as_stored
from tocsin.series import Store

Points = dict[Labels, dict[float, float | Histogram]]


class Loaded:
    """A store that is filled when it is first asked; start times ride along where a script gives them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._points: Points = defaultdict(dict)
        self._starts: dict[Labels, dict[int, int]] = defaultdict(dict)
        self._store: Beside | None = None

    def load(self, command: Load) -> None:
        """Add the series of a load command."""
        self._store = None
        for line in command.series:
            for index, point in enumerate(line.points):
                at = index * command.step
                if line.suffix == "st":
                    if isinstance(point, float):
                        self._starts[line.labels][round(at * 1000)] = round((at + point) * 1000)
                elif point is not None:
                    self._points[line.labels][at] = point
        if command.with_nhcb:
            for labels, points in with_custom_buckets(command).items():
                self._points[labels] |= points

    @property
    def store(self) -> Beside:
        if self._store is None:
            self._store = Beside(Store(retention=1e12))
            samples: list[Sample] = []
            for labels, points in self._points.items():
                ordered = dict(sorted(points.items()))
                if any(isinstance(value, Histogram) for value in ordered.values()):
                    for at, value in zip(ordered, as_stored(ordered.values()), strict=True):
                        assert value is not None
                        self._store.put(labels, round(at * 1000), value)
                else:
                    name, rest = labels.get("__name__", ""), labels.without("__name__")
                    samples += [
                        Sample(name=name, labels=rest, value=value, at=utc(at))
                        for at, value in ordered.items()
                        if isinstance(value, float)
                    ]
            self._store.append(sorted(samples, key=lambda sample: sample.at))
        return self._store

    # tocsin.promql.Storage -------------------------------------------------------------------------------------------

    @property
    def dictionary(self) -> Dictionary:
        return self.store.dictionary

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        panels = self.store.select(matchers, after, until)
        return [self._with_starts(panel) for panel in panels] if self._starts else panels

    def _with_starts(self, panel: Panel) -> Panel:
        starts = np.zeros(panel.values.shape, np.int64)
        for column, labels in enumerate(panel.frame.labels()):
            known = self._starts.get(labels)
            if known:
                times = panel.times[:, panel.timeline[column]].tolist()
                starts[:, column] = [known.get(at, 0) for at in times]
        return replace(panel, starts=starts)
