"""Auth's database, asked in read-only transactions that end in time.

Settings hold as long as the transaction does, so that a pooler may be between. Where the server does not answer at all
the socket is shut down: cancelling would first ask the server.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

from collectors.auth_logs.settings import Sql
from collectors.auth_logs.sources.source import Trouble
from tocsin.model import Seconds
from tocsin.ports import secret_text

_SLACK: Final[Seconds] = 0.5
"""How much longer than statement_timeout we wait: the server's own end of a statement costs no session."""


class TooSlow(Trouble):
    """The statement was cancelled at its deadline, or it waited for a lock."""


class Database:
    """One connection, made when it is needed."""

    def __init__(self, settings: Sql) -> None:
        self._settings = settings
        self.connection: psycopg.AsyncConnection[Any] | None = None

    async def ask(self, sql: str, params: Sequence[Any], *, of: str, when_slow: str) -> list[Any]:
        """The rows. Raises Trouble that says what to do: `of` names what is read, `when_slow` what makes it faster."""
        deadline = self._settings.query_deadline
        try:
            connection = await self._connected()
            cut = asyncio.get_running_loop().call_later(deadline + _SLACK, _cut, connection)
            try:
                async with connection.transaction(), connection.cursor() as cursor:
                    await cursor.execute("set transaction read only")
                    limits = f"set local statement_timeout = {round(deadline * 1000)}; set local lock_timeout = 100"
                    await cursor.execute(limits.encode(), prepare=False)
                    await cursor.execute(sql.encode(), params, prepare=False)
                    return await cursor.fetchall()
            finally:
                cut.cancel()
        except psycopg.errors.QueryCanceled:
            raise TooSlow(f"reading {of} took longer than {deadline:g}s: {when_slow}") from None
        except psycopg.Error as error:
            if self.connection is not None and (self.connection.closed or self.connection.broken):
                await self.close()
            raise Trouble(_mend(error, of)) from None

    async def close(self) -> None:
        """The connection ends."""
        if (connection := self.connection) is not None:
            self.connection = None
            with suppress(psycopg.Error, OSError):
                await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self.connection is None or self.connection.closed:
            self.connection = await psycopg.AsyncConnection.connect(
                secret_text(self._settings.dsn), autocommit=True, prepare_threshold=None,
                connect_timeout=max(2, round(self._settings.query_deadline)), application_name="tocsin auth_logs",
            )  # fmt: skip
        return self.connection


def _cut(connection: psycopg.AsyncConnection[Any]) -> None:
    """Shut the socket down under whoever waits on it."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def _mend(error: psycopg.Error, of: str) -> str:
    what = str(error).strip().partition("\n")[0]
    match error:
        case psycopg.errors.InsufficientPrivilege():
            return (
                f"{of}: {what}; as a role that may: GRANT USAGE ON SCHEMA auth TO the role; "
                f"GRANT SELECT ON {of} TO the role; and ALTER ROLE the role BYPASSRLS"
            )
        case psycopg.errors.UndefinedTable() | psycopg.errors.InvalidSchemaName():
            return f"{what}; source.sql.dsn must lead to the database of Supabase Auth"
        case psycopg.errors.UndefinedColumn():
            return f"{of}: {what}; this Auth is too old to be read, upgrade it"
        case _:
            return f"the database of source.sql can't be read: {what}"
