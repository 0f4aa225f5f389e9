"""The embedded series store: samples in, panels out.

    store = Store.open(folder, retention=86_400, max_series=1_000_000)    # or Store() for memory only
    store.append(samples)                      # one poll
    store.flush()                              # to the journal: what a crash after this keeps
    Round(store, now).evaluate(plan)           # tocsin.promql reads it
    store.close()

One table per metric (table.py): recent samples raw, older ones sealed into compressed chunks (chunk.py). Out-of-order
samples and duplicates are refused and counted. A series that is new and says when it was created gets a synthetic zero
at that time, so that its first burst counts. Ages are measured from the newest sample, so no clock is read.

With a folder, polls go to a journal (journal.py, disk.py) and chunks to files. When the disk is full or broken the
store goes on from memory, says so in `problem`, and makes good as soon as it can. Not for several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import numpy as np

from tocsin.errors import SeriesLimit
from tocsin.model import METRIC_NAME, Labels, Sample, Seconds, utc
from tocsin.promql.frame import Dictionary
from tocsin.promql.storage import Floats, Rows
from tocsin.promql.window import BEYOND
from tocsin.series.catalogue import Catalogue
from tocsin.series.disk import Disk
from tocsin.series.durable import Durable, Recovery
from tocsin.series.journal import Batch
from tocsin.series.sorting import Sorted, sorted_out
from tocsin.series.table import Table

DECODED_BYTES: Final = 64 * 2**20
"""Sealed samples kept decoded, for queries over long ranges."""
_CHURN: Final = 10_000
"""Label values of series that are gone, from which it pays to number them anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Samples that were not taken since the store was opened."""

    out_of_order: int = 0
    duplicate: int = 0
    over_limit: int = 0


class Store(Catalogue):
    """Series in memory, and on disk when opened with a folder."""

    def __init__(
        self,
        *,
        retention: Seconds = 86_400.0,
        max_series: int = 1_000_000,
        max_bytes: int | None = None,
        raw: Seconds = 3_600.0,
    ) -> None:
        """`retention`: older samples are dropped; `max_series`: a hard cap; `max_bytes`: the oldest sealed samples go
        when there are more; `raw`: samples younger than this are never compressed, those twice as old always are.
        """
        super().__init__(DECODED_BYTES)
        self.retention = retention
        self.max_series = max_series
        self.max_bytes = max_bytes
        self.raw = raw
        self.recovery = Recovery()
        """What was found when the store was opened."""
        self._places: dict[tuple[str, Labels], int] = {}
        self._named: dict[int, tuple[str, Labels]] = {}
        self._next_serial = 0
        self._out_of_order = self._duplicate = self._over_limit = 0
        self._newest = -BEYOND
        self._aged_at = -BEYOND
        self._durable: Durable | None = None
        self.appended: Callable[[Sequence[Batch], Callable[[int], tuple[str, Labels]]], object] | None = None
        """Told what each append brought, as the journal is: batches of serials, and how to name one."""

    @classmethod
    def open(
        cls,
        folder: Path | None,
        *,
        retention: Seconds = 86_400.0,
        max_series: int = 1_000_000,
        max_bytes: int | None = None,
        raw: Seconds = 3_600.0,
    ) -> Self:
        """The store in `folder`, with what an earlier process left there; None: in memory only.

        Damage is cut out and told in `recovery`. Raises StateError when another process uses the folder, OSError
        when it can't be read.
        """
        store = cls(retention=retention, max_series=max_series, max_bytes=max_bytes, raw=raw)
        if folder is not None:
            durable = Durable(Disk(folder))
            store.recovery = durable.recover(store)
            store._durable = durable
            store._aged_at = store._newest
        return store

    # Writing ---------------------------------------------------------------------------------------------------------

    def append(self, samples: Iterable[Sample]) -> int:
        """Store a poll's samples; how many were taken.

        Refused and counted: older than the newest of their series, or of the same time. Raises SeriesLimit, which
        names the metrics, after storing what fits.
        """
        poll = sorted_out(samples, self._places, self.max_series - len(self._places), self._zero_time)
        self._begin_all(poll)
        taken = 0
        journaled = []
        for (name, at), (columns, values) in sorted(poll.batches.items(), key=lambda item: item[0][1]):
            table = self._tables[name]
            chosen, numbers = np.array(columns, np.intp), np.array(values, np.float64)
            count, late, same = table.write(at, chosen, numbers)
            taken += count
            self._out_of_order += late
            self._duplicate += same
            if count:
                self._newest = max(self._newest, at)
                journaled.append(Batch(at, table.serials[chosen], numbers))
        if self._durable is None:
            self._age()
        elif journaled:
            self._durable.note(journaled, self._named.__getitem__)
        if journaled and self.appended is not None:
            self.appended(journaled, self._named.__getitem__)
        if poll.excess:
            self._over_limit += sum(poll.excess.values())
            worst = ", ".join(f"{name} ({count})" for name, count in poll.excess.most_common(3))
            raise SeriesLimit(
                f"the store holds {len(self._places)} series, as many as it may (series.max_series); "
                f"refused new series of {worst}; drop a label that takes many values, or raise the limit"
            )
        return taken

    def load(self, metric: str, labels: Sequence[Labels], times: Sequence[int], values: Floats) -> None:
        """Many samples of new series of one metric at once: values [times, series], times in milliseconds, rising.

        They are journaled with the next checkpoint. Raises ValueError when a series is there already or the times
        don't rise, SeriesLimit when they are too many.
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
        columns = self._begin(metric, list(labels))
        self._tables[metric].fill(columns, stamps, values)
        self._newest = max(self._newest, int(stamps[-1]))

    def _zero_time(self, sample: Sample, at: int) -> int | None:
        """When a new counter stood at zero: as it says, but before the sample, and no longer ago than is taken."""
        if sample.created is None:
            return None
        zero = min(round(sample.created.timestamp() * 1000), at - 1)
        table = self._tables.get(sample.name)
        oldest = max(at - self.retention * 1000, -BEYOND if table is None else table.sealed)
        return zero if zero > oldest else None

    def _begin_all(self, poll: Sorted) -> None:
        """The new series of a poll; their samples are in its batches then."""
        for (name, at, zero), members in poll.new.items():
            added = self._begin(name, list(members)).tolist()
            for moment, numbers in ((zero, [0.0] * len(added)), (at, list(members.values()))):
                if moment is not None:
                    columns, values = poll.batches[name, moment]
                    columns += added
                    values += numbers
        for key, at, value in poll.later:
            columns, values = poll.batches[key[0], at]
            columns.append(self._places[key])
            values.append(value)

    def _begin(self, name: str, labels: list[Labels]) -> Rows:
        """New series of a metric; their columns."""
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = Table(name, self.dictionary)
        serials = np.arange(self._next_serial, self._next_serial + len(labels))
        self._next_serial += len(labels)
        columns = table.add([each.without(METRIC_NAME) for each in labels], serials)
        for each, column, serial in zip(labels, columns.tolist(), serials.tolist(), strict=True):
            self._places[name, each] = column
            self._named[serial] = (name, each)
        return columns

    # Ageing ----------------------------------------------------------------------------------------------------------

    def flush(self, *, sync: bool = False) -> None:
        """After each poll: write what was appended to the journal, and now and then seal, compress and forget.

        Short but for the sealing, which takes about a second per million series-hours at 15 s. With `sync` the
        journal is on the disk when this returns, and not only with the operating system.
        """
        self._age()
        if self._durable is not None:
            self._durable.flush(self, sync=sync)

    def _age(self) -> None:
        """A checkpoint each `raw` seconds, or each eighth of a short retention."""
        if self._newest - self._aged_at > min(self.raw, self.retention / 8) * 1000:
            if self._aged_at > -BEYOND:
                self.checkpoint()
            self._aged_at = self._newest

    def checkpoint(self) -> None:
        """Seal what is no longer recent, drop what is too old or too much, and begin a new journal segment."""
        if self._newest == -BEYOND:
            return
        cutoff = self._newest - round(self.raw * 1000)
        sealed = [
            (chunk, table.labels_by(chunk.serials))
            for table in self._tables.values()
            if (chunk := table.seal(cutoff)) is not None
        ]
        self._forget(self._newest - round(self.retention * 1000))
        self._shrink()
        self._renumber_labels()
        if self._durable is not None:
            self._durable.checkpoint(self, sealed)

    def _shrink(self) -> None:
        """Retention by bytes: the oldest sealed samples go first."""
        if self.max_bytes is None:
            return
        while True:
            chunks = [chunk for table in self._tables.values() for chunk in table.chunks]
            if not chunks or sum(chunk.nbytes for chunk in chunks) <= self.max_bytes:
                return
            oldest = min(chunk.until for chunk in chunks)
            self._forget(oldest)

    def _renumber_labels(self) -> None:
        """A dictionary anew, when most of the values in it belong to series that are gone."""
        live = {0}
        for table in self._tables.values():
            live |= table.codes()
        old = self.dictionary
        if len(old.values) < _CHURN + 2 * len(live):
            return
        self.dictionary = Dictionary()
        numbers = np.zeros(len(old.values), np.int32)
        for code in sorted(live):
            numbers[code] = self.dictionary.code(old.values[code])
        for table in self._tables.values():
            table.renumber(self.dictionary, numbers)
        self._selections.clear()

    def forget(self, until: datetime) -> None:
        """Drop all samples at or before `until`, and the series that have none left."""
        self._forget(round(until.timestamp() * 1000))

    def _forget(self, cutoff: int) -> None:
        for name, table in list(self._tables.items()):
            before = list(zip(table.labels, table.serials.tolist(), strict=True))
            if not table.forget(cutoff):
                continue
            kept = set(table.serials.tolist())
            for labels, serial in before:
                if serial not in kept:
                    self._places.pop((name, labels), None)
                    self._named.pop(serial, None)
            for column, labels in enumerate(table.labels):
                self._places[name, labels] = column
            if not table.size:
                del self._tables[name]
        self._selections.clear()

    def close(self) -> None:
        """Write what is left and give the folder back. The store is not used after this."""
        durable, self._durable = self._durable, None
        if durable is not None:
            durable.flush(self, sync=True)
            durable.close()

    # State -----------------------------------------------------------------------------------------------------------

    @property
    def series_count(self) -> int:
        """Series held, of which some may have ended."""
        return len(self._places)

    @property
    def newest(self) -> datetime | None:
        """The time of the newest sample."""
        return None if self._newest == -BEYOND else utc(self._newest / 1000)

    @property
    def refused(self) -> Refused:
        """What was not taken, by reason."""
        return Refused(out_of_order=self._out_of_order, duplicate=self._duplicate, over_limit=self._over_limit)

    @property
    def problem(self) -> str:
        """Why samples are not on the disk now; empty when they are, or when there is no folder."""
        return "" if self._durable is None else self._durable.problem

    @property
    def disk_bytes(self) -> int:
        """Bytes on the disk."""
        return 0 if self._durable is None else self._durable.nbytes
