"""The daemon's own time: the wall clock, but never backwards.

Samples, alerts and leases are ordered by time. A wall clock that is set back (NTP, a resumed VM, a hand) would make
the store refuse every sample as old and hold back every notification until the old time is reached again. So time here
is the wall clock's at the start plus what the monotonic clock has counted since; it follows the wall clock forward and
waits for it when that goes back, advancing all the while. `skew` says by how much it is ahead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from tocsin.model import Seconds, utc

TOLERANCE: Final[Seconds] = 0.25
"""The two clocks drift and are read one after the other; below this they agree."""


class SteadyClock:
    """ports.Clock over the machine's clocks."""

    def __init__(
        self, wall: Callable[[], Seconds] = time.time, monotonic: Callable[[], Seconds] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        """Our time less the monotonic clock."""

    def not_before(self, at: datetime) -> None:
        """Go on from `at` where that is later than now: what was stored before a restart has happened already."""
        behind = at.timestamp() - self._seconds()
        if behind > 0:
            self._offset += behind

    def now(self) -> datetime:
        """Aware, UTC; never earlier than what it said before."""
        return utc(self._seconds())

    def _seconds(self) -> Seconds:
        counted = self._monotonic()
        ahead = self._wall() - (counted + self._offset)
        if ahead > TOLERANCE:  # the wall clock went forward: follow
            self._offset += ahead
        return counted + self._offset

    def monotonic(self) -> Seconds:
        """Seconds; only differences mean something."""
        return self._monotonic()

    def skew(self) -> Seconds:
        """Seconds by which this clock is ahead of the wall clock; about 0 unless that was set back."""
        return self._seconds() - self._wall()

    async def sleep(self, seconds: Seconds) -> None:
        """Wait, by the monotonic clock."""
        await asyncio.sleep(seconds)
