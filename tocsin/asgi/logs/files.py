"""Log files that never fill a disk: turned by size and age, compressed, and deleted by age and total size.

    requests.<pid>.jsonl                              being written; a name per process, so that workers share a folder
    requests.<pid>.<time>-<number>.jsonl.gz           turned

A turn is a rename, so that a reader that follows the file loses nothing. What a process that was killed left behind is
compressed by the next one that tidies, by one at a time. A disk that is full costs lines, which are counted, and no
more: what is too old or too much goes all the same. Where somebody else moved or removed the file or its folder
(logrotate, a clean-up), lines go on in a new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from tocsin.model import Seconds

PATTERN: Final = re.compile(r"requests\.(?P<pid>\d+)(?:\.(?P<turned>\d{8}T\d{6}Z-\d+))?\.jsonl(?P<gz>\.gz)?")


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """When a file is turned, and how long turned ones are kept."""

    turn_bytes: int = 64 * 1024 * 1024
    turn_age: Seconds = 3600.0
    keep_bytes: int = 2 * 1024 * 1024 * 1024
    """All files of the folder together; the oldest go first."""
    keep_age: Seconds = 14 * 86400.0

    def __post_init__(self) -> None:
        if min(self.turn_bytes, self.turn_age, self.keep_bytes, self.keep_age) <= 0:
            raise ValueError("sizes and ages of log files are above 0")


def can_be_written(folder: Path) -> bool:
    """True for a folder that is there, or could be made, and in which we may write."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


class Files:
    """The log files of one process in a folder. Not thread-safe: one thread writes. No method raises OSError."""

    def __init__(self, folder: Path, keeping: Keeping | None = None) -> None:
        self.folder = folder
        self._keeping = keeping or Keeping()
        self._pid = os.getpid()
        self._path = folder / f"requests.{self._pid}.jsonl"
        self._file: BinaryIO | None = None
        self._size = 0
        self._since = 0.0
        self._turns = 0
        self.why = ""
        """What the system said when it last refused; empty when all is well."""

    def write(self, data: bytes, now: Seconds) -> bool:
        """Append whole lines; False when the system refused them. `now` in seconds since the epoch."""
        try:
            if self._file is not None and not self._is_there(self._file):
                self._drop()
            if self._file is None:
                self._open(now)
            elif self._size and (
                self._size + len(data) > self._keeping.turn_bytes or not 0 <= now - self._since < self._keeping.turn_age
            ):
                self._turn(now)
            assert self._file is not None
            written = self._file.write(data)
            self._size += written
            if written < len(data):
                raise OSError("only a part was written")
        except OSError as error:
            self.why = str(error)
            self._drop()
            return False
        self.why = ""
        return True

    def of_this_process(self) -> Files:
        """Itself, or after a fork one whose file is the child's own. Two processes in one file would turn it under each
        other, and lose what one writes into a file that the other has packed."""
        return self if self._pid == os.getpid() else Files(self.folder, self._keeping)

    def tidy(self, now: Seconds) -> None:
        """Turn what has its age although nothing is written, compress what was turned, delete what is too old or too
        much."""
        with self._told():
            if self._file is not None and self._size and not 0 <= now - self._since < self._keeping.turn_age:
                self._turn(now)
        for path, found in self._found():
            if not found["gz"] and (found["turned"] or not self._lives(int(found["pid"]))):
                with self._told():
                    self._compress(path, now)
        with self._told():
            self._delete(now)
            for path in self.folder.glob("requests.*.gz.part"):
                if now - path.stat().st_mtime > self._keeping.turn_age:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What one step is refused is said, and the next is done."""
        try:
            yield
        except OSError as error:
            self.why = str(error)

    def _is_there(self, file: BinaryIO) -> bool:
        """False where the file's name leads nowhere, or to another file."""
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(file.fileno())
        return (named.st_ino, named.st_dev) == (ours.st_ino, ours.st_dev)

    def close(self) -> None:
        """Close the file; it goes on where a process with this number opens it again."""
        self._drop()

    def _open(self, now: Seconds) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: the writer thread hands over many lines at once, and a kill loses none that were written.
        file = self._path.open("ab", buffering=0)
        self._size, self._since = file.tell(), now
        if self._size:
            self._mend(file)
        self._file = file

    def _mend(self, file: BinaryIO) -> None:
        """A line that a full disk or a kill cut off must not swallow the next one."""
        with self._path.open("rb") as reader:
            reader.seek(-1, os.SEEK_END)
            if reader.read(1) != b"\n":
                self._size += file.write(b"\n")

    def _turn(self, now: Seconds) -> None:
        self._drop()
        self._path.rename(self._turned(self._path, now))
        self._open(now)

    def _turned(self, path: Path, now: Seconds) -> Path:
        """A name that is free: a process of the same number may have been here in the same second."""
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        while True:
            self._turns += 1
            found = path.with_name(f"{path.stem}.{stamp}-{self._turns}.jsonl")
            if not found.exists() and not found.with_name(found.name + ".gz").exists():
                return found

    def _drop(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.why = str(error)
            self._file = None

    def _found(self) -> list[tuple[Path, re.Match[str]]]:
        paths: list[Path] = []
        with self._told(), contextlib.suppress(FileNotFoundError):
            paths = list(self.folder.iterdir())
        return [(path, found) for path in paths if (found := PATTERN.fullmatch(path.name)) is not None]

    def _lives(self, pid: int) -> bool:
        if pid == self._pid:
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _compress(self, path: Path, now: Seconds) -> None:
        with contextlib.suppress(FileNotFoundError), path.open("rb") as plain:  # else another process was quicker
            try:
                fcntl.flock(plain, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process is at it; the lock goes with it, whatever ends it
            except OSError:
                pass  # a file system without locks
            turned = path
            if not PATTERN.fullmatch(path.name)["turned"]:  # type: ignore[index]  # left by a process that is gone
                turned = self._turned(path, now)
                path.rename(turned)
            elif not path.exists():
                return
            part, whole = turned.with_name(turned.name + ".gz.part"), turned.with_name(turned.name + ".gz")
            try:
                _pack(plain, part)
            except OSError:
                part.unlink(missing_ok=True)  # on a full disk it would be in the way
                raise
            part.rename(whole)
            turned.unlink()

    def _delete(self, now: Seconds) -> None:
        turned = []
        total = 0
        for path, found in self._found():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            total += stat.st_size
            if found["turned"]:
                turned.append((stat.st_mtime, stat.st_size, path))
        for changed, size, path in sorted(turned):
            if now - changed > self._keeping.keep_age or total > self._keeping.keep_bytes:
                path.unlink(missing_ok=True)
                total -= size


def _pack(plain: BinaryIO, part: Path) -> None:
    """`plain`, compressed and on the disk, with the age of its lines and not of the packing."""
    with part.open("wb") as raw:
        with gzip.GzipFile(part.name, "wb", compresslevel=6, fileobj=raw) as packed:
            shutil.copyfileobj(plain, packed, 1024 * 1024)
        raw.flush()
        os.fsync(raw.fileno())
    stat = os.fstat(plain.fileno())
    os.utime(part, (stat.st_atime, stat.st_mtime))
