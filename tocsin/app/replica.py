"""What changes when this replica begins or ends to lead.

    begins   every claim is put back and in doubt, the book and the alerts are the store's, delivery runs
    cut off  delivery stops; the book goes on in memory, and what it owes the store is kept
    ends     delivery stops, what was not stored is void; the book is read from the store now and then, for the pages

On SQLite it begins at the start and never ends.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from tocsin.config import Config
from tocsin.errors import StateError
from tocsin.model import Seconds
from tocsin.ports import Clock
from tocsin.runtime.delivery import Delivery, Endpoint
from tocsin.runtime.ending import ended
from tocsin.runtime.leadership import Leadership, Standing
from tocsin.runtime.lifeboat import Lifeboat
from tocsin.runtime.pipeline import Pipeline, RulesOf
from tocsin.state import Restored, State
from tocsin.state.engine import connect
from tocsin.state.lease import Fence, Leases, Me
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

LOOK_EVERY: Final[Seconds] = 1.0
"""How old a follower's pages may be."""
SETTLE: Final = timedelta(seconds=1)
"""What a predecessor was sending when it lost the lease may still be on its way: it is read back after this."""
TRY_AGAIN: Final[Seconds] = 0.5


@dataclass(kw_only=True)
class Replica:
    """Makes the daemon what its leadership says. All on one event loop."""

    leadership: Leadership
    state: State
    clock: Clock
    pipeline: Pipeline
    delivery: Delivery
    lifeboat: Lifeboat
    rules_of: RulesOf
    """The rules in force."""
    endpoints: Callable[[], Iterable[Endpoint]]
    """The notifiers in force."""
    resumed: Callable[[], Awaitable[None]]
    """Before delivery begins: this replica may send."""
    paused: Callable[[], Awaitable[None]]
    """And after it ended."""
    _led: int | None = None
    """The epoch that the pipeline leads with; 0 on SQLite."""
    _in_doubt: int = 0
    _mark: tuple[object, ...] = ()
    _serves: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def begin(self) -> None:
        """At the start: lead if nobody does. Raises StateError."""
        await self.leadership.begin()
        if self.leadership.standing is Standing.LEADS:
            await self._take_over()
        else:
            await self._look()
            logger().info("daemon.follows", leader=self.leader)

    async def start(self, address: str) -> None:
        """Deliver, if we lead, and go on as leadership changes."""
        self.leadership.me = replace(self.leadership.me, address=address)
        self._serves = True
        self.delivery.install(self.endpoints())
        await self._settled()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self.leadership.run(), name="leadership"),
            loop.create_task(self._follow(), name="replica"),
        ]

    async def stop(self, *, drain: Seconds) -> None:
        """Send what is due for `drain` seconds, then let another lead."""
        # The beats go on meanwhile: what is sent is sent under a lease.
        if len(self._tasks) > 1:
            await ended(self._tasks.pop())
        await self.delivery.stop(drain=drain)
        await ended(*self._tasks)
        await self.leadership.give_back()

    @property
    def leader(self) -> str:
        """Where the leader is, if this replica follows one; else empty."""
        lease = self.leadership.lease
        if self.leadership.standing is not Standing.FOLLOWS or lease is None:
            return ""
        return lease.address or lease.holder

    # Changes ---------------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self.leadership.changed.wait()
            self.leadership.changed.clear()
            try:
                await self._settled()
                if self.leadership.standing is Standing.FOLLOWS:
                    await self._look()
            except StateError as error:
                logger().warning("replica.tries_again", standing=self.leadership.standing.value, error=str(error))
                await self.clock.sleep(TRY_AGAIN)
                self.leadership.changed.set()
            except Exception:  # noqa: BLE001 (nothing may end this: without it nobody would lead here)
                logger().exception("replica.failed")
                await self.clock.sleep(TRY_AGAIN)
                self.leadership.changed.set()

    async def _settled(self) -> None:
        standing, epoch = self.leadership.standing, self._epoch
        if self._led is not None and (standing is Standing.FOLLOWS or epoch != self._led):
            await self._step_down()
        if standing is Standing.CUT_OFF:
            await self._pause()
        elif standing is Standing.LEADS:
            if self._led is None:
                await self._take_over()
            if self._serves and not self.delivery.runs:
                # Nothing is on its way from here: what was claimed before a pause is put back with the rest.
                await self.state.take_over(self.clock.now() + self._settle)
                await self.resumed()
                self.delivery.start(self.endpoints())

    @property
    def _epoch(self) -> int:
        return self.leadership.epoch or 0

    @property
    def _settle(self) -> timedelta:
        return SETTLE if self.state.fence is not None else timedelta(0)

    async def _take_over(self) -> None:
        epoch = self._epoch
        if self.state.fence is not None:
            self.state.fence.epoch = epoch
        self._in_doubt = await self.state.take_over(self.clock.now() + self._settle)
        await self.pipeline.take_over(self._load, self.rules_of)
        self._led = epoch

    async def _load(self) -> Restored:
        restored = await self.state.load(self.clock.now())
        logger().info(
            "daemon.restored", alerts=len(restored.alerts), incidents=len(restored.files),
            silences=len(restored.silences), in_doubt=self._in_doubt,
        )  # fmt: skip
        return restored

    async def _pause(self) -> None:
        if self.delivery.runs:
            await self.delivery.stop(drain=0.0)
            await self.paused()

    async def _step_down(self) -> None:
        self._led = None
        if self.state.fence is not None:
            self.state.fence.epoch = None
        await self._pause()
        await self.lifeboat.close()
        await self.pipeline.follow()
        self._mark = ()

    async def _look(self) -> None:
        """Read what the leader has stored, if it stored anything since."""
        mark = await self.state.mark()
        if mark != self._mark:
            await self.pipeline.see(await self.state.load(self.clock.now()))
            self._mark = mark


def leadership_of(config: Config, state: State, telemetry: Telemetry) -> Leadership:
    """Who leads is asked of Postgres; with SQLite's file this is the only daemon. From here on `state` is fenced."""
    if state.file is not None:
        return Leadership(telemetry=telemetry)
    lease = config.state.lease
    state.fence = Fence(idle=lease)
    me = Me(name=f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}")
    leases = Leases(connect(config.state_url, patience=max(1.0, lease / 2), most=1), lease)
    return Leadership(telemetry=telemetry, leases=leases, me=me, seconds=lease)
