"""One connection to one database, held, used serially, read-only, and never waited for past its deadline.

Every statement runs under a watchdog that shuts the socket down: with the backend stopped, statement_timeout never
fires, and cancelling psycopg's wait takes seconds, as it first asks the server to cancel (psycopg issue 1371).

While no statement runs, the socket is watched: it becomes readable when the server goes away, so a killed server is
noticed at once and not at the next poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from collectors.postgres.groups import marked
from collectors.postgres.state import State, Unreachable, one_line, refuses_options, state_of
from tocsin.model import Seconds

Connection = psycopg.AsyncConnection[TupleRow]

_LOCK_TIMEOUT: Final = 0.1
_WATCHDOG_SLACK: Final = 0.25
"""How much longer than statement_timeout the watchdog waits: the server's own end of a statement costs no session."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a statement returned."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    seconds: Seconds

    def records(self) -> list[dict[str, Any]]:
        """Rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def session_settings(query_deadline: Seconds) -> dict[str, str]:
    """What every session of ours sets: it must neither wait for, nor be waited for by, anybody."""
    return {
        "statement_timeout": f"{round(query_deadline * 1000)}ms",
        "lock_timeout": f"{round(min(_LOCK_TIMEOUT, query_deadline / 2) * 1000)}ms",
        "idle_in_transaction_session_timeout": f"{round(query_deadline * 2000)}ms",
        "search_path": "pg_catalog",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        "default_transaction_isolation": "read committed",
    }


class Session:
    """The connection. `disturbed` is called when the idle socket stirs: the server has something to say, or is gone."""

    def __init__(
        self,
        conninfo: Callable[[], str],
        *,
        query_deadline: Seconds,
        connect_deadline: Seconds,
        application_name: str,
        disturbed: Callable[[], None],
    ) -> None:
        self._conninfo = conninfo
        self._query_deadline = query_deadline
        self._connect_deadline = connect_deadline
        self._application_name = application_name
        self._disturbed = disturbed
        self._settings = session_settings(query_deadline)
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._cut_why = ""
        self._watched = -1
        self.pooled = False
        """Whether session settings don't stick, so that each statement brings its own."""
        self.version = 0
        """The server's major version."""
        self.backend_pid = 0
        self.opened = 0
        """How often a connection was opened."""

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    # Opening and closing -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, unless connected. Raises Unreachable, whose `state` says in which way."""
        async with self._turn:
            if self._connection is None:
                await self._connect()

    async def _connect(self) -> None:
        target = self._conninfo()
        try:
            connection = await self._attempt(target, pooled=self.pooled)
        except psycopg.Error as error:
            if not refuses_options(str(error)) or self.pooled:
                raise Unreachable(state_of(str(error)), one_line(str(error))) from error
            self.pooled = True
            await self._connect()
            return
        self._connection = connection
        self._cut_why = ""
        self.version = connection.info.server_version // 10_000
        self.opened += 1
        try:
            await self._settle(connection)
        except BaseException:
            await self._drop()
            raise
        self._watch_idle()

    async def _attempt(self, target: str, *, pooled: bool) -> Connection:
        try:
            async with asyncio.timeout(self._connect_deadline):
                return await psycopg.AsyncConnection.connect(
                    self._full_conninfo(target, pooled=pooled), autocommit=True, prepare_threshold=None if pooled else 5
                )
        except (TimeoutError, psycopg.errors.ConnectionTimeout) as error:
            waited = f"no answer to a login within {self._connect_deadline:g} s"
            if await _accepts(target):
                raise Unreachable(State.HANGING, f"{waited}, though the port accepts connections") from error
            raise Unreachable(State.DOWN, f"{waited}, and the port does not accept connections") from error

    def _full_conninfo(self, target: str, *, pooled: bool) -> str:
        given = conninfo_to_dict(target)
        ours: dict[str, Any] = {
            "application_name": self._application_name,
            "client_encoding": "utf8",
            "connect_timeout": max(2, round(self._connect_deadline)),
            # The kernel's own word on a peer that vanished without a FIN, while the session is idle.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        }
        if not pooled:
            settings = " ".join(
                f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in self._settings.items()
            )
            ours["options"] = f"{given.get('options') or ''} {settings}".strip()
        return make_conninfo(target, **ours)

    async def _settle(self, connection: Connection) -> None:
        """See whether the session has the settings we asked for, and forbid it to write."""
        if not self.pooled:
            answer = await self._guarded(
                connection, marked("session", "select current_setting('statement_timeout'), pg_backend_pid()")
            )
            expected, wanted = answer.rows[0][0], self._query_deadline
            # A pooler told to ignore startup parameters drops them without a word.
            self.pooled = _milliseconds(str(expected)) != round(wanted * 1000)
            self.backend_pid = int(answer.rows[0][1])
        if not self.pooled:
            # Not a startup option: `reset_val` in pg_settings must go on to tell the server's own default.
            await self._guarded(connection, marked("session", "set default_transaction_read_only = on"))
        else:
            connection.prepare_threshold = None

    async def close(self) -> None:
        """End the session; a statement in flight is cut off."""
        self._cut("closed")
        async with self._turn:
            await self._drop()

    async def _drop(self) -> None:
        self._unwatch()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close()

    # Asking --------------------------------------------------------------------------------------------------------

    async def fetch(self, sql: str, params: Sequence[Any] = (), *, deadline: Seconds | None = None) -> Answer:
        """Run one statement. Raises Unreachable when the session is lost (or there is none), psycopg.Error when the
        server refused the statement and the session goes on.
        """
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise Unreachable(State.UNKNOWN, "not connected")
            self._unwatch()
            try:
                answer = await self._guarded(connection, sql, params, deadline)
            except Unreachable:
                await self._drop()
                raise
            self._watch_idle()
            return answer

    async def _guarded(
        self, connection: Connection, sql: str, params: Sequence[Any] = (), deadline: Seconds | None = None
    ) -> Answer:
        loop = asyncio.get_running_loop()
        limit = min(deadline or self._query_deadline, self._query_deadline) + _WATCHDOG_SLACK
        watchdog = loop.call_later(limit, self._cut, f"no answer within {limit:.2f} s", connection)
        asking = loop.create_task(self._ask(connection, sql, params))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._cut("cancelled", connection)
            with contextlib.suppress(Exception):
                await asking
            raise
        except psycopg.Error as error:
            if self._cut_why:
                raise Unreachable(State.HANGING, self._cut_why) from error
            if connection.closed:
                raise Unreachable(state_of(str(error)), one_line(str(error))) from error
            raise
        finally:
            watchdog.cancel()

    async def _ask(self, connection: Connection, sql: str, params: Sequence[Any]) -> Answer:
        loop = asyncio.get_running_loop()
        started = loop.time()
        if not self.pooled:
            return _answer(*await self._execute(connection, sql, params), loop.time() - started)
        local = "; ".join(f"set local {name} = '{value}'" for name, value in self._settings.items())
        await connection.execute(f"begin read only; {local}".encode())
        try:
            columns, rows = await self._execute(connection, sql, params)
        except psycopg.Error:
            if not connection.closed:
                await connection.execute(b"rollback")
            raise
        await connection.execute(b"commit")
        return _answer(columns, rows, loop.time() - started)

    async def _execute(
        self, connection: Connection, sql: str, params: Sequence[Any]
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        cursor = await connection.execute(sql.encode(), params or None)
        if cursor.description is None:
            return (), []
        return tuple(column.name for column in cursor.description), await cursor.fetchall()

    # The socket ----------------------------------------------------------------------------------------------------

    def _cut(self, why: str, connection: Connection | None = None) -> None:
        """Shut the socket down under whoever waits on it. Both directions end, so the wait ends now."""
        connection = connection or self._connection
        if connection is None or connection.closed:
            return
        self._cut_why = why
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
        ):
            duplicate.shutdown(socket.SHUT_RDWR)

    def _watch_idle(self) -> None:
        if self._connection is not None and not self._connection.closed:
            self._watched = self._connection.fileno()
            asyncio.get_running_loop().add_reader(self._watched, self._stirred)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = -1

    def _stirred(self) -> None:
        # It may be a mere notice: the next statement reads what there is, and fails if it was the end.
        self._unwatch()
        self._disturbed()


def _answer(columns: tuple[str, ...], rows: list[tuple[Any, ...]], seconds: Seconds) -> Answer:
    return Answer(columns=columns, rows=rows, seconds=seconds)


def _milliseconds(setting: str) -> int:
    """Postgres shows a time in the largest unit that divides it."""
    units = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    digits = setting.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) * units.get(setting[len(digits) :], 1)


async def _accepts(target: str) -> bool:
    """Whether the port completes a TCP handshake: a stopped server's does, a lost host's does not."""
    given = conninfo_to_dict(target)
    host, port = str(given.get("hostaddr") or given.get("host") or ""), str(given.get("port") or "5432")
    if not host or host.startswith(("/", "@")) or "," in host or "," in port:
        return True
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
