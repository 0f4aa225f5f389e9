"""The auth_logs collector: read what was written, count it, save position and counters as one, and tell.

Saved before it is told: after a crash the counters are never behind what the series store has seen, so a restart is
not mistaken for a counter reset.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from collectors.auth_logs import declarations as are
from collectors.auth_logs.counts import Counts
from collectors.auth_logs.follow import Follower
from collectors.auth_logs.settings import AuthLogsSettings
from tocsin.errors import CollectError, StateError
from tocsin.model import NO_LABELS, Blind, Metric, Sample, Seconds
from tocsin.ports import CollectorContext

_VERSION: Final = 1
_LEFT_BEHIND: Final[Seconds] = 1.0
"""How long a poll waits for the file work of one that was cut short."""
_HUNG: Final[Seconds] = 5.0
"""The watcher gives up on a file system that takes longer to answer."""
_SAVE_EVERY: Final[Seconds] = 60.0
"""Also without news: the time of the last poll says since when a new counter was zero."""
_Result = TypeVar("_Result")


class AuthLogsCollector:
    """Follows one log."""

    def __init__(self, settings: AuthLogsSettings, context: CollectorContext) -> None:
        self._settings = settings
        self._context = context
        self._path = context.folder / settings.source.file
        self._log: tuple[Follower, Counts] | None = None
        self._polled_at: datetime | None = None
        """The last poll that could read."""
        self._caught_up = False
        """The end of the file was reached once: what comes now is news."""
        self._saved: tuple[bytes, datetime | None] = (b"", None)
        # One thread of our own: a file system that hangs takes no other collector's threads with it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"auth-logs-{settings.name}")
        self._turn = asyncio.Lock()
        self._at_work: Future[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._signature: object = None
        self._began: Seconds = 0.0
        """The last poll, by the loop's clock."""

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """What was logged since the last poll. Raises CollectError when the file system doesn't answer."""
        self._began = asyncio.get_running_loop().time()
        if self._log is None:
            self._log = await self._opened()
        follower, counts = self._log
        if self._watcher is None and self._settings.watch:
            self._watcher = asyncio.create_task(self._watch(follower), name=f"auth-logs-watch:{self._settings.name}")
        gaps, trouble, self._signature = await self._blocking(lambda: _look(follower, at))
        counts.take_gap(gaps)
        at_end = await self._read(follower, counts)
        unread = await self._blocking(follower.unread)
        before = self._polled_at
        counts.settle(at, before if self._caught_up else None)
        if trouble is None:
            self._polled_at = at
            self._caught_up = self._caught_up or at_end
        await self._save(follower, counts)
        yield _gauge(are.UP, 0.0 if trouble else 1.0, at)
        if trouble is not None:
            yield Blind(why=_what_to_do(self._path, trouble))
            return
        for sample in counts.samples(at, before):
            yield sample
        yield _gauge(are.UNREAD, float(unread), at)
        if counts.last_event:
            yield _gauge(are.LAST_EVENT, counts.last_event, at)

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        if self._log is not None and (self._at_work is None or self._at_work.done()):
            self._log[0].close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _read(self, follower: Follower, counts: Counts) -> bool:
        """Count what there is; False when a backlog is left for the next poll, which is asked for."""
        size = 0
        while size < self._settings.bytes_per_poll:
            chunk = await self._blocking(follower.read)
            if chunk is None:
                return True
            size += chunk.size
            # Together, with no await between: a poll that is cut short has counted what it says it has read.
            counts.take(chunk.lines, max_line=self._settings.max_line)
            counts.take_oversize(chunk.oversize)
            follower.commit(chunk)
        self._context.poke()
        return False

    async def _watch(self, follower: Follower) -> None:
        """Ask for a poll when the log grows or changes, at most ten times per interval."""
        spacing = max(self._settings.watch, self._settings.interval / 10)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.watch)
            if loop.time() - self._began < spacing:
                continue
            try:
                async with asyncio.timeout(_HUNG):
                    signature = await self._blocking(follower.signature)
            except (OSError, CollectError):
                continue  # the poll says it
            if signature != self._signature:
                self._signature = signature
                self._context.poke()

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

    # The checkpoint ---------------------------------------------------------------------------------------------------

    async def _opened(self) -> tuple[Follower, Counts]:
        settings = self._settings
        saved, unusable = _parsed(await self._context.checkpoint.load())
        salt = bytes.fromhex(saved["salt"]) if saved else os.urandom(16)
        counts = Counts(salt=salt, top_ips=settings.top_ips, idle=settings.idle, show_ips=settings.show_ips)
        places = None
        if saved is not None:
            counts.load(saved["counts"])
            if saved["path"] == str(self._path):
                # Of another file only the counters are taken over: reading begins there as it does for any new file.
                places = saved["follower"]
                self._caught_up = bool(saved["caught_up"])
                self._polled_at = datetime.fromisoformat(saved["polled_at"]) if saved["polled_at"] else None
        counts.take_gap(unusable)
        from_end = settings.start == "end"
        return Follower(self._path, saved=places, from_end=from_end, max_line=settings.max_line), counts

    async def _save(self, follower: Follower, counts: Counts) -> None:
        content = {
            "version": _VERSION,
            "path": str(self._path),
            "salt": counts.salt.hex(),
            "caught_up": self._caught_up,
            "follower": follower.to_json(),
            "counts": counts.to_json(),
        }
        bare = orjson.dumps(content)
        before, saved_at = self._saved
        now = self._polled_at
        recent = saved_at == now or (saved_at and now and abs((now - saved_at).total_seconds()) < _SAVE_EVERY)
        if bare == before and recent:
            return
        blob = orjson.dumps({**content, "polled_at": now.isoformat() if now else None})
        # Where the state store fails the counters go on from memory, and the next poll tries again.
        with suppress(StateError):
            await self._context.checkpoint.save(blob)
            self._saved = (bare, now)


def _parsed(blob: bytes | None) -> tuple[dict[str, Any] | None, int]:
    """The checkpoint's content, and 1 when there was one that can't be used (its position is lost: a gap)."""
    if blob is None:
        return None, 0
    try:
        saved = orjson.loads(blob)
        if saved["version"] != _VERSION:
            return None, 1
        # Tried out as a whole, so that what is half broken is not half taken over.
        Counts(salt=bytes.fromhex(saved["salt"]), top_ips=1, idle=60, show_ips=False).load(saved["counts"])
        Follower(Path(saved["path"]), saved=saved["follower"], from_end=True, max_line=1024)
        _ = saved["caught_up"], saved["polled_at"] and datetime.fromisoformat(saved["polled_at"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, 1
    return saved, 0


def _look(follower: Follower, at: datetime) -> tuple[int, OSError | None, object]:
    """(gaps, why the log can't be followed, signature). Files that are open are read even so."""
    try:
        return follower.look(at), None, follower.signature()
    except OSError as error:
        return 0, error, follower.signature()


def _what_to_do(path: Path, error: OSError) -> str:
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


def _gauge(metric: Metric, value: float, at: datetime) -> Sample:
    return Sample(name=metric.name, labels=NO_LABELS, value=value, at=at)
