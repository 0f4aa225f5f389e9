"""A state store without threads: the same SQLite, the same SQL, each call run at once where it is awaited.

aiosqlite runs each call on a thread and wakes the loop when it is done. In a simulation of thousands of steps nearly
all of the time goes into that hand-over, and the order of events depends on it. Files aren't synced either: a crash
here is the process' end, and not the machine's.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite

from tocsin.state import State
from tocsin.state.engine import connect

_COMPILED: dict[Any, Any] = {}


class _AtOnce:
    """Takes the place of the queue to the thread: what is put in is done."""

    def put_nowait(self, work: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = work
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 (handed to whoever awaits it)
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


class InlineConnection(aiosqlite.Connection):
    """aiosqlite's connection, less its thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx: Any = _AtOnce()

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()


async def open_inline(file: Path) -> State:
    """A State over `file`, which exists already. Raises StateError."""

    async def create(*_: Any, **__: Any) -> aiosqlite.Connection:
        return await InlineConnection(partial(sqlite3.connect, file, timeout=5.0))

    engine = connect(f"sqlite:///{file}", durable=False, create=create)
    # An engine that is made anew after each crash would compile every statement anew.
    return await State.over(engine.execution_options(compiled_cache=_COMPILED))
