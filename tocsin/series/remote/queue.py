"""What waits for one destination, on disk.

    queue = Queue(folder, max_bytes=512 * 2**20)
    queue.append(batches, describe)          # what a poll brought; never raises, never waits for anybody
    parcel = queue.read(most, split)         # the oldest that was not delivered
    queue.delivered(parcel)                  # and it is forgotten

    folder/N.samples      segments (segment.py), the oldest first
    folder/position       how far it was delivered (position.py)

At most `max_bytes` are kept: past that the oldest segment goes, and is counted. One parcel is on its way at a time; it
never spans two segments. Each process begins a segment of its own. `append` costs a write to the page cache: what it
took survives the death of the process; `sync` makes it survive the machine's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tocsin.model import Labels
from tocsin.series.journal import Batch, Damage, Kind, Poll, framed
from tocsin.series.remote.position import Position, PositionFile, Split
from tocsin.series.remote.segment import SUFFIX, Segment, SegmentReader, found

Describe = Callable[[int], tuple[str, Labels]]

HELD_BYTES: Final = 8 * 2**20
"""In memory, while the disk takes nothing."""
_FRAME: Final = 5_000
"""Samples in one frame: a parcel is a number of whole frames."""
_RETRY_AFTER_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample that waits."""

    name: str
    labels: Labels
    at: int
    """Milliseconds since the epoch."""
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A stretch of the queue, in order."""

    entries: tuple[Entry, ...]
    segment: int
    start: int
    end: int
    """Offsets in the segment."""
    split: Split
    again: bool
    """It may have arrived before: the process died while it was on its way."""
    oldest_at: int
    """Milliseconds since the epoch of its first poll."""


class Queue:
    """Segments, and how far they were delivered."""

    def __init__(
        self, folder: Path, *, max_bytes: int, segment_bytes: int = 8 * 2**20, held_bytes: int = HELD_BYTES
    ) -> None:
        """What an earlier process left is found again. Does not raise: `problem` says what the disk refused."""
        self.folder = folder
        self.max_bytes = max_bytes
        self.segment_bytes = min(segment_bytes, max(4096, max_bytes // 4))
        self.held_bytes = held_bytes
        self.problem = ""
        self.dropped: Counter[str] = Counter()
        """Samples that nobody will get, by reason: `over` (more than `max_bytes`), `disk` (memory is full and the disk
        takes nothing), `damaged`."""
        self._segments: list[Segment] = []
        self._position: PositionFile | None = None
        self._resend = Position()
        self._next = 1
        self._tried_at = -(10**18)
        try:
            self._recover()
        except OSError as error:
            self._trouble(error)
        self._reader: SegmentReader | None = None
        self._parcel: Parcel | None = None
        self._delivered = 0
        """Samples of the segment being read that were delivered."""
        self._appending: Segment | None = None

    def _recover(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._position = PositionFile(self.folder / "position")
        position = self._position.position
        paths = sorted(
            (path for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isdigit()), key=lambda p: int(p.stem)
        )
        self._next = 1 + max((position.segment, *(int(path.stem) for path in paths)))
        for path in paths:
            if int(path.stem) < position.segment:
                path.unlink()
            else:
                self._segments.append(found(path, position.offset if int(path.stem) == position.segment else 0))
        if self._segments and self._segments[0].number == position.segment:
            self._resend = position

    # Looks -----------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Samples that wait or are on their way."""
        return sum(segment.samples for segment in self._segments) - self._delivered

    @property
    def nbytes(self) -> int:
        """On the disk and in memory, delivered parts of segments included."""
        return sum(segment.end for segment in self._segments)

    # Writing ---------------------------------------------------------------------------------------------------------

    def append(self, batches: Sequence[Batch], describe: Describe) -> int:
        """Add what a poll brought; how many samples that is."""
        added = 0
        for part in _parts(batches):
            segment = self._open_segment(part[0].at)
            count = sum(len(batch.serials) for batch in part)
            error = segment.append(framed(Kind.POLL, segment.writer.dump(part, describe)), count)
            if error is not None:
                self._trouble(error)
                self._tried_at = part[0].at
            added += count
        self._bound()
        return added

    def _open_segment(self, at: int) -> Segment:
        """The segment to write to: a new one when the last is full, or when its disk may be well again."""
        segment = self._appending
        if segment is not None:
            if segment.on_disk and segment.end < self.segment_bytes:
                return segment
            if not segment.on_disk and at - self._tried_at < _RETRY_AFTER_MS:
                return segment
            self._sealed(segment)
        self._tried_at = at
        segment = Segment(self.folder / f"{self._next:010}{SUFFIX}")
        self._next += 1
        try:
            if self._position is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._position = PositionFile(self.folder / "position")
            segment.open()
        except OSError as error:
            self._trouble(error)
        else:
            self.problem = ""
        self._segments.append(segment)
        self._appending = segment
        return segment

    def _sealed(self, segment: Segment) -> None:
        try:
            segment.sync()
        except OSError as error:
            self._trouble(error)
        segment.close()

    def _bound(self) -> None:
        while self.nbytes > self.max_bytes and len(self._segments) > 1:
            self._drop(self._segments[0], "over")
        while sum(segment.held for segment in self._segments) > self.held_bytes:
            self._drop(next(segment for segment in self._segments if segment.held), "disk")

    def _drop(self, segment: Segment, reason: str) -> None:
        lost = segment.samples
        if self._reader is not None and self._reader.segment is segment:
            lost -= self._delivered
            self._reader, self._delivered = None, 0
            if self._parcel is not None:  # it is on its way, and may well arrive
                lost -= len(self._parcel.entries)
        if segment is self._appending:
            self._appending = None
        self.dropped[reason] += lost
        self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        try:
            segment.delete()
        except OSError as error:
            self._trouble(error)

    def sync(self) -> None:
        """What was appended survives the machine when this returns. For a thread: it may take a while."""
        segment = self._appending
        if segment is not None:
            try:
                segment.sync()
            except (OSError, ValueError) as error:  # ValueError: it was closed meanwhile
                self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        what = getattr(error, "strerror", None) or error
        self.problem = (
            f"the queue in {self.folder} can't be written ({what}): samples wait in memory, and a restart would lose "
            "them; free space or mend the disk"
        )

    def close(self) -> None:
        """Give the files back. What waits stays on the disk."""
        for segment in self._segments:
            segment.close()
        if self._position is not None:
            self._position.close()

    # Reading ---------------------------------------------------------------------------------------------------------

    def read(self, most: int, split: Split) -> Parcel | None:
        """The oldest frames, about `most` samples; None when nothing waits. The one before was delivered."""
        while self._segments:
            segment = self._segments[0]
            if self._reader is None or self._reader.segment is not segment:
                self._reader, self._delivered = SegmentReader(segment), 0
            parcel = self._read(self._reader, most, split)
            if parcel is not None:
                self._parcel = parcel
                self._write(Position(parcel.segment, parcel.start, parcel.end, parcel.split))
                return parcel
            if segment is self._appending:
                self._delivered = segment.samples  # whatever of it could not be read
                return None
            self._reader, self._delivered = None, 0
            self._remove(segment)
        return None

    def _read(self, reader: SegmentReader, most: int, split: Split) -> Parcel | None:
        resend, number = self._resend, reader.segment.number
        again = resend.segment == number and resend.sending > resend.offset
        entries: list[Entry] = []
        start, oldest = 0, None
        while len(entries) < most or again:
            before = reader.offset
            if again and oldest is not None and before >= resend.sending:
                break
            try:
                poll = reader.next()
            except OSError as error:
                # It can't be read now, and would never be: the segments behind it must not wait for it.
                self.dropped["damaged"] += max(0, reader.segment.samples - self._delivered - len(entries))
                self._trouble(error)
                break
            if poll is None:
                break
            if isinstance(poll, Damage):
                continue
            if resend.segment == number and reader.offset <= resend.offset:
                continue  # delivered by the process before, and read for its names
            entries += self._entries(poll, reader)
            if oldest is None:
                start, oldest = before, max((batch.at for batch in poll.batches), default=0)
        if oldest is None:
            return None
        if again:
            split = resend.split
            self._resend = replace(resend, sending=resend.offset)
        return Parcel(
            entries=tuple(entries), segment=number, start=start, end=reader.offset, split=split, again=again,
            oldest_at=oldest,
        )  # fmt: skip

    def _entries(self, poll: Poll, reader: SegmentReader) -> Iterator[Entry]:
        if poll.lost:
            self.dropped["damaged"] += poll.lost
        for batch in poll.batches:
            for serial, value in zip(batch.serials.tolist(), batch.values.tolist(), strict=True):
                series = reader.names.get(serial)
                if series is None:  # its name was in a damaged frame
                    self.dropped["damaged"] += 1
                    self._delivered += 1
                else:
                    yield Entry(*series, batch.at, value)

    def delivered(self, parcel: Parcel) -> None:
        """Forget a parcel: it arrived, or never will."""
        self._parcel = None
        if self._reader is None or self._reader.segment.number != parcel.segment:
            return  # its segment was dropped meanwhile
        self._delivered += len(parcel.entries)
        self._reader.segment.release(parcel.end)
        self._write(Position(parcel.segment, parcel.end, parcel.end, parcel.split))

    def _write(self, position: Position) -> None:
        if self._position is not None:
            try:
                self._position.write(position)
            except OSError as error:
                self._trouble(error)


def _parts(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Batches in groups of at most _FRAME samples."""
    part: list[Batch] = []
    size = 0
    for batch in batches:
        for begin in range(0, len(batch.serials), _FRAME):
            piece = batch
            if len(batch.serials) > _FRAME:
                stop = begin + _FRAME
                piece = Batch(batch.at, batch.serials[begin:stop], batch.values[begin:stop])
            if part and size + len(piece.serials) > _FRAME:
                yield part
                part, size = [], 0
            part.append(piece)
            size += len(piece.serials)
    if part:
        yield part
