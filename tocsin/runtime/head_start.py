"""A page leaves before the rest of its storm is looked at.

    head_start.queued(calls)               # of what was committed; a first message of P0 or P1 begins it
    async with head_start.behind(lock):    # what else came in waits here
        ...
    head_start.page_gone()                 # it was sent, or could not be

Between the commit of a page and its sending there are some dozen turns of the loop. When thousands of alerts come in at
once, each of these turns would otherwise wait for a few hundred of them to be parsed, decided on and committed, and
the first message would come when nearly all are done: measured, after seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from tocsin.incidents.calls import Withdrawal
from tocsin.incidents.context import PAGE
from tocsin.model import Action, Notification, Seconds
from tocsin.ports import Clock

LONGEST: Final[Seconds] = 0.5
"""The rest waits no longer, however slow the destination is."""
EVERY: Final[Seconds] = 5.0
"""And no more often: a stream of pages must not slow down what is received."""


class HeadStart:
    """Between what is received and what is sent. All on one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: Seconds | None = None
        self._again: Seconds | None = None
        self._gone = asyncio.Event()

    def queued(self, calls: Iterable[Notification | Withdrawal]) -> None:
        """It begins with a page among `calls`, unless the last one began a moment ago."""
        now = self._clock.monotonic()
        if not any(_is_page(call) for call in calls):
            return
        if self._again is None or now >= self._again:
            self._ends, self._again = now + LONGEST, now + EVERY
            self._gone.clear()

    def page_gone(self) -> None:
        """It is over."""
        self._ends = None
        self._gone.set()

    @asynccontextmanager
    async def behind(self, lock: asyncio.Lock) -> AsyncIterator[None]:
        """Hold `lock`, which is free for others until the head start is over."""
        while True:
            await self._over()
            async with lock:
                # Of several that waited for the lock the first may have brought a page.
                if self._left() <= 0:
                    yield
                    return

    def _left(self) -> Seconds:
        return 0.0 if self._ends is None else self._ends - self._clock.monotonic()

    async def _over(self) -> None:
        if self._left() <= 0:
            return
        waits = {
            asyncio.ensure_future(self._gone.wait()),
            asyncio.ensure_future(self._clock.sleep(self._left())),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


def _is_page(call: Notification | Withdrawal) -> bool:
    return isinstance(call, Notification) and call.action is Action.POST and call.severity.rank <= PAGE.rank
