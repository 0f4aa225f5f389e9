"""Which of several replicas decides and sends, as this one knows it.

    LEADS     the lease is ours, and by our own clock it still holds for a while (`MARGIN`)
    CUT_OFF   it was ours, and has not been renewed in time: nothing is sent; perhaps another leads
    FOLLOWS   another leads, or nobody

On SQLite there is one daemon, and it leads. On Postgres the lease is a row (state/lease.py). Its end is by Postgres'
clock. Here it is counted from before the request that renewed it, by a clock that never goes back and that counts
while the machine sleeps, so that we stop before Postgres lets the next one in, whatever the wall clocks say.

Writing needs no trust in any clock: each transaction holds the fence. Sending does: `permit` is asked right before the
bytes leave. A process that is stopped between that question and the write, a few microseconds, sends late when it
goes on; what such a message may do is in docs/operating.md.

A leader that is cut off keeps its epoch. If nobody took over meanwhile (Postgres was away for all), it goes on where
it was, with what it owes the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from enum import StrEnum
from typing import Final

from tocsin.errors import StateError, Unavailable
from tocsin.model import Seconds
from tocsin.state.lease import Beat, Lease, Leases, Me
from tocsin.tasks import end_tasks
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

BEATS: Final = 3
"""Renewals in a lease."""
MARGIN: Final = 0.1
"""This share of a lease before its end nothing is sent any more: for clocks that run at different speeds."""
LAST_RESORT: Final[Seconds] = 60.0
"""A leader that was cut off for this long, and has heard of other replicas, says what is urgent from memory."""
_SOON: Final[Seconds] = 0.05

from_memory: ContextVar[bool] = ContextVar("from_memory", default=False)
"""Set while the lifeboat sends: it has asked `speaks_from_memory`."""


class Standing(StrEnum):
    LEADS = "leads"
    CUT_OFF = "cut off"
    FOLLOWS = "follows"


def elapsed() -> Seconds:
    """Seconds since the machine began, its sleep included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Leadership:
    """What this replica may do. All on one event loop."""

    def __init__(
        self,
        *,
        telemetry: Telemetry,
        leases: Leases | None = None,
        me: Me | None = None,
        seconds: Seconds = 0.0,
        elapsed: Callable[[], Seconds] = elapsed,
    ) -> None:
        """`leases`: None where there is only one daemon."""
        self.epoch: int | None = None
        """Of our lease, held or cut off."""
        self.lease: Lease | None = None
        """As it was seen last."""
        self.others = 0
        """Replicas beside this one, at the last beat."""
        self.me = me or Me(name="")
        self.changed = asyncio.Event()
        """Set at each change of `standing` or `epoch`; whoever waits for it clears it."""
        self._leases = leases
        self._seconds = seconds
        self._elapsed = elapsed
        self._telemetry = telemetry
        self._until: Seconds = 0.0
        self._seen_until: Seconds = 0.0
        self._ended_at: Seconds = 0.0
        """When the last beat ended, well or not."""
        self._heard_at: Seconds = 0.0
        self._failing_since: Seconds | None = None
        self._told: tuple[Standing, int | None] = (Standing.FOLLOWS, None)
        self._tell()

    # What may be done ------------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        if self._leases is None:
            return Standing.LEADS
        if self.epoch is None:
            return Standing.FOLLOWS
        return Standing.LEADS if self._left() > 0 else Standing.CUT_OFF

    def permit(self) -> None:
        """Raises Unavailable where nothing may be sent. For right before a message's bytes leave."""
        if self.standing is not Standing.LEADS and not from_memory.get():
            raise Unavailable("this replica does not lead: what was to be sent is the leader's to send")

    def speaks_from_memory(self, since: Seconds) -> bool:
        """Whether what the store has not taken since then may be told all the same (lifeboat.py).

        At once where no other replica is known, or where the store is reached and only refuses. Else another may have
        taken over, and will tell it: then only after LAST_RESORT without a word from the store. A process that wakes
        from a stop asks first: its last beat is too old to go by.
        """
        now = self._elapsed()
        if self._leases is None:
            return True
        if self.epoch is None or now - self._ended_at > self._seconds:
            return False
        if self._failing_since is None:
            return self._heard_at > since and self.standing is Standing.LEADS
        return self.others == 0 or now - self._failing_since >= LAST_RESORT

    def elapsed(self) -> Seconds:
        """The clock that leases are counted by."""
        return self._elapsed()

    def _left(self) -> Seconds:
        return self._until - self._seconds * MARGIN - self._elapsed()

    # Beats -----------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """The first beat. Raises StateError."""
        if self._leases is not None:
            self._heard(self._elapsed(), await self._leases.beat(self.me, None))
        self._tell()

    async def run(self) -> None:
        """Until cancelled. Returns at once where there is only one daemon."""
        while self._leases is not None:
            await self._watched(asyncio.ensure_future(asyncio.sleep(self._pause())))
            await self._watched(asyncio.ensure_future(self._beat(self._leases)))

    async def give_back(self) -> None:
        """End our lease, so that another takes over at once. Nothing may be sent from now on."""
        epoch, self.epoch = self.epoch, None
        self._tell()
        if self._leases is None:
            return
        with suppress(StateError):
            await self._leases.give_back(self.me, epoch if epoch is not None else -1)
        with suppress(StateError):
            await self._leases.close()

    async def _watched(self, task: asyncio.Future[None]) -> None:
        """Wait for `task`, and tell when the lease ends meanwhile: a beat may hang for longer than we may lead."""
        try:
            while not task.done():
                left = self._left() if self.standing is Standing.LEADS else None
                await asyncio.wait({task}, timeout=left)
                self._tell()
        finally:
            await end_tasks(task)
        await task

    def _pause(self) -> Seconds:
        usual = self._seconds / BEATS
        if self._failing_since is not None:
            return usual / 2
        if self.epoch is not None:
            return max(_SOON, min(usual, self._until - self._elapsed() - 2 * usual))
        # A follower is there when the lease ends.
        return min(usual, max(_SOON, self._seen_until - self._elapsed() + _SOON))

    async def _beat(self, leases: Leases) -> None:
        began = self._elapsed()
        try:
            beat = await leases.beat(self.me, self.epoch)
        except StateError as error:
            if self._failing_since is None:
                self._failing_since = began
                logger().error("leader.store_lost", standing=self.standing.value, error=str(error))
        else:
            self._heard(began, beat)
        self._ended_at = self._elapsed()

    def _heard(self, began: Seconds, beat: Beat) -> None:
        now = self._elapsed()
        if self._failing_since is not None:
            logger().info("leader.store_found", after=round(now - self._failing_since, 3))
        self._failing_since, self._heard_at, self._ended_at = None, now, now
        if self.epoch is not None and beat.epoch != self.epoch:
            logger().warning("leader.deposed", epoch=self.epoch, by=beat.lease.holder, now=beat.lease.epoch)
        if beat.took_over:
            self._telemetry.takeovers.inc()
            logger().info("leader.took_over", epoch=beat.epoch, without_leader=round(beat.without, 3))
        self.epoch, self.lease, self.others = beat.epoch, beat.lease, beat.others
        # Ours from before it was asked for: never longer than Postgres has it.
        self._until = began + self._seconds
        self._seen_until = now + beat.lease.remaining
        self._tell()

    def _tell(self) -> None:
        standing, telemetry = self.standing, self._telemetry
        known = self._leases is None or self._seen_until > self._elapsed()
        telemetry.leader.set(standing is Standing.LEADS)
        telemetry.leader_known.set(standing is Standing.LEADS or (standing is Standing.FOLLOWS and known))
        telemetry.leader_epoch.set(self.lease.epoch if self.lease is not None else 0)
        telemetry.replicas.set(self.others + 1)
        if self._told != (standing, self.epoch):
            self._told = (standing, self.epoch)
            self.changed.set()
            if self._leases is not None:
                logger().info("leader.standing", standing=standing.value, epoch=self.epoch)
