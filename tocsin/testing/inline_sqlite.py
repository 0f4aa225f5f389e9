"""A state store without threads: the same SQLite, the same SQL, each call run at once where it is awaited.

aiosqlite runs each call on a thread and wakes the loop when it is done, and SQLAlchemy's asyncio layer switches
greenlets for it. In a simulation of thousands of steps nearly all of the time goes into that, and the order of events
depends on it. Files aren't synced either: a crash here is the process' end, and not the machine's.

`open_inline` gives a State that can't tell the difference: what stands in for its AsyncEngine has the few methods that
tocsin.state calls. The dialect is the same object for all of them, so that a statement is compiled once for each
process, and not once for each crash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import StaticPool

from tocsin.state import State
from tocsin.state.engine import BEGIN

_COMPILED: Final[dict[Any, Any]] = {}
_SHARED: Final = sa.create_engine("sqlite://").dialect


class InlineConnection:
    """AsyncConnection's methods, over a connection that answers at once."""

    def __init__(self, connection: sa.Connection, raw: sqlite3.Connection) -> None:
        self.dialect = connection.dialect
        self._connection = connection
        self._raw = raw
        self._begin = "BEGIN IMMEDIATE"

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    async def run_sync(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self._connection, *args)

    async def execution_options(self, **options: Any) -> InlineConnection:
        self._begin = options.get(BEGIN, self._begin)
        return self

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[InlineConnection]:
        # Past SQLAlchemy, whose own transaction is open all the time and says nothing to this driver.
        self._raw.execute(self._begin)
        try:
            yield self
        except BaseException:
            self._raw.rollback()
            raise
        self._raw.commit()


class InlineEngine:
    """AsyncEngine's methods, over one connection to `file`: there is one thread, and it waits for nobody."""

    def __init__(self, file: Path) -> None:
        self._raw = sqlite3.connect(file, timeout=5.0, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=OFF"):
            self._raw.execute(f"PRAGMA {pragma}")
        engine = sa.create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool)
        engine.dialect = _SHARED
        self.dialect = _SHARED
        self.url = sa.make_url(f"sqlite:///{file}")
        self._connection = engine.execution_options(compiled_cache=_COMPILED).connect()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[InlineConnection]:
        yield InlineConnection(self._connection, self._raw)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[InlineConnection]:
        async with InlineConnection(self._connection, self._raw).begin() as connection:
            yield connection

    async def dispose(self) -> None:
        self._connection.close()
        self._raw.close()


async def open_inline(file: Path) -> State:
    """A State over `file`, which exists already. Raises StateError."""
    return await State.over(cast(AsyncEngine, InlineEngine(file)))
