"""The database, with an end to every wait: connecting, taking a connection, a lock, a statement, an idle transaction.

Postgres down or slow is `Unavailable` within about a second; a caller never hangs on it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from examples.campaigns.problems import Unavailable

log = logging.getLogger("campaigns.database")

Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]

_HERE: Final = Path(__file__).parent
QUERIES: Final = {path.stem: path.read_text(encoding="utf-8") for path in (_HERE / "queries").glob("*.sql")}
"""Each statement of `queries/` by its file's name."""

WAIT: Final = 0.5
"""Seconds a request waits for a connection before it is told to come back."""
_SESSION: Final = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}


async def _configure(connection: Connection) -> None:
    for name, value in _SESSION.items():
        await connection.execute(sql.SQL("set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    await connection.commit()


def make_pool(dsn: str, *, size: int = 8, application_name: str = "campaigns") -> Pool:
    """A pool that is not open yet. It opens without a database, and finds it when it is there."""
    return AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=size,
        open=False,
        timeout=WAIT,
        max_waiting=200,
        # Idle connections of a Postgres that was restarted are dead: find out before a request does.
        check=AsyncConnectionPool.check_connection,
        configure=_configure,
        # Given up soon, because the next request starts a fresh attempt at once, where a retry backs off for seconds.
        reconnect_timeout=1.0,
        kwargs={"row_factory": dict_row, "connect_timeout": 2, "application_name": application_name},
        name=application_name,
    )


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a transaction that commits at the end. Raises Unavailable where the database can't serve it."""
    try:
        async with pool.connection() as connection:
            yield connection
    except PoolTimeout:
        raise Unavailable(f"The database gave no connection within {WAIT} s.") from None
    except psycopg.errors.QueryCanceled:
        raise Unavailable("The database took too long over this request.") from None
    except psycopg.OperationalError as error:
        log.warning("database failed: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise Unavailable("The database did not answer.") from None


async def rows(connection: Connection, query: str, **values: Any) -> list[DictRow]:
    """The rows of the statement `queries/{query}.sql`."""
    cursor = await connection.execute(QUERIES[query], values)
    return await cursor.fetchall()


async def row(connection: Connection, query: str, **values: Any) -> DictRow | None:
    """Its first row."""
    cursor = await connection.execute(QUERIES[query], values)
    return await cursor.fetchone()


async def run(connection: Connection, query: str, **values: Any) -> int:
    """How many rows it changed."""
    cursor = await connection.execute(QUERIES[query], values)
    return cursor.rowcount


async def prepare(dsn: str, *, seed: bool = False) -> None:
    """Apply schema.sql, and seeds.sql where `seed`. Any number of times, by any number of processes at once."""
    async with await AsyncConnection.connect(dsn, connect_timeout=5) as connection:
        await connection.execute(QUERIES["apply_lock"])
        await connection.execute((_HERE / "schema.sql").read_text(encoding="utf-8"))
        if seed:
            await connection.execute((_HERE / "seeds.sql").read_text(encoding="utf-8"))
