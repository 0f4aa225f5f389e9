"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

from tocsin.model import Seconds

START = datetime(2026, 1, 5, 14, 2, tzinfo=UTC)
"""A Monday afternoon."""


class VirtualClock:
    """A ports.Clock whose time passes only in `advance`. Sleepers wake in the order of their time.

    The wall clock may be set apart from the monotonic one with `jump`, as an operator or NTP would.
    """

    def __init__(self, at: datetime = START) -> None:
        self._wall = at
        self._monotonic = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> Seconds:
        return self._monotonic

    def skew(self) -> Seconds:
        """0: it follows a jump, and is never ahead."""
        return 0.0

    async def sleep(self, seconds: Seconds) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), done))
        await done

    def pass_(self, seconds: Seconds) -> None:
        """Move both clocks on and release who slept until then, without letting anyone run yet."""
        ends = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= ends:
            at, _, done = heapq.heappop(self._sleepers)
            self._move(max(0.0, at - self._monotonic))
            if not done.done():
                done.set_result(None)
        self._move(ends - self._monotonic)

    async def advance(self, seconds: Seconds) -> None:
        """Let time pass; each sleeper runs at its own time, before the next one's comes."""
        ends = self._monotonic + seconds
        await _let_run()
        while self._sleepers and self._sleepers[0][0] <= ends:
            self.pass_(max(0.0, self._sleepers[0][0] - self._monotonic))
            await _let_run()
        self._move(ends - self._monotonic)
        await _let_run()

    def jump(self, seconds: Seconds) -> None:
        """Set the wall clock forward or back; the monotonic clock does not notice."""
        self._wall += timedelta(seconds=seconds)

    def _move(self, seconds: Seconds) -> None:
        self._monotonic += seconds
        self._wall += timedelta(seconds=seconds)


async def _let_run() -> None:
    # Enough turns for a chain of tasks that wake each other; none of them waits for anything but this loop.
    for _ in range(20):
        await asyncio.sleep(0)
