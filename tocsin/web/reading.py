"""Queries beside the daemon's own work: in threads, bounded in time and number, and never in the way of an alert.

A query runs in a worker thread. It needs the pipeline's lock only to take its samples from the store (`select`: views
of columns, well under a millisecond for recent samples; sealed ones are decoded). What it takes stays as it is however
many samples come meanwhile, so all the reckoning goes on without the lock, and a poll waits for one `select` at most,
never for a query.

A query ends at its time limit (checked between its parts), when its client goes away, and when the daemon ends. No
more than `AT_ONCE` run at a time; the time spent waiting for a turn counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final, TypeVar

from starlette.requests import Request

from tocsin.errors import EvaluationError
from tocsin.model import Matcher, Seconds
from tocsin.ports import Clock
from tocsin.promql import CANCELED, DEFAULT_LIMITS, TIMED_OUT, Dictionary, Limits, Panel, Storage
from tocsin.series import Store
from tocsin.tasks import end_tasks

TIME_LIMIT: Final[Seconds] = 10.0
"""A query's end at the latest; the parameter `timeout` can only lower it."""
AT_ONCE: Final = 4
_QUEUED: Final = "query timed out in query queue"
_LOOK: Final[Seconds] = 0.2
"""How often a query that waits for the store sees whether it is still wanted."""
_TRIES: Final = 3

Result = TypeVar("Result")
Reading = Callable[[], AbstractAsyncContextManager[Store]]
"""The pipeline's `reading`."""
Work = Callable[[Storage, Limits], Result]


class Stopped(EvaluationError):
    """The query was ended before it was done."""


class TimedOut(Stopped):
    """Its time was up."""


class Canceled(Stopped):
    """Nobody waits for it any more."""


class _Renumbered(Exception):
    """The store has numbered its labels anew in the middle of a query: begin again."""


class _Watch:
    """Whether a query should go on. Read by its thread, set by the loop."""

    def __init__(self, clock: Clock, ends: Seconds) -> None:
        self.gone = False
        self._clock = clock
        self.ends = ends

    def check(self) -> None:
        """Raises TimedOut and Canceled."""
        if self.gone:
            raise Canceled(CANCELED)
        if self._clock.monotonic() >= self.ends:
            raise TimedOut(TIMED_OUT)


class Reader:
    """Runs queries. One for the daemon's life."""

    def __init__(self, reading: Reading, clock: Clock, *, time_limit: Seconds = TIME_LIMIT) -> None:
        self.time_limit = time_limit
        self._reading = reading
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="query")
        self._watches: set[_Watch] = set()

    def close(self) -> None:
        """End what runs; nothing begins any more."""
        for watch in self._watches:
            watch.gone = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Work[Result], *, request: Request | None = None, limit: Seconds | None = None) -> Result:
        """The result of `work(storage, limits)`, done in a thread. Raises what it raises, TimedOut and Canceled.

        `request`: its client going away ends the work. `limit` lowers the time limit.
        """
        seconds = self.time_limit if limit is None else min(limit, self.time_limit)
        watch = _Watch(self._clock, self._clock.monotonic() + seconds)
        watcher = asyncio.ensure_future(_until_gone(request, watch)) if request is not None else None
        self._watches.add(watch)
        try:
            try:
                async with asyncio.timeout(seconds):
                    await self._turns.acquire()
            except TimeoutError:
                raise TimedOut(_QUEUED) from None
            try:
                return await self._in_thread(work, watch)
            finally:
                self._turns.release()
        except asyncio.CancelledError:
            watch.gone = True
            raise
        finally:
            self._watches.discard(watch)
            if watcher is not None:
                await end_tasks(watcher)

    async def _in_thread(self, work: Work[Result], watch: _Watch) -> Result:
        loop = asyncio.get_running_loop()
        async with self._reading() as store:
            dictionary = store.dictionary
        limits = replace(DEFAULT_LIMITS, check=watch.check)
        for _ in range(_TRIES):
            borrowed = _Borrowed(self._reading, loop, dictionary, watch)
            try:
                return await loop.run_in_executor(self._threads, work, borrowed, limits)
            except _Renumbered:
                async with self._reading() as store:
                    dictionary = store.dictionary
        raise EvaluationError("the store is being reorganised; ask again")

    async def look(self, glance: Callable[[Store], Result]) -> Result:
        """The result of a short look at the store itself, in a thread while nothing is written to it."""
        async with self._turns:
            return await _held(self._reading, glance)


class _Borrowed:
    """A promql Storage for a query's thread: the store, taken for one `select` at a time."""

    def __init__(
        self, reading: Reading, loop: asyncio.AbstractEventLoop, dictionary: Dictionary, watch: _Watch
    ) -> None:
        self.dictionary = dictionary
        self._reading = reading
        self._loop = loop
        self._watch = watch

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """As the store's. Raises TimedOut and Canceled."""
        self._watch.check()

        def glance(store: Store) -> Sequence[Panel]:
            if store.dictionary is not self.dictionary:
                raise _Renumbered
            return store.select(matchers, after, until)

        coming = asyncio.run_coroutine_threadsafe(_held(self._reading, glance), self._loop)
        while True:
            try:
                return coming.result(_LOOK)
            except TimeoutError:
                # It is left to end by itself: the lock must not be given back while it looks.
                self._watch.check()


async def _held(reading: Reading, glance: Callable[[Store], Result]) -> Result:
    async with reading() as store:
        looking = asyncio.get_running_loop().run_in_executor(None, glance, store)
        try:
            return await asyncio.shield(looking)
        except asyncio.CancelledError:
            # Whatever becomes of who asked: the store is not given back before the look at it has ended.
            await asyncio.wait({looking})
            raise


async def _until_gone(request: Request, watch: _Watch) -> None:
    """Set the watch when the client hangs up. The body has been read by now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    watch.gone = True
