"""Log files that never fill a disk: turned by size and age, compressed, and deleted by age and total size.

    requests.<pid>.jsonl                              being written; a name per process, so that workers share a folder
    requests.<pid>.<time>-<number>.jsonl.gz           turned

A turn is a rename, so that a reader that follows the file loses nothing. What a process that was killed left behind is
compressed by the next one that tidies. A disk that is full costs lines, which are counted, and nothing else.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
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

    def tidy(self, now: Seconds) -> None:
        """Compress what was turned, delete what is too old or too much."""
        try:
            for path, found in self._found():
                if not found["gz"] and (found["turned"] or not self._lives(int(found["pid"]))):
                    self._compress(path, now)
            self._delete(now)
            for path in self.folder.glob("requests.*.gz.part"):
                if now - path.stat().st_mtime > self._keeping.turn_age:
                    path.unlink(missing_ok=True)
        except OSError as error:
            self.why = str(error)

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
        self._turns += 1
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        self._path.rename(self.folder / f"requests.{self._pid}.{stamp}-{self._turns}.jsonl")
        self._open(now)

    def _drop(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.why = str(error)
            self._file = None

    def _found(self) -> list[tuple[Path, re.Match[str]]]:
        if not self.folder.is_dir():
            return []
        return [(path, found) for path in self.folder.iterdir() if (found := PATTERN.fullmatch(path.name)) is not None]

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
        turned = path if PATTERN.fullmatch(path.name)["turned"] else None  # type: ignore[index]
        if turned is None:  # left by a process that is gone
            self._turns += 1
            stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
            turned = path.with_name(f"{path.stem}.{stamp}-{self._turns}.jsonl")
            path.rename(turned)
        part, whole = turned.with_name(turned.name + ".gz.part"), turned.with_name(turned.name + ".gz")
        try:
            with turned.open("rb") as plain, gzip.open(part, "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed, 1024 * 1024)
            stat = turned.stat()
            os.utime(part, (stat.st_atime, stat.st_mtime))  # age is the lines', not the packing's
            part.rename(whole)
            turned.unlink()
        except FileNotFoundError:
            return  # another process was quicker

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
