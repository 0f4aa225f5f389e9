"""The files that a rotation leaves beside a log, and which of them are new."""

from __future__ import annotations

import re
import stat as modes
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".tmp", ".swp")
_REMEMBERED: Final = 1000

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A file beside the log, as it was listed."""

    path: Path
    size: int
    modified: int
    """Nanoseconds."""
    identity: Identity


class Siblings:
    """The rotated files of the log at `path`: `app.log.1`, `app.log-20260820`, `app-20260820.log`.

    A sibling that was not there at the last listing came since: it was at `path` between two looks, or is a copy.
    """

    def __init__(self, path: Path, known: Iterable[Identity] = ()) -> None:
        self._folder = path.parent
        dated = re.escape(path.stem) + r"[-.]\d[\d\-_.T]*" + re.escape(path.suffix)
        self._name = re.compile(rf"{re.escape(path.name)}[-.].+|{dated}")
        self.known: dict[Identity, None] = dict.fromkeys(known)
        """Those of the last listing."""

    def all(self) -> list[Sibling]:
        """Every readable-looking one, the oldest first. Raises OSError when the folder can't be listed."""
        found: list[Sibling] = []
        for path in self._folder.iterdir():
            if self._name.fullmatch(path.name) and not path.name.endswith(_PACKED):
                with suppress(OSError):  # rotated on while we look
                    stat = path.stat()
                    if modes.S_ISREG(stat.st_mode):
                        found.append(Sibling(path, stat.st_size, stat.st_mtime_ns, (stat.st_dev, stat.st_ino)))
        return sorted(found, key=lambda sibling: (sibling.modified, str(sibling.path)))

    def new(self) -> list[Sibling]:
        """Those that were not there at the last listing; from now on they are known."""
        listed = self.all()
        fresh = [sibling for sibling in listed if sibling.identity not in self.known]
        self.known = dict.fromkeys(sibling.identity for sibling in listed[-_REMEMBERED:])
        return fresh
