"""The task between polls ends when it is told to, though the server goes away in the same moment."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from collectors.postgres.state import State, Unreachable
from collectors.postgres.watcher import Watcher


class Lost:
    """A link whose server is away, and that is not tried again for long."""

    def __init__(self) -> None:
        self.stirred = asyncio.Event()

    async def ensure(self) -> None:
        raise Unreachable(State.DOWN, "away")

    def wait_for_attempt(self) -> float:
        return 600.0


@pytest.mark.parametrize("turns", range(4))
async def test_news_of_the_end_at_the_end(turns: int) -> None:
    """The news stirs the task in the very turn of the loop in which it is cancelled, or in one of the next."""
    link = Lost()
    watcher = Watcher(cast(Any, link), cast(Any, None), interval=1.0, poke=lambda: None)
    watcher.start()
    await asyncio.sleep(0.01)
    link.stirred.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await watcher.stop()
