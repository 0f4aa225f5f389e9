"""The stored samples as they are, and over them what rules recorded anew: a past that rules are replayed on.

    past = read_store(folder)                          # beside a running daemon: no lock, nothing written
    layered = Layered(past, hidden=names)              # `names`: what rules yield, and so is made anew
    layered.append(samples)                            # into memory; `past` stays as it is
    Round(layered, at).evaluate(plan)

A metric in `hidden` is read from the layer only: what the daemon recorded then came from the rules as they were then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from tocsin.errors import StateError
from tocsin.model import METRIC_NAME, STALE, Labels, Matcher, MatchOp, Sample, utc
from tocsin.promql.frame import Dictionary
from tocsin.promql.storage import Bools, Floats, Millis, Panel
from tocsin.series.disk import Glimpse
from tocsin.series.durable import fill
from tocsin.series.store import Store

_FOR_EVER: Final = 1e12
"""Seconds: what is recorded is dropped by `forget` alone."""
_SERIES: Final = 10_000_000
HEARTBEAT: Final = "tocsin_collector_up"
"""The series that every poll of a daemon brings, whatever it polls."""


def read_store(folder: Path) -> Store:
    """The samples in a store's folder as of now, in memory; not to be written to.

    The folder may be in use by a daemon: it is neither locked nor changed. A poll that is half written is left out.
    Damage is told in `recovery`. Raises StateError where there is no store, OSError when it can't be read.
    """
    store = Store(retention=_FOR_EVER, raw=_FOR_EVER, max_series=_SERIES)
    try:
        store.recovery, _ = fill(store, Glimpse(folder))
    except FileNotFoundError:
        raise StateError(f"there is no series store at {folder}: the daemon makes it as it runs") from None
    except NotADirectoryError:
        raise StateError(f"{folder} is not the folder of a series store") from None
    return store


class Layered:
    """A Storage (see tocsin.promql) of a past that is only read, and of what is recorded over it."""

    def __init__(self, past: Store, hidden: Iterable[str]) -> None:
        self._past = past
        self._hidden = frozenset(hidden)
        self._layer = Store(retention=_FOR_EVER, raw=_FOR_EVER, max_series=_SERIES)
        # One numbering of label values, as every frame of a storage must have.
        self._layer.dictionary = past.dictionary

    @property
    def dictionary(self) -> Dictionary:
        """Numbers the label values of every frame."""
        return self._past.dictionary

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """As tocsin.promql's Storage."""
        layer = self._layer.select(matchers, after, until)
        if any(
            each.name == METRIC_NAME and each.op is MatchOp.EQUAL and each.value in self._hidden for each in matchers
        ):
            return layer
        past = self._past.select(matchers, after, until)
        return [*(panel for panel in past if panel.frame.value(0, METRIC_NAME) not in self._hidden), *layer]

    def append(self, samples: Iterable[Sample]) -> int:
        """Record into the layer; how many were taken. Raises SeriesLimit."""
        return self._layer.append(samples)

    def record(self, metric: str, labels: Sequence[Labels], times: Millis, values: Floats, present: Bools) -> None:
        """Record many steps at once: values and present [steps, series], times [steps] in milliseconds, rising.

        Where a series is no longer present it gets a staleness marker, as if it were recorded step by step.
        """
        ended = np.zeros_like(present)
        ended[1:] = present[:-1] & ~present[1:]
        written = np.where(ended, STALE, values)
        there = present | ended
        whole = np.flatnonzero(there.all(axis=0))
        if len(whole):
            self._write(metric, [labels[column] for column in whole.tolist()], times, written[:, whole])
        for column in np.flatnonzero(~there.all(axis=0)).tolist():
            rows = there[:, column]
            if rows.any():
                self._write(metric, [labels[column]], times[rows], written[rows, column : column + 1])

    def _write(self, metric: str, labels: list[Labels], times: Millis, values: Floats) -> None:
        layer = self._layer
        new = [each for each in labels if (metric, each) not in layer._places]
        if new:
            layer._begin(metric, new)
        columns = np.array([layer._places[metric, each] for each in labels], np.intp)
        layer._tables[metric].write_rows(times, columns, values)
        layer._newest = max(layer._newest, int(times[-1]))

    def forget(self, until: datetime) -> None:
        """Drop what was recorded at or before `until`."""
        self._layer.forget(until)


def silent(store: Store, start: datetime, end: datetime, longer: timedelta) -> list[tuple[datetime, datetime]]:
    """When nothing at all arrived for longer than `longer`, between `start` and `end`: the daemon was not running."""
    names = [HEARTBEAT] if HEARTBEAT in store._tables else list(store._tables)
    low, high = round(start.timestamp() * 1000), round(end.timestamp() * 1000)
    found = [np.array([low, high], np.int64)]
    for name in names:
        table = store._tables[name]
        found += [chunk.decode().times for chunk in table.chunks if chunk.last >= low and chunk.first <= high]
        if table.size:
            found.append(table.panel().times)
    times = np.unique(np.concatenate([each.ravel() for each in found]))
    times = times[(times >= low) & (times <= high)]
    wide = np.flatnonzero(np.diff(times) > longer.total_seconds() * 1000)
    return [(utc(times[place] / 1000), utc(times[place + 1] / 1000)) for place in wide.tolist()]


def extent(store: Store) -> tuple[datetime, datetime] | None:
    """The times of the oldest and the newest sample; None of an empty store."""
    firsts = [chunk.first for table in store._tables.values() for chunk in table.chunks]
    for table in store._tables.values():
        if table.size:
            panel = table.panel()
            firsts += panel.times[0, panel.lengths > 0].tolist() if len(panel.times) else []
    if not firsts or store.newest is None:
        return None
    return utc(min(firsts) / 1000), store.newest
