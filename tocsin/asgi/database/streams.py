"""A statement whose rows come one by one: how long the database took, without what the reader does between two rows."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from tocsin.model import Seconds

Ended = Callable[[Seconds, BaseException | None], None]
"""Told how long the database took, and what ended it; a reader that has enough is no error."""


def streamed(rows: Generator[Any], ended: Ended) -> Generator[Any]:
    """`rows`, telling `ended` when they are over, or left."""
    spent, error = 0.0, None
    try:
        while True:
            began = time.perf_counter()
            try:
                row = next(rows)
            except StopIteration:
                return
            except BaseException as found:
                error = found
                raise
            finally:
                spent += time.perf_counter() - began
            yield row
    finally:
        rows.close()
        ended(spent, error)


async def streamed_async(rows: AsyncGenerator[Any], ended: Ended) -> AsyncGenerator[Any]:
    """The same for asyncio."""
    spent, error = 0.0, None
    try:
        while True:
            began = time.perf_counter()
            try:
                row = await anext(rows)
            except StopAsyncIteration:
                return
            except BaseException as found:
                error = found
                raise
            finally:
                spent += time.perf_counter() - began
            yield row
    finally:
        await rows.aclose()
        ended(spent, error)
