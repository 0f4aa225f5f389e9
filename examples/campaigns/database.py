"""The statements, and the database that they go to. Every wait for it has an end (`tocsin.asgi.database`): Postgres
down or slow is `Unavailable` within about a second, never a hanging request."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from tocsin.asgi.database import Connection, Database

_HERE: Final = Path(__file__).parent
QUERIES: Final = {path.stem: path.read_text(encoding="utf-8") for path in (_HERE / "queries").glob("*.sql")}
"""Each statement of `queries/` by its file's name."""


def make_database(dsn: str, *, size: int = 12) -> Database:
    """Not open yet. A user waits for a 503 a second at most: nearly all of it may be spent waiting for a connection."""
    return Database(dsn, name="campaigns", size=size, wait=0.9, session={"timezone": "UTC"})


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
