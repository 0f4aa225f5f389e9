"""The auth_logs collector: read what was written, count it, save position and counters as one, and tell.

Saved before it is told: after a crash the counters are never behind what the series store has seen, so a restart is
not mistaken for a counter reset.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from collectors.auth_logs import declarations as are
from collectors.auth_logs.counts import Counts
from collectors.auth_logs.kept import Kept
from collectors.auth_logs.quiet import Quiet
from collectors.auth_logs.settings import AuthLogsSettings
from collectors.auth_logs.sources import source_of
from collectors.auth_logs.sources.source import Source, Trouble
from tocsin.errors import CollectError, StateError
from tocsin.model import NO_LABELS, Blind, Metric, Sample, Seconds
from tocsin.ports import CollectorContext
from tocsin.tasks import end_tasks

if TYPE_CHECKING:
    from collectors.auth_logs.posture import Posture
    from collectors.auth_logs.tables import Tables

_VERSION: Final = 2
_HUNG: Final[Seconds] = 5.0
"""The watcher gives up on a file system that takes longer to answer."""
_OF_THE_LOG: Final = frozenset(
    name
    for metric in are.METRICS
    if metric not in (are.UP, are.POSTURE, are.KEPT, *are.TABLES)
    for name in metric.series_names()
)
"""What is hidden while the log can't be read."""
_SAVE_EVERY: Final[Seconds] = 60.0
"""Also without news: the time of the last poll says since when a new counter was zero."""


