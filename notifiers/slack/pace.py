"""Slack's pace: about one message a second and channel. Whoever sends waits for its turn here.

The turn goes to posts before edits and to P0 before P1. It is spaced by the monotonic clock, so a wall clock that jumps
neither floods nor stalls it. A 429 holds back the method that got it, for as long as it says: chat.update may be
throttled while chat.postMessage is not. Who can't have a turn within its patience is told when to come again.
Coalescing many edits into one is the policy's, not this module's.
"""

from __future__ import annotations

import itertools
from typing import Final

from tocsin.errors import Throttled
from tocsin.model import Seconds
from tocsin.ports import Clock

Rank = tuple[int, int]
"""(0 post, 1 edit), then the severity's rank: the smallest goes first."""

_NOT_MY_TURN: Final[Seconds] = 0.01


class Pace:
    """The turns of one channel."""

    def __init__(self, clock: Clock, spacing: Seconds) -> None:
        self._clock = clock
        self._spacing = spacing
        self._next: Seconds = clock.monotonic()
        self._held: dict[str, Seconds] = {}
        self._waiting: list[tuple[Rank, int, str]] = []
        self._numbers = itertools.count()

    def hold(self, method: str, seconds: Seconds) -> None:
        """Let no call of `method` go before `seconds` have passed."""
        self._held[method] = max(self._held.get(method, 0.0), self._clock.monotonic() + seconds)

    async def turn(self, method: str, rank: Rank, patience: Seconds) -> None:
        """Return when it is this call's turn. Raises Throttled when that takes longer than `patience`."""
        ticket = (rank, next(self._numbers), method)
        gives_up = self._clock.monotonic() + patience
        self._waiting.append(ticket)
        try:
            while True:
                now = self._clock.monotonic()
                ready = max(self._next, self._held.get(method, now))
                if ready <= now and self._first(now) == ticket:
                    self._next = now + self._spacing
                    return
                if max(ready, now) > gives_up:
                    wait = max(ready - now, self._spacing)
                    raise Throttled(f"no turn for {method} in this channel for {wait:.1f} s", retry_after=wait)
                await self._clock.sleep(max(ready - now, _NOT_MY_TURN))
        finally:
            self._waiting.remove(ticket)

    def _first(self, now: Seconds) -> tuple[Rank, int, str] | None:
        """Who is next among those whose method is not held back."""
        return min((ticket for ticket in self._waiting if self._held.get(ticket[2], now) <= now), default=None)
