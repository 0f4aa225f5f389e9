"""psycopg's cursors that tell of each statement when it has ended, whichever way it was asked.

What is told is the time the application waited for the server: of `stream()` and of a cursor on the server (one with a
name) what its fetches took, and not what was done with the rows in between; of `copy()` the whole block, as in it both
sides work at once. A cursor on the server is one statement, from `execute` until it is closed. In a pipeline a
statement is told when it is sent, as its answer comes with that of others.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from typing import Any, Self

import psycopg

from tocsin.model import Seconds


class Waited:
    """Time that adds up, of one statement."""

    seconds: Seconds = 0.0
    error: BaseException | None = None

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.seconds += time.perf_counter() - self._began
        if error is not None and not isinstance(error, (StopIteration, StopAsyncIteration)):
            self.error = error


class TellingCursor(psycopg.Cursor[Any]):
    """The sync one."""

    def told(self, query: Any, waited: Waited, *, many: bool = False) -> None:
        """`query` ended just now."""
        raise NotImplementedError

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
        """As psycopg's."""
        waited = Waited()
        try:
            with waited:
                return super().execute(query, *args, **kwargs)
        finally:
            self.told(query, waited)

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> None:
        """As psycopg's."""
        waited = Waited()
        try:
            with waited:
                super().executemany(query, *args, **kwargs)
        finally:
            self.told(query, waited, many=True)

    def stream(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As psycopg's."""
        waited, end = Waited(), object()
        try:
            with closing(super().stream(query, *args, **kwargs)) as rows:  # type: ignore[type-var]
                while True:
                    with waited:
                        row = next(rows, end)
                    if row is end:
                        return
                    yield row
        finally:
            self.told(query, waited)

    @contextmanager
    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As psycopg's."""
        waited = Waited()
        try:
            with waited, super().copy(statement, *args, **kwargs) as copy:
                yield copy
        finally:
            self.told(statement, waited)


class AsyncTellingCursor(psycopg.AsyncCursor[Any]):
    """The same for asyncio."""

    def told(self, query: Any, waited: Waited, *, many: bool = False) -> None:
        """`query` ended just now."""
        raise NotImplementedError

    async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
        """As psycopg's."""
        waited = Waited()
        try:
            with waited:
                return await super().execute(query, *args, **kwargs)
        finally:
            self.told(query, waited)

    async def executemany(self, query: Any, *args: Any, **kwargs: Any) -> None:
        """As psycopg's."""
        waited = Waited()
        try:
            with waited:
                await super().executemany(query, *args, **kwargs)
        finally:
            self.told(query, waited, many=True)

    async def stream(self, query: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """As psycopg's."""
        waited, end = Waited(), object()
        try:
            async with aclosing(super().stream(query, *args, **kwargs)) as rows:  # type: ignore[type-var]
                while True:
                    with waited:
                        row = await anext(rows, end)
                    if row is end:
                        return
                    yield row
        finally:
            self.told(query, waited)

    @asynccontextmanager
    async def copy(self, statement: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """As psycopg's."""
        waited = Waited()
        try:
            with waited:
                async with super().copy(statement, *args, **kwargs) as copy:
                    yield copy
        finally:
            self.told(statement, waited)


class _OnServer:
    """One statement, from `execute` until the cursor is closed: what it took so far."""

    _asked: tuple[Any, Waited] | None = None

    def told(self, query: Any, waited: Waited, *, many: bool = False) -> None:
        """`query` ended just now."""
        raise NotImplementedError

    def _waiting(self) -> Waited:
        return self._asked[1] if self._asked is not None else Waited()

    def _tell(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            self.told(*asked)


class TellingServerCursor(_OnServer, psycopg.ServerCursor[Any]):
    """A cursor on the server, sync."""

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
        """As psycopg's."""
        self._tell()
        self._asked = (query, Waited())
        with self._asked[1]:
            return super().execute(query, *args, **kwargs)

    def fetchone(self) -> Any:
        """As psycopg's."""
        with self._waiting():
            return super().fetchone()

    def fetchmany(self, size: int = 0) -> list[Any]:
        """As psycopg's."""
        with self._waiting():
            return super().fetchmany(size)

    def fetchall(self) -> list[Any]:
        """As psycopg's."""
        with self._waiting():
            return super().fetchall()

    def __next__(self) -> Any:
        """As psycopg's."""
        with self._waiting():
            return super().__next__()

    def close(self) -> None:
        """As psycopg's."""
        try:
            super().close()
        finally:
            self._tell()


class AsyncTellingServerCursor(_OnServer, psycopg.AsyncServerCursor[Any]):
    """The same for asyncio."""

    async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
        """As psycopg's."""
        self._tell()
        self._asked = (query, Waited())
        with self._asked[1]:
            return await super().execute(query, *args, **kwargs)

    async def fetchone(self) -> Any:
        """As psycopg's."""
        with self._waiting():
            return await super().fetchone()

    async def fetchmany(self, size: int = 0) -> list[Any]:
        """As psycopg's."""
        with self._waiting():
            return await super().fetchmany(size)

    async def fetchall(self) -> list[Any]:
        """As psycopg's."""
        with self._waiting():
            return await super().fetchall()

    async def __anext__(self) -> Any:
        """As psycopg's."""
        with self._waiting():
            return await super().__anext__()

    async def close(self) -> None:
        """As psycopg's."""
        try:
            await super().close()
        finally:
            self._tell()
