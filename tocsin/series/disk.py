"""The store's folder: one journal segment, and a file per sealed hour.

    lock                  held while a process uses the folder
    journal/N.journal     a snapshot of the recent samples as the segment began, then every poll since
    chunks/N.chunks       sealed samples, never written again

A segment or chunk file appears under its name only when it is complete and on the disk; the segments before it are
deleted after that. So a crash at any moment leaves one readable segment.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

from tocsin.errors import StateError
from tocsin.series.journal import Kind, framed


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """A file of sealed samples."""

    path: Path
    raw: mmap | bytes


class Files:
    """What is in the folder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journals, self._chunks = folder / "journal", folder / "chunks"

    def chunk_files(self) -> list[ChunkFile]:
        """The files of sealed samples, oldest first."""
        return [ChunkFile(path, _mapped(path)) for path in sorted(self._chunks.glob("*.chunks"), key=_number)]

    def segment(self) -> tuple[Path, mmap | bytes] | None:
        """The newest segment."""
        paths = sorted(self._journals.glob("*.journal"), key=_number)
        return (paths[-1], _mapped(paths[-1])) if paths else None


class Glimpse(Files):
    """The folder of a store that another process may be writing to: nothing is locked, made or written.

    The segment is taken first. What is sealed between that and the look at the chunks is then there twice, which does
    no harm (samples that are sealed are not taken again); the other way round it would be missing.
    """

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError where there is no such folder."""
        super().__init__(folder)
        next(folder.iterdir(), None)
        self._held = self._latest()

    def _latest(self) -> tuple[Path, mmap | bytes] | None:
        # A file that is gone between the listing and the look was replaced by a newer one: look again.
        for _ in range(100):
            with suppress(FileNotFoundError):
                return super().segment()
        raise StateError(f"the series store at {self.folder} changes faster than it can be read; try again")

    def segment(self) -> tuple[Path, mmap | bytes] | None:
        """The newest segment as it was at the beginning."""
        return self._held

    def chunk_files(self) -> list[ChunkFile]:
        """The files of sealed samples, oldest first, less those that are dropped meanwhile for their age."""
        found = []
        for path in sorted(self._chunks.glob("*.chunks"), key=_number):
            with suppress(FileNotFoundError):
                found.append(ChunkFile(path, _mapped(path)))
        return found


class Disk(Files):
    """Reads and writes the folder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder's lock. Raises StateError when another process holds it."""
        super().__init__(folder)
        for each in (self._journals, self._chunks):
            each.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise StateError(
                f"the series store at {folder} is in use by another process; stop that one first"
            ) from None
        for leftover in (*self._journals.glob("*.tmp"), *self._chunks.glob("*.tmp")):
            leftover.unlink()
        self._segment: BinaryIO | None = None
        self._next_chunk = 1 + max((_number(path) for path in self._chunks.glob("*.chunks")), default=0)
        self._next_segment = 1 + max((_number(path) for path in self._journals.glob("*.journal")), default=0)

    @property
    def nbytes(self) -> int:
        """Bytes on the disk."""
        paths = (*self._journals.iterdir(), *self._chunks.iterdir())
        return sum(path.stat().st_size for path in paths)

    # Writing ---------------------------------------------------------------------------------------------------------

    def write_chunks(self, payloads: Iterable[bytes]) -> ChunkFile:
        """A new file of sealed samples, on the disk when this returns."""
        path = self._chunks / f"{self._next_chunk:08}.chunks"
        _write_whole(path, (framed(Kind.CHUNK, payload) for payload in payloads))
        self._next_chunk += 1
        return ChunkFile(path, _mapped(path))

    def begin(self, snapshots: Iterable[bytes]) -> None:
        """A new segment that begins with these snapshots; the ones before it are deleted."""
        path = self._journals / f"{self._next_segment:08}.journal"
        self.end()
        _write_whole(path, (framed(Kind.BEGIN, b""), *(framed(Kind.SNAPSHOT, each) for each in snapshots)))
        self._next_segment += 1
        self._segment = path.open("ab", buffering=0)
        for older in self._journals.glob("*.journal"):
            if older != path:
                older.unlink()

    @property
    def begun(self) -> bool:
        """True when there is a segment to write polls to."""
        return self._segment is not None

    def write(self, raw: bytes) -> None:
        """Add frames to the segment; with the operating system when this returns."""
        assert self._segment is not None
        view = memoryview(raw)
        while view:
            view = view[self._segment.write(view) :]

    def sync(self) -> None:
        """On the disk when this returns."""
        if self._segment is not None:
            os.fsync(self._segment.fileno())

    def end(self) -> None:
        """No more polls go to the current segment: it may be torn."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def close(self) -> None:
        """Gives the folder back."""
        self.end()
        self._lock.close()


def _number(path: Path) -> int:
    return int(path.stem) if path.stem.isdigit() else 0


def _mapped(path: Path) -> mmap | bytes:
    """The file's bytes, paged in as they are read."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def _write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file so that it is there completely or not at all."""
    draft = path.with_suffix(".tmp")
    try:
        with draft.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
