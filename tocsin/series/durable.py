"""Keeps a store's samples on disk, and brings them back.

What is appended gathers in a buffer until `flush`. When writing fails (a full disk, a folder gone read-only) nothing
is raised: `problem` says what is wrong, and from time to time a whole new segment is tried, with a snapshot of all
recent samples, so that when it succeeds nothing is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tocsin.model import Labels
from tocsin.promql.storage import Floats, Millis, Rows
from tocsin.promql.window import BEYOND
from tocsin.series.chunk import QUICK, Chunk, dump, encode, labels_of, load
from tocsin.series.disk import ChunkFile, Disk, Files
from tocsin.series.journal import Batch, Damage, Kind, PollReader, PollWriter, framed, frames

if TYPE_CHECKING:
    from tocsin.series.store import Store

_RETRY_AFTER_MS: Final = 30_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """What opening a folder found."""

    samples: int = 0
    series: int = 0
    damage: tuple[str, ...] = ()
    """One line per place: file, offset, what was lost. A torn tail is what a crash leaves; the rest is the disk's."""


@dataclass(slots=True)
class _Gathered:
    """Rows of the same series that follow each other in the journal."""

    columns: Rows
    times: list[int] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)


class Durable:
    """The disk side of one store."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.problem = ""
        self._buffer: list[bytes] = []
        self._writer = PollWriter()
        self._unwritten: list[tuple[Chunk, list[Labels]]] = []
        self._files: list[tuple[Path, list[Chunk]]] = []
        self._tried_at = -BEYOND

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        return self.disk.nbytes

    # Writing ---------------------------------------------------------------------------------------------------------

    def note(self, batches: Sequence[Batch], describe: Callable[[int], tuple[str, Labels]]) -> None:
        """Remember a poll for the next flush."""
        # Without a segment the next snapshot holds it anyway.
        if self.disk.begun:
            self._buffer.append(framed(Kind.POLL, self._writer.dump(batches, describe)))

    def flush(self, store: Store, *, sync: bool) -> None:
        """Write what was noted."""
        try:
            if not self.disk.begun:
                if self.problem and store._newest - self._tried_at < _RETRY_AFTER_MS:
                    return
                self._begin(store)
            if self._buffer:
                self.disk.write(b"".join(self._buffer))
                self._buffer.clear()
            if sync:
                self.disk.sync()
        except OSError as error:
            self._failed(store, error)

    def checkpoint(self, store: Store, sealed: Sequence[tuple[Chunk, list[Labels]]]) -> None:
        """Write sealed samples and begin a new segment; the old one goes when both are done."""
        self._unwritten += sealed
        try:
            self._write_chunks(store)
            self._begin(store)
            self._drop_files(store)
        except OSError as error:
            self._failed(store, error)

    def _write_chunks(self, store: Store) -> None:
        if not self._unwritten:
            return
        file = self.disk.write_chunks(dump(chunk, labels) for chunk, labels in self._unwritten)
        written = [(chunk, load(frame.payload)[0]) for (chunk, _), frame in zip(
            self._unwritten, (each for each in frames(file.raw) if not isinstance(each, Damage)), strict=True
        )]  # fmt: skip
        # From here on the samples are paged in from the file.
        mapped = {id(chunk): replace(chunk, times=copy.times, values=copy.values) for chunk, copy in written}
        for table in store._tables.values():
            table.chunks = [mapped.get(id(chunk), chunk) for chunk in table.chunks]
        self._files.append((file.path, list(mapped.values())))
        self._unwritten.clear()

    def _begin(self, store: Store) -> None:
        self._tried_at = store._newest
        known: list[int] = []
        self.disk.begin(_snapshots(store, known))
        self._writer = PollWriter(known)
        self._buffer.clear()
        self.problem = ""

    def _drop_files(self, store: Store) -> None:
        """Delete the files of which no chunk is in use any more."""
        used = {id(chunk) for table in store._tables.values() for chunk in table.chunks}
        kept = []
        for path, chunks in self._files:
            if any(id(chunk) in used for chunk in chunks):
                kept.append((path, chunks))
            else:
                path.unlink(missing_ok=True)
        self._files = kept

    def _failed(self, store: Store, error: OSError) -> None:
        self.problem = (
            f"samples can't be written to {self.disk.folder}: {error.strerror or error}; alerting goes on from memory, "
            "and a restart now would lose what is not on the disk: free space or mend the disk"
        )
        self._tried_at = store._newest
        self._buffer.clear()
        self.disk.end()

    def close(self) -> None:
        """Give the folder back."""
        self.disk.close()

    # Coming back -----------------------------------------------------------------------------------------------------

    def recover(self, store: Store) -> Recovery:
        """Fill an empty store with what the folder holds."""
        recovery, self._files = fill(store, self.disk)
        return recovery


def fill(store: Store, files: Files) -> tuple[Recovery, list[tuple[Path, list[Chunk]]]]:
    """Fill an empty store with what a folder holds; what was found, and which chunks came from which file."""
    damage: list[str] = []
    names: dict[bytes, Rows] = {}
    chunks = [(file.path, _read_chunks(store, file, names, damage)) for file in files.chunk_files()]
    segment = files.segment()
    if segment is not None:
        _Replay(store, segment[0], damage).run(segment[1])
    newest = [table.newest for table in store._tables.values() if table.size]
    store._newest = max(newest, default=-BEYOND)
    return Recovery(samples=store.sample_count, series=store.series_count, damage=tuple(damage)), chunks


def _snapshots(store: Store, known: list[int]) -> Iterator[bytes]:
    for table in store._tables.values():
        samples = table.samples_until(BEYOND - 1)
        if samples is not None:
            chunk = encode(table.name, table.sealed, samples, QUICK)
            known.extend(chunk.serials.tolist())
            yield dump(chunk, table.labels_by(chunk.serials))


def _places(store: Store, metric: str, labels: list[Labels]) -> Rows:
    """The columns of series, begun where they are new."""
    new = [each for each in labels if (metric, each) not in store._places]
    if new:
        store._begin(metric, list(dict.fromkeys(new)))
    return np.array([store._places[metric, each] for each in labels], np.intp)


def _read_chunks(store: Store, file: ChunkFile, names: dict[bytes, Rows], damage: list[str]) -> list[Chunk]:
    kept = []
    for frame in frames(file.raw):
        if isinstance(frame, Damage):
            damage.append(
                f"{file.path.name} at byte {frame.offset}: {frame.length} bytes of sealed samples are damaged"
            )
            continue
        try:
            chunk, raw_names = load(frame.payload)
            serials = names.get(key := chunk.metric.encode() + b"\0" + raw_names)
            if serials is None:
                columns = _places(store, chunk.metric, labels_of(raw_names))
                serials = names[key] = store._tables[chunk.metric].serials[columns].copy()
        except ValueError as error:
            damage.append(f"{file.path.name}: {error}")
            continue
        chunk = replace(chunk, serials=serials)
        store._tables[chunk.metric].keep(chunk)
        kept.append(chunk)
    return kept


class _Replay:
    """Reads a segment into a store."""

    def __init__(self, store: Store, path: Path, damage: list[str]) -> None:
        self.store, self.path, self.damage = store, path, damage
        self._where: dict[int, tuple[str, int]] = {}
        """Serial of the segment → metric and column now."""
        self._pending: dict[str, _Gathered] = {}
        self._lost = 0

    def run(self, raw: object) -> None:
        reader = PollReader()
        for frame in frames(raw):  # type: ignore[arg-type]
            if isinstance(frame, Damage):
                what = "the poll that was being written" if frame.torn else "polls or a snapshot, damaged"
                self.damage.append(f"{self.path.name} at byte {frame.offset}: {frame.length} bytes cut: {what}")
                continue
            try:
                if frame.kind is Kind.SNAPSHOT:
                    self._snapshot(frame.payload)
                elif frame.kind is Kind.POLL:
                    self._poll(reader, frame.payload)
            except ValueError as error:
                self.damage.append(f"{self.path.name}: {error}")
        for metric in list(self._pending):
            self._write(metric)
        if self._lost:
            self.damage.append(f"{self.path.name}: {self._lost} samples lost with the damaged frames that name them")

    def _snapshot(self, payload: memoryview) -> None:
        chunk, names = load(payload)
        samples = chunk.decode()
        columns = _places(self.store, chunk.metric, labels_of(names))
        for serial, column in zip(chunk.serials.tolist(), columns.tolist(), strict=True):
            self._where[serial] = (chunk.metric, column)
        table = self.store._tables[chunk.metric]
        for line in range(len(samples.lengths)):
            members = np.flatnonzero(samples.timeline == line)
            length = int(samples.lengths[line])
            times: Millis = samples.times[:length, line]
            table.write_rows(times, columns[members], samples.values[:length, members])

    def _poll(self, reader: PollReader, payload: memoryview) -> None:
        poll = reader.load(payload)
        self._lost += poll.lost
        for serial, metric, labels in poll.series:
            self._where[serial] = (metric, int(_places(self.store, metric, [labels])[0]))
        for batch in poll.batches:
            self._gather(batch)

    def _gather(self, batch: Batch) -> None:
        found = [self._where.get(serial) for serial in batch.serials.tolist()]
        known = [place for place in found if place is not None]
        self._lost += len(found) - len(known)
        if not known:
            return
        metric = known[0][0]
        columns = np.array([column for _, column in known], np.intp)
        values = batch.values if len(known) == len(found) else batch.values[[place is not None for place in found]]
        pending = self._pending.get(metric)
        if pending is None or not np.array_equal(pending.columns, columns):
            self._write(metric)
            pending = self._pending[metric] = _Gathered(columns)
        pending.times.append(batch.at)
        pending.values.append(values)

    def _write(self, metric: str) -> None:
        pending = self._pending.pop(metric, None)
        if pending is not None:
            times = np.array(pending.times, np.int64)
            self.store._tables[metric].write_rows(times, pending.columns, np.array(pending.values))
