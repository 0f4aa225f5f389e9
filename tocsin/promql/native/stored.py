"""The hints that histograms come back with from a Prometheus that has stored them.

Within a chunk a counter does not restart; of a chunk's first sample nothing is said. A new chunk begins where the
layout changes, or a counter restarts. Source: prometheus/tsdb/chunkenc/float_histogram.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tocsin.promql.native.arithmetic import was_reset
from tocsin.promql.native.value import Hint, Histogram


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
