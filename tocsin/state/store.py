"""The state store: what must survive a kill -9.

    state = await State.open("sqlite:///tocsin.db")
    restored = await state.load(now)           # alerts, incidents with what was told, silences
    correction = await state.commit(change)    # one transaction; → incidents.heard(book, correction, now)
    state.outbox                               # what delivery claims, finishes and retries
    state.checkpoint("auth")                   # a collector's ports.Checkpoint
    state.tokens, state.history                # service tokens; what the console and the CLI list

Whatever the database says becomes a StateError that says what to do. A commit that failed changed nothing: keep the
Change, merge the next into it (`change.then(later)`), and commit again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin.errors import StateError
from tocsin.incidents import Book, Correction, Plan, Told, restore
from tocsin.incidents.storms import Storm
from tocsin.incidents.told import Hidden
from tocsin.model import Alert, AlertState, Incident, IncidentState, Silence
from tocsin.state import codec, rows, schema
from tocsin.state.change import Change
from tocsin.state.checkpoints import StoredCheckpoint
from tocsin.state.engine import BEGIN, connect, file_of, state_errors
from tocsin.state.history import History
from tocsin.state.lease import Fence
from tocsin.state.lock import FileLock
from tocsin.state.migrations import upgrade, version
from tocsin.state.outbox import Outbox
from tocsin.state.queueing import put_in_outbox
from tocsin.state.sessions import SessionTable
from tocsin.state.tokens import Tokens

_MIGRATING: Final = 0x70C51D
"""The advisory lock of whoever migrates."""
REMEMBERED: Final = timedelta(days=1)
"""Incidents that ended this long ago are loaded into the book: the longest flap window there may be."""

_ALERTS: Final = sa.select(schema.alerts.c.doc)
_OWES: Final = sa.exists().where(
    schema.told.c.incident == schema.incidents.c.id, ~schema.told.c.ended, schema.told.c.via != "nothing"
)
_LIVE: Final = sa.or_(
    schema.incidents.c.state != IncidentState.RESOLVED,
    schema.incidents.c.resolved_at > sa.bindparam("since", type_=schema.Instant()),
    _OWES,
    sa.exists().where(schema.hidden.c.incident == schema.incidents.c.id, schema.hidden.c.told_at.is_(None)),
)
"""What may still change, or is owed to somebody, or a silence hid and nobody was told yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What a restart begins with."""

    alerts: tuple[Alert, ...]
    """Pending and firing, for the rules."""
    files: tuple[tuple[Incident, dict[str, Told]], ...]
    """For `incidents.restore`: incidents that are open, owe somebody the end, or may reopen."""
    silences: tuple[Silence, ...]
    storms: tuple[Storm, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    """What silences hid, and nobody was told yet."""

    def book(self, plan: Plan, now: datetime) -> Book:
        """The book that goes on from there."""
        return restore(plan, self.files, self.silences, now, self.storms, self.hidden)


class State:
    """One store. All methods raise StateError."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # One writer at a time in this process: waiting here is fair, SQLite's own waiting is not.
        self._writing = asyncio.Lock()
        self._lock: FileLock | None = None
        self.fence: Fence | None = None
        """Set where several replicas share the store: then only the leader decides and sends."""
        self.outbox = Outbox(self)
        self.tokens = Tokens(self)
        self.sessions = SessionTable(self)
        self.history = History(self)

    @classmethod
    async def open(cls, url: str, *, migrate: bool = True, durable: bool = True) -> Self:
        """Open the store, creating or upgrading it. Raises StateError that names the file and the mend."""
        return await cls.over(connect(url, durable=durable), migrate=migrate)

    @classmethod
    async def over(cls, engine: AsyncEngine, *, migrate: bool = True) -> Self:
        """The same, over an engine that is there already."""
        state = cls(engine)
        try:
            await state._prepare(migrate)
        except BaseException:
            await state.close()
            raise
        return state

    async def _prepare(self, migrate: bool) -> None:
        if (file := self.file) is not None:
            with state_errors(self._engine):
                await asyncio.to_thread(_make_private, file)
        async with self.reading() as connection:
            found = await connection.run_sync(version)
        if found == schema.HEAD:
            return
        if found > schema.HEAD:
            raise StateError(
                f"the state store is at version {found} and this Tocsin knows {schema.HEAD}: install the newer Tocsin"
            )
        if not migrate:
            raise StateError(f"the state store is at version {found or 'none'}: run `tocsin state migrate`")
        async with self.writing() as connection:
            if self.dialect == "postgresql":
                # Of two that start at once the second waits, and finds it done. A migration may take its time.
                (await connection.get_raw_connection()).driver_connection.patience = 0.0  # type: ignore[union-attr]
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
            if await connection.run_sync(version) != schema.HEAD:
                await connection.run_sync(upgrade)
        if self.dialect == "postgresql":
            await self._engine.dispose()  # and with it the connection that waits for ever

    async def close(self) -> None:
        """Release connections and the lock."""
        await self._engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def file(self) -> Path | None:
        """SQLite's file; None on Postgres."""
        return file_of(self._engine)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        with state_errors(self._engine):
            async with self._engine.connect() as plain:
                connection = await plain.execution_options(**{BEGIN: "BEGIN"})
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction; on the disk when this ends, or nothing of it."""
        async with self.transaction() as connection:
            if self.fence is not None:
                await self.fence.bound(connection)
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """What `writing` and `deciding` are made of."""
        async with self._writing:
            with state_errors(self._engine):
                async with self._engine.begin() as connection:
                    yield connection

    @asynccontextmanager
    async def deciding(self) -> AsyncIterator[AsyncConnection]:
        """`writing`, for what only the leader may write: what was decided, claimed or sent. Raises Deposed."""
        async with self.transaction() as connection:
            if self.fence is not None:
                await self.fence.hold(connection)
            yield connection

    # The pipeline's ------------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Become the one daemon of a SQLite file; on Postgres leases say who leads. Raises StateError."""
        if (file := self.file) is not None and self._lock is None:
            self._lock = FileLock.take(file)

    async def take_over(self, not_before: datetime) -> int:
        """Every row that was claimed is put back → how many. For whoever begins to send, and has nothing under way.

        They may have been delivered: they are read back, not before a time, and only then sent again. Raises Deposed.
        """
        self.lock()
        return await self.outbox.release_all(not_before=not_before)

    async def mark(self) -> tuple[object, ...]:
        """Another one whenever the book or the silences were stored anew, for whoever reads them from here."""
        counts = (sa.func.count(), sa.func.max(schema.incidents.c.updated_at), sa.func.sum(schema.incidents.c.revision))
        async with self.reading() as connection:
            incidents = (await connection.execute(sa.select(*counts).select_from(schema.incidents))).one()
            decided = (await connection.execute(sa.select(sa.func.max(schema.decisions.c.seq)))).scalar()
            ends = sa.func.sum(sa.type_coerce(schema.silences.c.ends_at, sa.BigInteger))
            silences = (await connection.execute(sa.select(sa.func.count(), ends))).one()
        return (*incidents, decided, *silences)

    async def commit(self, change: Change) -> Correction:
        """Store all of `change` in one transaction → what destinations know otherwise than the book thought.

        Give those to `incidents.heard`: first messages that could be taken back because nobody had them yet.
        """
        if change.empty:
            return Correction()
        async with self.deciding() as connection:
            await rows.write_alerts(connection, change.alerts)
            await rows.write_incidents(connection, change)
            await rows.write_told(connection, change.told, change.untold)
            await rows.write_decisions(connection, change.decisions)
            await rows.write_silences(connection, change.silences)
            await rows.write_storms(connection, change.storms, change.calmed)
            await rows.write_hidden(connection, change.hidden)
            return await put_in_outbox(connection, change.calls)

    async def load(self, now: datetime) -> Restored:
        """What a restart needs."""
        async with self.reading() as connection:
            alerts = [codec.alert_of(codec.parse(row.doc)) for row in await connection.execute(_ALERTS)]
            storms = await rows.read_storms(connection)
            hidden = await rows.read_hidden(connection, schema.hidden.c.told_at.is_(None))
            counted = {id for storm in storms for id in storm.incidents}
            wanted = sa.or_(schema.incidents.c.id.in_(counted), _LIVE) if counted else _LIVE
            since = {"since": now - REMEMBERED}
            incidents = await rows.read_incidents(connection, wanted, since)
            told = await rows.read_told(connection, wanted, since)
            hides = sa.exists().where(
                schema.hidden.c.silence == schema.silences.c.id, schema.hidden.c.told_at.is_(None)
            )
            silences = await rows.read_silences(connection, sa.or_(schema.silences.c.ends_at > now, hides))
        return Restored(
            alerts=tuple(alert for alert in alerts if alert.state is not AlertState.RESOLVED),
            files=tuple((incident, told.get(incident.id, {})) for incident in incidents),
            silences=silences,
            storms=storms,
            hidden=hidden,
        )

    async def files(self, ids: Collection[str]) -> tuple[tuple[Incident, dict[str, Told]], ...]:
        """These incidents as they are stored, each with what destinations know of it."""
        wanted = schema.incidents.c.id.in_(ids)
        async with self.reading() as connection:
            incidents = await rows.read_incidents(connection, wanted)
            told = await rows.read_told(connection, wanted)
        return tuple((incident, told.get(incident.id, {})) for incident in incidents)

    def checkpoint(self, name: str) -> StoredCheckpoint:
        """The memory of the collector called `name`."""
        return StoredCheckpoint(self, name)

    # Upkeep --------------------------------------------------------------------------------------------------------

    async def prune(self, before: datetime) -> int:
        """Forget incidents that ended before a time, with all that was said of them → how many."""
        async with self.writing() as connection:
            return await rows.prune(connection, before)

    async def backup(self, to: Path) -> None:
        """A copy of a SQLite store, consistent while the daemon runs."""
        if self.file is None:
            raise StateError("the state is in Postgres: back it up with pg_dump, or as the rest of that server")
        if await asyncio.to_thread(to.exists):
            raise StateError(f"{to} exists: name a new file")
        with state_errors(self._engine):
            await asyncio.to_thread(_make_private, to)
            async with self._engine.connect() as plain:
                connection = await plain.execution_options(**{BEGIN: ""})
                await connection.execute(sa.text("VACUUM INTO :to"), {"to": str(to)})

    async def check(self) -> tuple[str, ...]:
        """What is wrong with the store, a line each; nothing when it is sound."""
        found = []
        async with self.reading() as connection:
            if self.dialect == "sqlite":
                lines = (await connection.execute(sa.text("PRAGMA integrity_check"))).scalars().all()
                found += [f"{self.file}: {line}" for line in lines if line != "ok"]
            found += await rows.inconsistencies(connection)
        return tuple(found)


def _make_private(file: Path) -> None:
    """Make a new file that only its owner may read: it holds tokens' digests, sessions and addresses.

    SQLite gives its -wal and -shm the same mode. One that is there stays as it is; `tocsin check` looks at it.
    """
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
