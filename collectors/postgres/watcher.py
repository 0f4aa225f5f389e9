"""Between polls: looks at what runs, notices at once that the server went away, and that it came back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import psycopg

from collectors.postgres.groups import statement
from collectors.postgres.link import Link
from collectors.postgres.slow import SlowQueries, running
from collectors.postgres.state import Unreachable, one_line
from tocsin.model import Seconds
from tocsin.tasks import end_tasks

GROUP: Final = "activity_looks"
_FIRST_WITH_QUERY_ID: Final = 14
_COST_SHARE: Final = 20
"""Looks take a twentieth of one backend's time at most, however many statements are about to become slow."""
_AT_LEAST: Final = 0.01
_PAST_CROSSING: Final = 0.001


class Watcher:
    """A task that looks. `poke` asks for a poll when there is something new."""

    def __init__(self, link: Link, slow: SlowQueries, *, interval: Seconds, poke: Callable[[], None]) -> None:
        self._link = link
        self._slow = slow
        self._interval = interval
        self._poke = poke
        self._task: asyncio.Task[None] | None = None
        self._last_look: float | None = None
        self._longest_gap = 0.0
        self.news = False
        """A slow query was found since this was last set False."""
        self.failure = ""
        """Why the last look was refused; empty when it was not."""

    def start(self) -> None:
        """Begin, unless begun. Raises what ended the task, if anything did."""
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            task.result()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None:
            await end_tasks(task)

    async def _run(self) -> None:
        stirred = self._link.stirred
        while True:
            stirred.clear()
            delay = await self._step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await stirred.wait()

    async def _step(self) -> Seconds:
        try:
            await self._link.ensure()
            return await self.look(poke=True)
        except Unreachable:
            return max(self._link.wait_for_attempt(), _AT_LEAST)

    async def look(self, *, poke: bool = False) -> Seconds:
        """Look once; in how many seconds the next look is due. Raises Unreachable."""
        version = self._link.session.version
        sql = statement("activity").format(query_id="query_id" if version >= _FIRST_WITH_QUERY_ID else "null::bigint")
        try:
            answer = await self._link.fetch(GROUP, sql)
        except psycopg.Error as error:
            self.failure = one_line(str(error))
            return self._interval
        self.failure = ""
        self._measure_gap()
        fresh, crossing = self._slow.look(running(answer.records()))
        if fresh and poke:
            self.news = True
            self._poke()
        if crossing is None or crossing >= self._interval:
            return self._interval
        return max(crossing + _PAST_CROSSING, answer.seconds * _COST_SHARE, _AT_LEAST)

    def _measure_gap(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._last_look is not None:
            self._longest_gap = max(self._longest_gap, now - self._last_look)
        self._last_look = now

    def take_longest_gap(self) -> Seconds:
        """The longest time without a look since this was asked last; endless before the first."""
        if self._last_look is None:
            return float("inf")
        now = asyncio.get_running_loop().time()
        gap, self._longest_gap = max(self._longest_gap, now - self._last_look), 0.0
        return gap