class AuthLogsCollector:
    """Counts what one source yields."""

    def __init__(self, settings: AuthLogsSettings, context: CollectorContext) -> None:
        self._settings = settings
        self._context = context
        self._posture: Posture | None = None
        if settings.posture is not None:
            from collectors.auth_logs.posture import Posture  # without it no client for HTTP is loaded

            self._posture = Posture(settings.posture)
        events = settings.events
        self._kept = Kept(context.folder / settings.events_folder, events.keep) if events is not None else None
        self._leftover = Kept(context.folder / settings.events_folder, 0) if events is None else None
        """What was kept before `events` was taken out of the configuration: nobody else would ever delete it."""
        self._not_kept = ""
        """Why an event could not be kept since the last poll."""
        self._log: tuple[Source, Counts] | None = None
        self._tables: Tables | None = None
        self._polled_at: datetime | None = None
        """The last poll that could read."""
        self._caught_up = False
        """The end of the log was reached once: what comes now is news."""
        self._saved: tuple[bytes, datetime | None] = (b"", None)
        self._watcher: asyncio.Task[None] | None = None
        self._signature: object = None
        self._began: Seconds = 0.0
        """The last poll, by the loop's clock."""

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """What was logged since the last poll, and how Auth is set up. Raises CollectError when the file system doesn't
        answer."""
        await self._forget(at)
        if self._posture is not None:
            await self._posture.look(at)
            for item in self._posture.samples(at):
                yield item
        async for item in self._logged(at):
            yield item
        if self._tables is not None:
            for item in self._tables.samples(at):
                yield item
        for item in self._events(at):
            yield item

    async def _logged(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        self._began = asyncio.get_running_loop().time()
        if self._log is None:
            self._log = await self._opened()
        source, counts = self._log
        gaps, trouble = await source.look(at)
        self._signature = await source.signature()
        if self._watcher is None and self._settings.watch and self._signature is not None:
            self._watcher = asyncio.create_task(self._watch(source), name=f"auth-logs-watch:{self._settings.name}")
        counts.take_gap(gaps)
        try:
            at_end = await self._read(source, counts, at)
        except Trouble as error:
            at_end, trouble = False, str(error)
        unread = await source.unread()
        before = self._polled_at
        counts.settle(at, before if self._caught_up else None)
        if not trouble:
            self._polled_at = at
            self._caught_up = self._caught_up or at_end
        if self._tables is not None:
            await self._tables.look(at)
        await self._save(source, counts)
        yield _gauge(are.UP, 0.0 if trouble else 1.0, at)
        if trouble:
            yield Blind(why=trouble, metrics=_OF_THE_LOG)
            return
        unknown = source.not_told
        if source.beside:
            yield Blind(why=source.beside, metrics=frozenset({are.BACKFILLED.name}))
            unknown = unknown | {are.BACKFILLED.name}
        for sample in counts.samples(at, before):
            if sample.name not in unknown:
                yield sample
        if unread is not None:
            yield _gauge(are.UNREAD, float(unread), at)
        if counts.last_event:
            yield _gauge(are.LAST_EVENT, counts.last_event, at)

    async def close(self) -> None:
        if self._watcher is not None:
            await end_tasks(self._watcher)
        if self._posture is not None:
            await self._posture.close()
        if self._tables is not None:
            await self._tables.close()
        if self._log is not None:
            await self._log[0].close()

    async def _read(self, source: Source, counts: Counts, at: datetime) -> bool:
        """Count what there is; False when a backlog is left for the next poll, which is asked for."""
        size, clock = 0, asyncio.get_running_loop().time
        until = clock() + self._settings.time_limit / 2
        while size < self._settings.bytes_per_poll and (not size or clock() < until):
            batch = await source.read()
            if batch is None:
                return True
            size += batch.size
            if self._kept is not None:
                await self._keep(batch.lines, at)
            # Together, with no await between: a poll that is cut short has counted what it says it has read.
            counts.take_gap(batch.gaps)
            counts.take(batch.lines, max_line=self._settings.max_line)
            counts.take_oversize(batch.oversize)
            counts.take_backfilled(batch.late)
            source.commit(batch)
        self._context.poke()
        return False

    async def _keep(self, lines: Sequence[bytes], at: datetime) -> None:
        """Before they are counted: after a crash an event stands twice rather than not at all."""
        assert self._kept is not None
        try:
            await asyncio.to_thread(self._kept.add, lines, at)
        except OSError as error:
            self._not_kept = f"events can't be kept in {error.filename}: {error.strerror}; check events.folder"

    async def _forget(self, at: datetime) -> None:
        """At every poll, also while the log is silent or can't be read: the time that events are kept is a promise."""
        kept = self._kept or self._leftover
        if kept is None:
            return
        try:
            await asyncio.to_thread(kept.forget, at)
            self._leftover = None
        except OSError as error:
            self._not_kept = f"events that are too old can't be deleted: {error.filename}: {error.strerror}"

    def _events(self, at: datetime) -> Iterator[Sample | Blind]:
        if self._kept is None:
            return
        if self._not_kept:
            yield Blind(why=self._not_kept, metrics=frozenset({are.KEPT.name}))
            self._not_kept = ""
            return
        with suppress(OSError):
            yield _gauge(are.KEPT, float(self._kept.size()), at)

    async def _watch(self, source: Source) -> None:
        """Ask for a poll when the log grows or changes, at most ten times per interval."""
        spacing = max(self._settings.watch, self._settings.interval / 10)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.watch)
            if loop.time() - self._began < spacing:
                continue
            try:
                async with asyncio.timeout(_HUNG):
                    signature = await source.signature()
            except (OSError, CollectError):
                continue  # the poll says it
            if signature != self._signature:
                self._signature = signature
                self._context.poke()

    # The checkpoint ---------------------------------------------------------------------------------------------------

    async def _opened(self) -> tuple[Source, Counts]:
        settings = self._settings
        saved, unusable = _parsed(await self._context.checkpoint.load())
        salt = bytes.fromhex(saved["salt"]) if saved else os.urandom(16)
        counts = Counts(
            salt=salt,
            top_ips=settings.top_ips,
            top_users=settings.top_users,
            idle=settings.idle,
            show_ips=settings.show_ips,
            quiet=Quiet(settings.quiet_admin_actions),
        )
        source, gone_on = None, False
        if saved is not None:
            counts.load(saved["counts"])
            try:
                source = source_of(settings, self._context.folder, saved["position"])
                gone_on = source.name == saved["source"]
            except (ValueError, TypeError, KeyError, AttributeError):
                unusable = 1
        if saved is not None and gone_on:
            self._caught_up = bool(saved["caught_up"])
            self._polled_at = datetime.fromisoformat(saved["polled_at"]) if saved["polled_at"] else None
        if source is None or not gone_on:
            # Of another place only the counters are taken over: reading begins there as it does for any new one.
            source = source_of(settings, self._context.folder, None)
        counts.take_gap(unusable)
        if settings.source.sql is not None and settings.source.sql.tables.include:
            self._tables = self._with_tables(salt, saved.get("tables") if saved is not None and gone_on else None)
        return source, counts

    def _with_tables(self, salt: bytes, saved: Any) -> Tables:
        from collectors.auth_logs.tables import Tables

        keep = self._keep if self._kept is not None else None
        try:
            return Tables(self._settings, salt=salt, saved=saved, keep=keep)
        except (ValueError, TypeError, KeyError, AttributeError):
            return Tables(self._settings, salt=salt, keep=keep)

    async def _save(self, source: Source, counts: Counts) -> None:
        content = {
            "version": _VERSION,
            "source": source.name,
            "salt": counts.salt.hex(),
            "caught_up": self._caught_up,
            "position": source.to_json(),
            "counts": counts.to_json(),
        }
        if self._tables is not None:
            content["tables"] = self._tables.to_json()
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


def salt_in(blob: bytes | None) -> bytes | None:
    """What addresses are hashed with, from a collector's checkpoint; None: it has none yet."""
    saved, _ = _parsed(blob)
    return bytes.fromhex(saved["salt"]) if saved is not None else None


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
        _ = saved["source"], saved["position"], saved["caught_up"]
        _ = saved["polled_at"] and datetime.fromisoformat(saved["polled_at"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, 1
    return saved, 0


def _gauge(metric: Metric, value: float, at: datetime) -> Sample:
    return Sample(name=metric.name, labels=NO_LABELS, value=value, at=at)
