"""One file of a queue: frames of samples, added at the end, read from the beginning.

The frames are the journal's (tocsin/series/journal.py): a checksum each, series spelled out once in a segment and
numbered after that. So a segment is read from its start, even when the first half of it has been delivered.

What the disk does not take stays in memory behind the file's part, at the offsets that it would have had: a full disk
delays nothing while the receiver answers. Only the queue knows how much of that there may be.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from tocsin.model import Labels
from tocsin.series.journal import OVERHEAD, Damage, Frame, Poll, PollReader, PollWriter, frames

SUFFIX: Final = ".samples"


class Segment:
    """Frames in a file, and those that the file could not take."""

    def __init__(self, path: Path, *, size: int = 0, samples: int = 0) -> None:
        self.path = path
        self.number = int(path.stem)
        self.size = size
        """Bytes of whole frames in the file."""
        self.samples = samples
        """In all its frames that were not delivered when it was opened, or that came since."""
        self.writer = PollWriter()
        self._file: BinaryIO | None = None
        self._tail: deque[bytes] = deque()
        self._tail_from = size
        self.held = 0
        """Bytes in memory only."""

    @property
    def end(self) -> int:
        """The offset behind the last frame."""
        return self._tail_from + self.held

    @property
    def on_disk(self) -> bool:
        """True while the file takes what comes."""
        return self._file is not None

    # Writing ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin the file. Raises OSError."""
        self._file = self.path.open("xb", buffering=0)

    def append(self, frame: bytes, samples: int) -> OSError | None:
        """Add a frame; the error, if it is in memory only."""
        self.samples += samples
        failed: OSError | None = None
        if self._file is not None:
            try:
                view = memoryview(frame)
                while view:
                    view = view[self._file.write(view) :]
            except OSError as error:
                failed = error
                self._give_up()
            else:
                self.size += len(frame)
                self._tail_from = self.size
                return None
        self._tail.append(frame)
        self.held += len(frame)
        return failed

    def _give_up(self) -> None:
        """Nothing more goes to the file; half a frame at its end is cut off."""
        assert self._file is not None
        with suppress(OSError):  # a torn frame at the end is told by its checksum
            os.ftruncate(self._file.fileno(), self.size)
        self.close()

    def sync(self) -> None:
        """On the disk when this returns. Raises OSError."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """No more frames."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def delete(self) -> None:
        """Nobody needs it any more."""
        self.close()
        self._tail.clear()
        self.held = 0
        self.path.unlink(missing_ok=True)

    # Reading ---------------------------------------------------------------------------------------------------------

    def raw(self, offset: int) -> bytes:
        """The frames from `offset` on: what is left of the file, or else what is in memory. Raises OSError."""
        if offset < self.size:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(self.size - offset)
        at, rest = self._tail_from, []
        for frame in self._tail:
            if at >= offset:
                rest.append(frame)
            at += len(frame)
        return b"".join(rest)

    def release(self, offset: int) -> None:
        """Forget what is in memory before `offset`: it was delivered."""
        while self._tail and self._tail_from + len(self._tail[0]) <= offset:
            frame = self._tail.popleft()
            self._tail_from += len(frame)
            self.held -= len(frame)


class SegmentReader:
    """Reads a segment from its beginning, following it as it grows."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.offset = 0
        self.names: dict[int, tuple[str, Labels]] = {}
        """By number: metric and labels."""
        self._polls = PollReader()
        self._base = 0
        self._frames: Iterator[Frame | Damage] = iter(())

    def next(self) -> Poll | Damage | None:
        """What follows; None when there is no more yet. Raises OSError."""
        found = next(self._frames, None)
        if found is None:
            raw = self.segment.raw(self.offset)
            self._base, self._frames = self.offset, frames(raw)
            found = next(self._frames, None)
        if found is None:
            return None
        if isinstance(found, Damage):
            self.offset = self._base + found.offset + found.length
            return found
        self.offset += OVERHEAD + len(found.payload)
        poll = self._polls.load(found.payload)
        for serial, metric, labels in poll.series:
            self.names[serial] = (metric, labels)
        return poll


def found(path: Path, delivered: int) -> Segment:
    """A segment that an earlier process left, of which the first `delivered` bytes need not be sent. Raises OSError."""
    segment = Segment(path, size=path.stat().st_size)
    reader = SegmentReader(segment)
    while (poll := reader.next()) is not None:
        if isinstance(poll, Poll) and reader.offset > delivered:
            segment.samples += sum(len(batch.serials) for batch in poll.batches)
    return segment
