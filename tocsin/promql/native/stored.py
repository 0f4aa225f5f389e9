"""The hints that histograms come back with from a Prometheus that has stored them.

Within a chunk a counter does not restart; of a chunk's first sample nothing is said. A new chunk begins where the
layout changes, or a counter restarts. Source: prometheus/tsdb/chunkenc/float_histogram.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tocsin.model import Matcher
from tocsin.promql.frame import Dictionary
from tocsin.promql.native.arithmetic import was_reset
from tocsin.promql.native.value import Hint, Histogram
from tocsin.promql.storage import Panel, Storage


def as_stored(points: Iterable[float | Histogram | None]) -> Iterator[float | Histogram | None]:
    """The samples of one series, oldest first, with the hints that a store gives; gaps are passed on."""
    before: float | Histogram | None = None
    for point in points:
        if isinstance(point, Histogram) and point.hint is not Hint.GAUGE:
            goes_on = isinstance(before, Histogram) and _same_chunk(point, before)
            yield point.hinted(Hint.NOT_RESET if goes_on else Hint.UNKNOWN)
        else:
            yield point
        before = before if point is None else point


def _same_chunk(now: Histogram, before: Histogram) -> bool:
    if before.hint is Hint.GAUGE or now.hint is Hint.RESET:
        return False
    layout = (now.schema, now.zero_threshold, now.bounds)
    return layout == (before.schema, before.zero_threshold, before.bounds) and not was_reset(
        now.hinted(Hint.UNKNOWN), before
    )


class Decoded:
    """A storage whose histograms say at every sample whether their counter was reset.

    So Prometheus reads them for histogram_count() and its kin, which need no buckets: sums of counters of which one was
    reset are told apart there, and only there. Source: prometheus/promql/histogram_stats_iterator.go.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def dictionary(self) -> Dictionary:
        """The storage's."""
        return self._storage.dictionary

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """The storage's."""
        return [_decoded(panel) for panel in self._storage.select(matchers, after, until)]


def _decoded(panel: Panel) -> Panel:
    if panel.natives is None:
        return panel
    natives = panel.natives.copy()
    for column in natives.T:
        before: Histogram | None = None
        for row, now in enumerate(column):
            if now is None:
                continue
            if now.hint is Hint.UNKNOWN and before is not None:
                column[row] = now.hinted(Hint.RESET if was_reset(now, before) else Hint.NOT_RESET)
            before = now
    return replace(panel, natives=natives)
