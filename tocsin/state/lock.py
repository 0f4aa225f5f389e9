"""One daemon per SQLite file: two would each believe the other's claims to be a dead predecessor's."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Self

from tocsin.errors import StateError


class FileLock:
    """Held until released, or until the process ends, however it does."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    def take(cls, store: Path) -> Self:
        """Lock the store. Raises StateError that names the process which has it."""
        path = store.with_name(store.name + ".lock")
        try:
            file = path.open("a+")
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}: give the daemon's user write access to its folder") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise StateError(
                f"{store} is in use by another tocsin (process {holder}): "
                "stop that one, or give this one its own state.url"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        return cls(file)

    def release(self) -> None:
        """Let the next one in."""
        self._file.close()
