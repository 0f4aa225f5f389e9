"""The lines of a file that grows (see `follow`), read in a thread of its own; a container's output is unwrapped."""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from collectors.auth_logs import declarations as are
from collectors.auth_logs.follow import Follower
from collectors.auth_logs.sources.container import unwrap
from collectors.auth_logs.sources.source import Batch
from tocsin.errors import CollectError
from tocsin.model import Seconds

_LEFT_BEHIND: Final[Seconds] = 1.0
"""How long a poll waits for the file work of one that was cut short."""
_Result = TypeVar("_Result")


class FileSource:
    """Follows one file. `saved` is what `to_json` gave in an earlier run. Raises ValueError, TypeError or KeyError for
    anything else."""

    not_told: frozenset[str] = frozenset({are.BACKFILLED.name})

    def __init__(self, path: Path, *, saved: dict[str, Any] | None, from_end: bool, max_line: int, job: str) -> None:
        self.name = str(path)
        self._path = path
        self._max_line = max_line
        self._follower = Follower(path, saved=saved, from_end=from_end, max_line=max_line)
        begun = saved.get("begun", {}) if saved else {}
        self._begun: Mapping[str, bytes] = {str(stream): b64decode(text) for stream, text in begun.items()}
        """Lines of a container's output of which a piece was read."""
        # One thread of our own: a file system that hangs takes no other collector's threads with it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"auth-logs-{job}")
        self._turn = asyncio.Lock()
        self._at_work: Future[Any] | None = None

    @property
    def beside(self) -> str:
        return ""

    async def look(self, at: datetime) -> tuple[int, str]:
        gaps, trouble = await self._blocking(lambda: self._look(at))
        return gaps, self._what_to_do(trouble) if trouble is not None else ""

    def _look(self, at: datetime) -> tuple[int, OSError | None]:
        """Files that are open are read even where there is trouble."""
        try:
            return self._follower.look(at), None
        except OSError as error:
            return 0, error

    async def read(self) -> Batch | None:
        chunk = await self._blocking(self._follower.read)
        if chunk is None:
            return None
        lines, begun = self._lines(chunk.lines)
        return Batch(lines=lines, size=chunk.size, oversize=chunk.oversize, after=(chunk, begun))

    def _lines(self, lines: Sequence[bytes]) -> tuple[Sequence[bytes], Mapping[str, bytes]]:
        return unwrap(lines, self._begun, most=self._max_line)

    def commit(self, batch: Batch) -> None:
        chunk, self._begun = batch.after
        self._follower.commit(chunk)

    async def unread(self) -> int:
        return await self._blocking(self._follower.unread)

    async def signature(self) -> object:
        return await self._blocking(self._follower.signature)

    def to_json(self) -> Any:
        begun = {stream: b64encode(text).decode() for stream, text in self._begun.items()}
        return {**self._follower.to_json(), **({"begun": begun} if begun else {})}

    async def close(self) -> None:
        if self._at_work is None or self._at_work.done():
            self._follower.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _blocking(self, work: Callable[[], _Result]) -> _Result:
        """Run file work in our thread, one at a time."""
        async with self._turn:
            if self._at_work is not None and not self._at_work.done():
                # A poll that was cut short leaves its work behind, which is nearly done unless the file system hangs.
                earlier = asyncio.wrap_future(self._at_work)
                earlier.add_done_callback(lambda done: done.cancelled() or done.exception())
                await asyncio.wait({earlier}, timeout=_LEFT_BEHIND)
            if self._at_work is not None and not self._at_work.done():
                raise CollectError(
                    f"the file system of {self._path} has not answered since an earlier poll; check its disk or mount"
                )
            self._at_work = self._thread.submit(work)
            return await asyncio.wrap_future(self._at_work)

    def _what_to_do(self, error: OSError) -> str:
        return what_to_do(self._path, error)


def what_to_do(path: Path, error: OSError) -> str:
    """Why the file at `path` can't be followed, and how to mend it."""
    if isinstance(error, FileNotFoundError):
        return (
            f"{path} does not exist; check source.file, and that Supabase Auth writes there (GOTRUE_LOG_FILE). "
            "It is picked up when it appears"
        )
    if isinstance(error, PermissionError):
        return (
            f"{error.filename or path} may not be read by user id {os.geteuid()}, which the daemon runs as; "
            f"allow it, e.g. setfacl -m u:{os.geteuid()}:r {path} (and x on its folders)"
        )
    return f"{path}: {error.strerror or error}; source.file must be a regular file of JSON lines"
