"""The pool."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.abc import QueryNoTemplate as Query
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from tocsin.asgi.arguments import number
from tocsin.asgi.database.failures import Saturated, Unreachable, translated
from tocsin.asgi.database.watch import Observer, Watch, cursor_classes
from tocsin.asgi.errors.fingerprint import InApp
from tocsin.asgi.logs.lines import Lines
from tocsin.asgi.measures import Measures, measures_of
from tocsin.asgi.problem import Unavailable
from tocsin.model import Seconds
from tocsin.tasks import end_tasks

if TYPE_CHECKING:
    from tocsin.asgi.mount import Parts

Connection = AsyncConnection[DictRow]
Values = Sequence[Any] | Mapping[str, Any] | None
_REST: Final = 10.0
"""Seconds of rest after which a connection is tried before it is given out. Sooner a look at its socket is enough: a
server that ended closes it, and what has not asked anything has nothing to read."""


class Database:
    """One database. It opens without a server, and finds it when it is there."""

    def __init__(
        self,
        dsn: str,
        *,
        name: str = "app",
        size: int = 8,
        least: int = 1,
        wait: Seconds = 0.5,
        waiting: int = 200,
        statement_timeout: Seconds = 5.0,
        lock_timeout: Seconds = 2.0,
        idle_timeout: Seconds = 10.0,
        connect_timeout: int = 2,
        slow: Seconds | None = None,
        transaction_pooler: bool = False,
        session: Mapping[str, str] | None = None,
        observers: Iterable[Observer] = (),
        measures: Measures | None = None,
        lines: Lines | None = None,
    ) -> None:
        """`least` to `size` connections. A request waits `wait` seconds for one, and `waiting` of them at most at once.
        `slow`: `protect`'s slow_seconds, or 1. `session`: more settings of each session. Raises ValueError."""
        number("Database(size=…)", size, least=1, whole=True)
        number("Database(least=…)", least, least=0, whole=True)
        number("Database(waiting=…)", waiting, least=0, whole=True)
        number("Database(connect_timeout=…)", connect_timeout, least=1, whole=True)
        if least > size:
            raise ValueError(f"Database(least=…) is no more than size, {size}")
        waits = {
            "wait": wait,
            "statement_timeout": statement_timeout,
            "lock_timeout": lock_timeout,
            "idle_timeout": idle_timeout,
        }
        for given, seconds in (waits | ({} if slow is None else {"slow": slow})).items():
            number(f"Database({given}=…)", seconds, least=0, above=True)
        try:
            conninfo_to_dict(dsn)
        except (psycopg.Error, TypeError, AttributeError):  # whose text may quote the password
            raise ValueError("Database(dsn): it is no address of a Postgres; postgresql://USER@HOST/NAME") from None
        self.name, self.size, self.wait = name, size, wait
        self._slow, self._lines, self._measures = slow, lines, measures
        self.watch = Watch(name, measures or measures_of(), lines or Lines(), 1.0 if slow is None else slow)
        self.watch.observers = tuple(observers)
        self._cursor, self._server_cursor = cursor_classes(self.watch)
        self._timeouts = {
            "statement_timeout": f"{statement_timeout * 1000:.0f}",
            "lock_timeout": f"{lock_timeout * 1000:.0f}",
            "idle_in_transaction_session_timeout": f"{idle_timeout * 1000:.0f}",
        }
        self._session = {**({} if transaction_pooler else self._timeouts), **(session or {})}
        self._by_transaction = transaction_pooler
        self._in_use = 0
        self._used: WeakKeyDictionary[Connection, Seconds] = WeakKeyDictionary()
        self._asides: set[asyncio.Task[None]] = set()
        self._opened = False
        self._pool = self._made(dsn, least, waiting, connect_timeout)

    def _made(self, dsn: str, least: int, waiting: int, connect_timeout: int) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool(
            dsn,
            min_size=least,
            max_size=self.size,
            open=False,
            timeout=self.wait,
            max_waiting=waiting,
            check=self._check,
            configure=self._configure,
            # Given up soon: the next request starts a fresh attempt at once, where a retry backs off for seconds.
            reconnect_timeout=1.0,
            kwargs={
                "row_factory": dict_row,
                "autocommit": True,
                "cursor_factory": self._cursor,
                "connect_timeout": connect_timeout,
                "application_name": self.name,
                **({"prepare_threshold": None} if self._by_transaction else {}),
            },
            name=self.name,
        )

    def join(self, parts: Parts) -> None:
        """Count and log where the layers do: `protect` calls it."""
        measures, lines = self._measures or parts.measures, self._lines or parts.lines
        slow = parts.settings.slow_seconds if self._slow is None else self._slow
        self.watch.join(measures, lines, slow, InApp(parts.settings.in_app))
        if self._opened:
            self._show()

    async def open(self) -> None:
        """Begin; again is nothing. It does not wait for the server."""
        if not self._opened:
            self._opened = True
            self._show()
            await self._pool.open(wait=False)

    start = open
    """What `protect` calls it."""

    async def close(self) -> None:
        """End: what runs has two seconds. Again is nothing."""
        if not self._opened:
            return
        self._opened = False
        await end_tasks(*self._asides)
        await self._pool.close(timeout=2.0)
        self._count_size()
        self.watch.close()

    async def __aenter__(self) -> Database:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection on which each statement stands for itself. Raises Unavailable, also inside of the block."""
        connection = await self._take()
        try:
            yield connection
        except psycopg.OperationalError as error:
            meant = translated(error, broken=connection.broken or connection.closed)
            if meant is None:
                raise
            raise self._refused(meant) from error
        finally:
            self._in_use -= 1
            self.watch.in_use(self._in_use)
            self._used[connection] = time.monotonic()
            await self._pool.putconn(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction, committed at the end and rolled back by an exception. Raises Unavailable."""
        async with self.connection() as connection, connection.transaction():
            if self._by_transaction:
                await _set(connection, self._timeouts, local=True)
            yield connection

    async def rows(self, query: Query, values: Values = None) -> list[DictRow]:
        """The rows of one statement. Raises Unavailable."""
        async with self.connection() as connection:
            return await (await connection.execute(query, values)).fetchall()

    async def row(self, query: Query, values: Values = None) -> DictRow | None:
        """The first row of one statement. Raises Unavailable."""
        async with self.connection() as connection:
            return await (await connection.execute(query, values)).fetchone()

    async def run(self, query: Query, values: Values = None) -> int:
        """How many rows one statement changed. Raises Unavailable."""
        async with self.connection() as connection:
            return (await connection.execute(query, values)).rowcount

    async def ping(self, within: Seconds = 1.0) -> None:
        """Raises Unavailable where the database does not answer within so many seconds, whatever the reason."""
        task = asyncio.create_task(self._ask(), name=f"tocsin.database.ping:{self.name}")
        # Beside us: a server that hangs holds up the end of a statement too, and we said when we answer.
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=within)
        finally:
            task.cancel()
        if not done:
            raise self._refused(Unreachable(f"The database did not answer within {within:g} s."))
        task.result()

    async def _ask(self) -> None:
        async with self.connection() as connection:
            await connection.execute("select 1")

    async def _take(self) -> Connection:
        began = time.perf_counter()
        waiting = self.watch.waiting
        waiting.inc()
        try:
            connection = await self._pool.getconn()
        except (PoolTimeout, TooManyRequests) as error:
            self.watch.wait(began, error)
            raise self._refused(self._meant(error)) from None
        finally:
            waiting.dec()
        self.watch.wait(began)
        self._in_use += 1
        self.watch.in_use(self._in_use)
        return connection

    def _meant(self, error: Exception) -> Unavailable:
        if isinstance(error, TooManyRequests):
            return Saturated("Too many requests wait for a connection to the database.")
        if self._in_use >= self.size:
            return Saturated(f"All {self.size} connections to the database were in use for {self.wait:g} s.")
        return Unreachable(f"The database gave no connection within {self.wait:g} s.")

    def _refused(self, meant: Unavailable) -> Unavailable:
        self.watch.measures.database_refusals.labels(self.name, meant.reason).inc()
        return meant

    async def _configure(self, connection: Connection) -> None:
        connection.server_cursor_factory = self._server_cursor
        await _set(connection, self._session, local=False)
        self._used[connection] = time.monotonic()
        self._count_size()

    async def _check(self, connection: Connection) -> None:
        """Raises OperationalError for a connection that is dead."""
        rested = time.monotonic() - self._used.get(connection, float("-inf"))
        if rested > _REST or _is_readable(connection.fileno()):
            await AsyncConnectionPool.check_connection(connection)

    def _show(self) -> None:
        self._gauge(self.watch.measures.database_limit, self.size)
        self.watch.in_use(self._in_use)
        self._count_size()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            self.watch.measures.database_size.labels(self.name).set_function(self._now)

    def _count_size(self) -> None:
        """As often as it grows; in one process alone it is asked when it is scraped, since it also shrinks."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            self._gauge(self.watch.measures.database_size, self._now())

    def _now(self) -> int:
        return int(self._pool.get_stats().get("pool_size", 0)) if self._opened else 0

    def _gauge(self, gauge: Any, value: float) -> None:
        gauge.labels(self.name).set(value)


async def _set(connection: Connection, settings: Mapping[str, str], *, local: bool) -> None:
    """All in one round trip."""
    if settings:
        calls = [sql.SQL("set_config({}, {}, {})").format(name, value, local) for name, value in settings.items()]
        # Not by our cursor: it is nobody's statement.
        async with psycopg.AsyncCursor(connection) as cursor:
            await cursor.execute(sql.SQL("select ") + sql.SQL(", ").join(calls))


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
