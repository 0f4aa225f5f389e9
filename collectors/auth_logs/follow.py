"""Follow a growing file: every complete line once, through whatever rotates it.

Rotation by rename     The open file is read to its end first, and kept open while it is written to and as long as the
                       new one is empty: a writer goes on in the old file until it is told to reopen. Files that came
                       and went between two looks are found among the siblings.
Copy and truncate      The copy is found among the siblings by its content; what was not read is read from there.
Truncation             Reading begins anew. What was seen and cut off unread is a gap. (A file of which nothing was read
                       yet, emptied and refilled between two looks, can't be told from an ordinary one.)
Restart                The saved places are found again by inode and content, at the path or among the siblings. A
                       place that is not found is a gap.
An incomplete last line waits for its rest; in a file that was left for good it counts as it is.

Compressed siblings are not read: with logrotate use `delaycompress`, so that what was just rotated stays readable.
Everything here blocks and belongs in one thread. `read` changes nothing, `commit` does, so that lines and position go
forward together or not at all.
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from collectors.auth_logs.place import Place, place_in
from collectors.auth_logs.siblings import Identity, Sibling, Siblings
from tocsin.model import Seconds, since

GRACE: Final[Seconds] = 60.0
"""A file that was rotated away is closed when nothing was written to it for so long."""
_CHUNK: Final = 256 << 10
_KEPT_OPEN: Final = 16
_HOW: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe must not hold us up; it is refused below


@dataclass(slots=True, eq=False)
class _File:
    """An open file and the place up to which it was read."""

    fd: int
    place: Place
    left: bool = False
    """Rotated away: the path names another file by now."""
    final: bool = False
    """Left and quiet: an incomplete last line will not be completed."""
    seen: tuple[int, int] = (0, 0)
    """Size and modification time at the last look."""
    grew_at: datetime | None = None

    def quiet(self, now: datetime) -> bool:
        return self.grew_at is not None and since(self.grew_at, now).total_seconds() >= GRACE

    def size(self) -> int:
        return os.fstat(self.fd).st_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Complete lines, and the place after them."""

    file: _File
    place: Place
    lines: Sequence[bytes] = ()
    oversize: int = 0
    """1 where a line begins that is too long."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.place.offset - self.file.place.offset


class Follower:
    """Follows `path`. `saved` is what `to_json` gave in an earlier run; None: there was none, and `from_end` says
    whether what the file holds is passed over."""

    def __init__(self, path: Path, *, saved: dict[str, Any] | None, from_end: bool, max_line: int) -> None:
        self._path = path
        self._saved = [Place.of_json(row) for row in saved["places"]] if saved else []
        self._siblings = Siblings(path, ((int(dev), int(ino)) for dev, ino in saved["known"]) if saved else ())
        self._pass_over = from_end and saved is None
        self._started = saved is not None
        self._max_line = max_line
        self._files: list[_File] = []
        """In the order of reading; the last is the one at `path`, when there is one."""
        self._missing_since: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """What the next run needs to go on."""
        places = [file.place for file in self._files] or self._saved
        return {"places": [place.to_json() for place in places], "known": [[*one] for one in self._siblings.known]}

    def look(self, now: datetime) -> int:
        """Notice growth, truncation and rotation; returns how many times unread lines were lost.

        Raises OSError when there is nothing to follow: the file is missing, or can't be opened.
        """
        if not self._files:
            return self._open_first()
        gaps = sum(self._look_at(file, now) for file in list(self._files))
        self._look_at_path(now)
        self._close_what_is_left(now)
        return gaps

    def signature(self) -> object:
        """Changes when there is something to look at. Cheap."""
        try:
            stat = self._path.stat()
            there: object = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            there = error.errno
        return there, tuple(file.size() for file in self._files)

    def read(self) -> Chunk | None:
        """The next complete lines; None when all is read. Changes nothing until it is committed."""
        for file in self._files:
            if (chunk := self._read_from(file)) is not None:
                return chunk
        return None

    def commit(self, chunk: Chunk) -> None:
        """The lines of `chunk` were counted."""
        chunk.file.place = chunk.place

    def holds(self, identity: Identity) -> bool:
        """True while this file is read from."""
        return any((file.place.device, file.place.inode) == identity for file in self._files)

    def unread(self) -> int:
        """Bytes that are not read yet."""
        return sum(max(file.size() - file.place.offset, 0) for file in self._files)

    def close(self) -> None:
        self._saved = [file.place for file in self._files] or self._saved
        for file in self._files:
            os.close(file.fd)
        self._files.clear()

    # Opening ----------------------------------------------------------------------------------------------------------

    def _open_first(self) -> int:
        if self._saved:
            return self._resume(self._saved)
        if not self._started:
            self._siblings.new()
            self._started = True
        try:
            fd = _opened(self._path)
        except FileNotFoundError:
            self._pass_over = False  # when it appears, all that it holds is new
            raise
        self._files.append(_File(fd, place_in(fd, _end_of_lines(fd) if self._pass_over else 0)))
        return 0

    def _resume(self, saved: Sequence[Place]) -> int:
        """Open the files of the saved places, those that came between, and the one at the path."""
        try:
            current: int | None = _opened(self._path)
        except FileNotFoundError:
            current = None
        beside = self._siblings.all()
        going_on = next((p for p in saved if current is not None and p.is_at(current) and p.holds_in(current)), None)
        gaps = 0
        for place in saved:
            if place is not going_on:
                file = self._found(place, beside)
                gaps += file is None
                if file is not None:
                    self._files.append(file)
        if current is None and not self._files:
            raise FileNotFoundError(2, "No such file or directory", str(self._path))
        fresh = self._siblings.new()
        if going_on is None:
            # The newest file we knew has left its path. What is new beside it was there in the meantime, unread.
            self._add_between(fresh, saved, [place_in(current)] if current is not None else [])
        if current is not None:
            self._files.append(_File(current, going_on or place_in(current)))
        return gaps

    def _found(self, place: Place, beside: Sequence[Sibling]) -> _File | None:
        """Where `place` goes on: the same file under another name first, else a copy of it, the longest."""
        own = (place.device, place.inode)
        for sibling in sorted(beside, key=lambda sibling: (sibling.identity != own, -sibling.size)):
            if sibling.size < place.offset or (place.offset == 0 and sibling.identity != own):
                continue
            try:
                fd = _opened(sibling.path)
            except OSError:
                continue
            if place.holds_in(fd):
                stat = os.fstat(fd)
                return _File(fd, replace(place, device=stat.st_dev, inode=stat.st_ino), left=True)
            os.close(fd)
        return None

    def _add_between(
        self,
        siblings: Sequence[Sibling],
        read: Sequence[Place],
        current: Sequence[Place] = (),
        before: int | None = None,
    ) -> int:
        """Files that were at the path between two looks, oldest first, but no copy of one that was `read`."""
        added = 0
        for sibling in siblings:
            held = [*(file.place for file in self._files), *current]
            if any((place.device, place.inode) == sibling.identity for place in held):
                continue
            try:
                fd = _opened(sibling.path)
            except OSError:
                continue
            if any(place.begins(fd) for place in (*read, *held)):
                os.close(fd)
                continue
            where = len(self._files) if before is None else before + added
            self._files.insert(where, _File(fd, place_in(fd), left=True))
            added += 1
        return added

    # Looking ----------------------------------------------------------------------------------------------------------

    def _look_at(self, file: _File, now: datetime) -> int:
        gaps, stat = 0, os.fstat(file.fd)
        shrunk = stat.st_size < max(file.place.offset, file.seen[0])
        if shrunk or ((stat.st_size, stat.st_mtime_ns) != file.seen and not file.place.holds_in(file.fd)):
            gaps = self._truncated(file)
            stat = os.fstat(file.fd)
        if (stat.st_size, stat.st_mtime_ns) != file.seen or file.grew_at is None:
            file.seen, file.grew_at = (stat.st_size, stat.st_mtime_ns), now
        return gaps

    def _truncated(self, file: _File) -> int:
        """Emptied, and perhaps refilled: what was not read of the old content may be in a copy."""
        old, where = file.place, self._files.index(file)
        fresh = self._siblings.new()
        copy = self._found(old, fresh) if old.offset else None
        if copy is not None:
            self._files.insert(where, copy)
        file.place = place_in(file.fd)
        added = self._add_between(fresh, [old], before=self._files.index(file))
        return int(copy is None and not added and file.seen[0] > old.offset)

    def _look_at_path(self, now: datetime) -> None:
        """A new file at the path: the one that was there is left, with those that came and went between."""
        current = self._files[-1]
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            # Between rename and create, or rotated with no new file yet: the old one is still written to.
            self._missing_since = self._missing_since or now
            if since(self._missing_since, now).total_seconds() >= GRACE and current.quiet(now) and not self.unread():
                raise
            return
        self._missing_since = None
        if (stat.st_dev, stat.st_ino) in {(file.place.device, file.place.inode) for file in self._files}:
            return
        fd = _opened(self._path)
        new = place_in(fd)
        current.left = True
        self._add_between(self._siblings.new(), [file.place for file in self._files], [new])
        self._files.append(_File(fd, new))

    def _close_what_is_left(self, now: datetime) -> None:
        """Rotated files that are read to the end, once nobody writes to them and the new one is written to."""
        moved_on = self._files[-1].size() > 0
        for file in [file for file in self._files[:-1] if file.left]:
            if not ((file.quiet(now) and moved_on) or len(self._files) > _KEPT_OPEN):
                continue
            file.final = True
            if file.place.offset >= file.size():
                os.close(file.fd)
                self._files.remove(file)

    # Reading ----------------------------------------------------------------------------------------------------------

    def _read_from(self, file: _File) -> Chunk | None:
        fd, place = file.fd, file.place
        data = os.pread(fd, max(_CHUNK, self._max_line + 1), place.offset)
        if not data:
            return None
        if place.skipping:
            end = data.find(b"\n") + 1
            return Chunk(file=file, place=place.moved(fd, place.offset + (end or len(data)), skipping=not end))
        if end := data.rfind(b"\n") + 1:
            return Chunk(file=file, place=place.moved(fd, place.offset + end), lines=data[: end - 1].split(b"\n"))
        if len(data) > self._max_line:
            return Chunk(file=file, place=place.moved(fd, place.offset + len(data), skipping=True), oversize=1)
        if file.final:
            return Chunk(file=file, place=place.moved(fd, place.offset + len(data)), lines=(data,))
        return None


def _opened(path: Path) -> int:
    """A descriptor. Raises OSError, also for what is no regular file."""
    fd = os.open(path, _HOW)
    if not modes.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(22, "Not a regular file", str(path))
    return fd


def _end_of_lines(fd: int) -> int:
    """The offset after the last line break; 0 when there is none."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(end - _CHUNK, 0)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
