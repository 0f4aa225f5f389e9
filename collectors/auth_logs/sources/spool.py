"""Events that were pushed to us, in files until they are counted: what `add` has returned from outlives kill -9.

One event is a line: sixteen digits of its id's hash, a space, the log line. The current file is begun anew every ten
minutes or 16 MiB and the old one set aside (`events.log.N`); the reader deletes it when it was read and is ten minutes
old. So long an event that comes again is known, also after a restart: the files are the memory.

Everything here blocks and belongs in one thread.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tocsin.model import Seconds

NAME: Final = "events.log"
KEPT: Final[Seconds] = 600.0
"""How long an event can be told from one that comes again, at least."""
_SEGMENT: Final = 16 << 20
_REMEMBERED: Final = 200_000
ID: Final = 16
"""Digits of an id's hash, with which a line begins."""


class Spool:
    """Writes the spool in `folder`, which is made when it is needed."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._most = most_bytes
        self._fd = -1
        self._size = 0
        self._begun: Seconds = 0.0
        self._torn = False
        """A write failed half way: the next one begins on a line of its own."""
        self._known: dict[bytes, None] = {}

    def add(self, events: Iterable[tuple[str, bytes]]) -> tuple[int, int]:
        """Keep (id, line)s; (how many are new, how many were known). On the disk when it returns. Raises OSError."""
        if self._fd < 0:
            self._recall()
            self._open()
        elif self._size >= _SEGMENT or (self._size and time.time() - self._begun >= KEPT):
            self._begin_anew()
        fresh: dict[bytes, bytes] = {}
        count = 0
        for id, line in events:
            count += 1
            key = digest(id)
            if key not in self._known:
                fresh.setdefault(key, line)
        if fresh:
            self._append(b"".join(b"%b %b\n" % item for item in fresh.items()))
            self._remember(fresh)
        return len(fresh), count - len(fresh)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, data: bytes) -> None:
        if self._held() + len(data) > self._most:
            raise OSError(errno.ENOSPC, "what waits to be counted has reached spool_bytes", str(self._path))
        data = b"\n" + data if self._torn else data
        self._torn = True
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]
        os.fdatasync(self._fd)
        self._torn = False

    def _held(self) -> int:
        total = 0
        for path in self._files():
            with suppress(FileNotFoundError):  # deleted by the reader just now
                total += path.stat().st_size
        return total

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"{NAME}*"), key=lambda path: (path == self._path, path.name))

    def _recall(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._files():
            with suppress(FileNotFoundError):
                self._remember(_ids(path))

    def _open(self) -> None:
        # Addresses of people are in it: for our own eyes.
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _sync(self._folder)
        self._size, self._begun = os.fstat(self._fd).st_size, time.time()
        self._torn = self._size > 0 and os.pread(self._fd, 1, self._size - 1) != b"\n"

    def _begin_anew(self) -> None:
        os.close(self._fd)
        self._fd = -1
        self._path.rename(self._folder / f"{NAME}.{time.time_ns()}")
        self._open()

    def _remember(self, ids: Iterable[bytes]) -> None:
        self._known.update(dict.fromkeys(ids))
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]


def digest(id: str) -> bytes:
    """An id of any length as sixteen digits."""
    return digest_of(id.encode("utf-8", "surrogatepass"))


def digest_of(text: bytes) -> bytes:
    """The same for what may be a whole line."""
    return blake2b(text, digest_size=ID // 2).hexdigest().encode()


def heard(folder: Path) -> set[bytes]:
    """What lies in the spool, read or not: the hash of each event's id, and of its line."""
    found: set[bytes] = set()
    for path in folder.glob(f"{NAME}*"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            for row in file:
                if line := line_of(row.rstrip(b"\n")):
                    found.update((row[:ID], digest_of(line)))
    return found


def line_of(row: bytes) -> bytes:
    """The log line in a line of the spool; of one that was torn, nothing."""
    return row[ID + 1 :] if row[ID : ID + 1] == b" " else b""


def old_files(folder: Path, now: Seconds) -> Iterator[tuple[Path, os.stat_result]]:
    """Those set aside that are old enough to go once they were read."""
    for path in folder.glob(f"{NAME}.*"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            if now - stat.st_mtime >= KEPT:
                yield path, stat


def _ids(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for row in file:
            if row[ID : ID + 1] == b" ":
                yield row[:ID]


def _sync(folder: Path) -> None:
    """So that a new file's name outlives a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
