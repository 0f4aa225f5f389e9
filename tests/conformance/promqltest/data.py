"""The samples that a script has loaded, as a store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tests.conformance.promqltest.notation import HISTOGRAM
from tests.conformance.promqltest.script import Load
from tocsin.model import Labels, Matcher, Sample, utc
from tocsin.promql import Dictionary, Panel, Selector
from tocsin.promql.matchers import matches
from tocsin.series import Store

_SUFFIXES = ("_bucket", "_count", "_sum")


class Loaded:
    """A store that is filled when it is first asked; start times ride along where a script gives them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._points: dict[Labels, dict[float, float]] = defaultdict(dict)
        self._starts: dict[Labels, dict[int, int]] = defaultdict(dict)
        self._histograms: dict[Labels, set[float]] = defaultdict(set)
        self._store: Store | None = None

    def load(self, command: Load) -> None:
        """Add the series of a load command."""
        self._store = None
        for line in command.series:
            for index, point in enumerate(line.points):
                at = index * command.step
                if line.suffix == "st":
                    if isinstance(point, float):
                        self._starts[line.labels][round(at * 1000)] = round((at + point) * 1000)
                elif point is HISTOGRAM:
                    self._histograms[line.labels].add(at)
                elif isinstance(point, float):
                    self._points[line.labels][at] = point
            if command.with_nhcb:
                times = {index * command.step for index, point in enumerate(line.points) if point is not None}
                self._note_nhcb(line.labels, times)

    def _note_nhcb(self, labels: Labels, times: set[float]) -> None:
        name = labels.get("__name__", "")
        for suffix in _SUFFIXES:
            if name.endswith(suffix):
                self._histograms[labels.without("le").with_(__name__=name.removesuffix(suffix))] |= times

    def meets_histograms(self, selector: Selector, after: float, until: float) -> bool:
        """True when the selector takes a native histogram between two times, both included."""
        return any(
            all(matches(matcher, labels.get(matcher.name, "")) for matcher in selector.matchers)
            for labels, times in self._histograms.items()
            if any(after <= at <= until for at in times)
        )

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = Store(retention=1e12)
            samples = [
                Sample(name=labels.get("__name__", ""), labels=labels.without("__name__"), value=value, at=utc(at))
                for labels, points in self._points.items()
                for at, value in points.items()
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
