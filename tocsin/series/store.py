"""The embedded series store: samples in, panels out.

    store = Store(retention=86_400, max_series=1_000_000)
    store.append(samples)                      # one poll
    Round(store, now).evaluate(plan)           # tocsin.promql reads it

One table per metric (see table.py). Out-of-order samples and duplicates are refused and counted. A series that is new
and says when it was created gets a synthetic zero at that time, so that its first burst counts. Not for use from
several threads at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from tocsin.errors import SeriesLimit
from tocsin.model import METRIC_NAME, Labels, Matcher, MatchOp, Sample, Seconds, utc
from tocsin.promql.frame import Dictionary
from tocsin.promql.storage import Floats, Panel
from tocsin.promql.window import BEYOND
from tocsin.series.selection import Matchers, Selection, matching, may_hold
from tocsin.series.table import Table

_SELECTIONS_KEPT = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Samples that were not taken since the store was made."""

    out_of_order: int = 0
    duplicate: int = 0
    over_limit: int = 0


class Store:
    """Series in memory."""

    def __init__(self, *, retention: Seconds = 86_400.0, max_series: int = 1_000_000) -> None:
        """`retention`: samples older than this, measured from the newest, are dropped; `max_series`: a hard cap."""
        self.retention = retention
        self.max_series = max_series
        self.dictionary = Dictionary()
        self._tables: dict[str, Table] = {}
        self._places: dict[tuple[str, Labels], int] = {}
        self._selections: dict[tuple[str, Matchers], Selection] = {}
        self._out_of_order = self._duplicate = self._over_limit = 0
        self._newest = -BEYOND
        self._forgotten_at = -BEYOND

    # Writing ---------------------------------------------------------------------------------------------------------

    def append(self, samples: Iterable[Sample]) -> int:
        """Store a poll's samples; how many were taken.

        Refused and counted: older than the newest of their series, or of the same time. Raises SeriesLimit, which
        names the metrics, after storing what fits.
        """
        batches, excess = self._sorted_out(samples)
        taken = 0
        for (name, at), (columns, values) in sorted(batches.items(), key=lambda item: item[0][1]):
            table = self._tables[name]
            count, late, same = table.write(at, np.array(columns, np.intp), np.array(values, np.float64))
            taken += count
            self._out_of_order += late
            self._duplicate += same
            self._newest = max(self._newest, at)
        self._forget_now_and_then()
        if excess:
            self._over_limit += sum(excess.values())
            worst = ", ".join(f"{name} ({count})" for name, count in excess.most_common(3))
            raise SeriesLimit(
                f"the store holds {len(self._places)} series, as many as it may (series.max_series); "
                f"refused new series of {worst}; drop a label that takes many values, or raise the limit"
            )
        return taken

    def load(self, metric: str, labels: Sequence[Labels], times: Sequence[int], values: Floats) -> None:
        """Many samples of new series of one metric at once: values [times, series], times in milliseconds, rising.

        Raises ValueError when a series is there already or the times don't rise, SeriesLimit when they are too many.
        """
        stamps = np.asarray(times, np.int64)
        if values.shape != (len(stamps), len(labels)) or not len(stamps) or not len(labels):
            raise ValueError(f"{len(stamps)} times and {len(labels)} series don't fit values of shape {values.shape}")
        if (np.diff(stamps) <= 0).any():
            raise ValueError("times must rise")
        keys = [(metric, each) for each in labels]
        if len(set(keys)) < len(keys) or any(key in self._places for key in keys):
            raise ValueError(f"a series of {metric} is there already")
        if len(self._places) + len(keys) > self.max_series:
            raise SeriesLimit(f"{len(keys)} series of {metric} are more than there is room for (series.max_series)")
        table = self._tables.get(metric)
        if table is None:
            table = self._tables[metric] = Table(metric, self.dictionary)
        columns = table.add([each.without(METRIC_NAME) for each in labels])
        table.fill(columns, stamps, values)
        self._places.update(zip(keys, columns.tolist(), strict=True))
        self._newest = max(self._newest, int(stamps[-1]))

    def _sorted_out(
        self, samples: Iterable[Sample]
    ) -> tuple[dict[tuple[str, int], tuple[list[int], list[float]]], Counter[str]]:
        """The samples by metric and time, as column numbers and values; what the cap refused, by metric."""
        batches: dict[tuple[str, int], tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
        new: dict[tuple[str, int, int | None], dict[Labels, list[float]]] = defaultdict(dict)
        excess: Counter[str] = Counter()
        places, room = self._places, self.max_series - len(self._places)
        pending: set[tuple[str, Labels]] = set()
        later: list[tuple[str, Labels, int, float]] = []
        for sample in samples:
            key = (sample.name, sample.labels)
            at = round(sample.at.timestamp() * 1000)
            column = places.get(key)
            if column is not None:
                columns, values = batches[sample.name, at]
                columns.append(column)
                values.append(sample.value)
            elif key in pending:
                later.append((*key, at, sample.value))
            elif len(pending) >= room:
                excess[sample.name] += 1
            else:
                pending.add(key)
                new[sample.name, at, self._zero_time(sample, at)][sample.labels] = [sample.value]
        for (name, at, zero), members in new.items():
            self._begin(name, at, zero, members, batches)
        for name, labels, at, value in later:
            columns, values = batches[name, at]
            columns.append(places[name, labels])
            values.append(value)
        return batches, excess

    def _zero_time(self, sample: Sample, at: int) -> int | None:
        """When a new counter stood at zero: as it says, but before the sample and within the retention."""
        if sample.created is None:
            return None
        zero = min(round(sample.created.timestamp() * 1000), at - 1)
        return zero if zero > at - self.retention * 1000 else None

    def _begin(
        self, name: str, at: int, zero: int | None, members: dict[Labels, list[float]],
        batches: dict[tuple[str, int], tuple[list[int], list[float]]],
    ) -> None:  # fmt: skip
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = Table(name, self.dictionary)
        labels = [each.without(METRIC_NAME) for each in members]
        added = table.add(labels).tolist()
        for column, each in zip(added, members, strict=True):
            self._places[name, each] = column
        if zero is not None:
            columns, values = batches[name, zero]
            columns += added
            values += [0.0] * len(added)
        columns, values = batches[name, at]
        columns += added
        values += [value for (value,) in members.values()]

    def _forget_now_and_then(self) -> None:
        """Retention, an eighth of it at a time, so that its cost is spread thin."""
        span = int(self.retention * 1000)
        if self._newest - self._forgotten_at > span // 8:
            if self._forgotten_at > -BEYOND:
                self.forget(utc((self._newest - span) / 1000))
            self._forgotten_at = self._newest

    def forget(self, until: datetime) -> None:
        """Drop all samples at or before `until`, and the series that have none left."""
        cutoff = round(until.timestamp() * 1000)
        for name, table in list(self._tables.items()):
            gone_before = table.size
            kept = table.forget(cutoff)
            if kept is None:
                continue
            self._places = {key: place for key, place in self._places.items() if key[0] != name}
            for column, labels in enumerate(table.labels):
                self._places[name, labels] = column
            if gone_before and not table.size:
                del self._tables[name]
        self._selections.clear()

    # Reading ---------------------------------------------------------------------------------------------------------

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """As tocsin.promql's Storage."""
        wanted = tuple(matchers)
        panels = []
        for name in self._candidates(wanted):
            panel = self._selection(name, wanted).panel(self._tables[name], after, until)
            if panel is not None:
                panels.append(panel)
        return panels

    def _candidates(self, matchers: Matchers) -> list[str]:
        for matcher in matchers:
            if matcher.name == METRIC_NAME and matcher.op is MatchOp.EQUAL:
                return [matcher.value] if matcher.value in self._tables and may_hold(matcher.value, matchers) else []
        return [name for name in self._tables if may_hold(name, matchers)]

    def _selection(self, name: str, matchers: Matchers) -> Selection:
        known = self._selections.get((name, matchers))
        table = self._tables[name]
        if known is None or known.version != table.version:
            if len(self._selections) >= _SELECTIONS_KEPT:
                self._selections.clear()
            known = self._selections[name, matchers] = Selection(table, matchers)
        return known

    # Listing ---------------------------------------------------------------------------------------------------------

    def series(
        self, matchers: Sequence[Matcher] = (), *, after: datetime | None = None, until: datetime | None = None
    ) -> list[Labels]:
        """The label sets (with `__name__`) that match and have a sample in (after, until]."""
        wanted = tuple(matchers)
        low = -BEYOND if after is None else round(after.timestamp() * 1000)
        high = BEYOND - 1 if until is None else round(until.timestamp() * 1000)
        found: list[Labels] = []
        for name in self._candidates(wanted):
            table = self._tables[name]
            chosen = matching(table.frame, wanted)
            rows = np.arange(table.size) if chosen is None else chosen
            if after is not None or until is not None:
                rows = rows[table.active(low, high)[rows]]
            found += table.frame.take(rows).labels()
        return found

    def label_names(self, matchers: Sequence[Matcher] = ()) -> list[str]:
        """The names of the labels of the matching series, sorted."""
        names: set[str] = set()
        for name in self._candidates(tuple(matchers)):
            frame = self._selection(name, tuple(matchers)).frame
            names.update(each for each in frame.names if frame.column(each).any())
        return sorted(names)

    def label_values(self, label: str, matchers: Sequence[Matcher] = ()) -> list[str]:
        """The values of one label over the matching series, sorted."""
        codes: set[int] = set()
        for name in self._candidates(tuple(matchers)):
            codes.update(np.unique(self._selection(name, tuple(matchers)).frame.column(label)).tolist())
        return sorted(self.dictionary.values[code] for code in codes if code)

    def metric_names(self) -> list[str]:
        """The names of all metrics held, sorted."""
        return sorted(self._tables)

    def series_by_metric(self) -> dict[str, int]:
        """How many series each metric has."""
        return {name: table.size for name, table in self._tables.items()}

    @property
    def series_count(self) -> int:
        return len(self._places)

    @property
    def sample_count(self) -> int:
        return sum(table.samples for table in self._tables.values())

    @property
    def nbytes(self) -> int:
        """Memory held by samples and label columns."""
        return sum(table.nbytes for table in self._tables.values())

    @property
    def newest(self) -> datetime | None:
        """The time of the newest sample."""
        return None if self._newest == -BEYOND else utc(self._newest / 1000)

    def newest_of(self, metric: str) -> datetime | None:
        """The time of the newest sample of one metric."""
        table = self._tables.get(metric)
        return None if table is None or not table.size else utc(table.newest / 1000)

    @property
    def refused(self) -> Refused:
        """What was not taken, by reason."""
        return Refused(out_of_order=self._out_of_order, duplicate=self._duplicate, over_limit=self._over_limit)
