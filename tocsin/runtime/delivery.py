"""Delivery: the outbox's rows go to their destinations, each once, and its receipt is durable before it counts as sent.

    delivery = Delivery(state.outbox, clock=…, telemetry=…, tracing=…, heard=…)
    delivery.start(endpoints)      # one worker per notifier: a slow one holds nobody else up
    delivery.wake()                # rows were queued
    delivery.replace(endpoints)    # a reload; what waited for its configuration to be mended is tried at once
    await delivery.stop(drain=10)  # what is due is still sent, within that many seconds

What an error means is its class (tocsin.errors):

  Throttled    the destination says how long: nothing goes there until then; after an edit, that edit alone waits
  Unavailable  certainly not delivered: again, with growing, jittered pauses
  Uncertain    perhaps delivered: read back first, then send again if it is not there
  Refused      fail over to the notifier's `failover` at once; without one, try again every few minutes, because a
               wrong token is mended sooner or later
  EditLost     the message is gone: a new one says it
  TooLarge     no form of it is accepted: a dead letter

A row that was claimed by a process that died counts as uncertain. P0 that has no receipt after 20 s goes to the
`failover` too, whatever the reason; when the first destination takes it after all, its thread says who was told.

`heard(correction)` is called when a destination other than the book thinks was told, or none: give it to
`incidents.heard`, and commit what comes of it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from tocsin.durations import format_duration
from tocsin.errors import StateError
from tocsin.incidents import Correction
from tocsin.model import Notification, Receipt, Seconds
from tocsin.ports import Clock
from tocsin.runtime.courier import Bell, Courier, Desk, Endpoint
from tocsin.runtime.ending import ended
from tocsin.state import Claim, Outbox
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

__all__ = ["FAILOVER_AFTER", "Delivery", "Endpoint"]

FAILOVER_AFTER: Final[Seconds] = 20.0
"""P0 without a receipt for this long is told to the failover as well."""
WATCH_PAUSE: Final = timedelta(seconds=1)
STATE_PAUSE: Final[Seconds] = 1.0
"""After the state store failed."""


class Delivery:
    """The workers, one per notifier, and the watch over P0. All on one event loop."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        clock: Clock,
        telemetry: Telemetry,
        tracing: Tracing,
        heard: Callable[[Correction], Awaitable[None]],
        owner: str = "",
        chance: random.Random | None = None,
        known: Callable[[str], Awaitable[Receipt | None]] | None = None,
        permit: Callable[[], None] = lambda: None,
        page_gone: Callable[[], None] = lambda: None,
    ) -> None:
        self.owner = owner or f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._outbox = outbox
        self._clock = clock
        self._telemetry = telemetry
        self._heard = heard
        self._desk = Desk(
            owner=self.owner,
            outbox=outbox,
            clock=clock,
            telemetry=telemetry,
            tracing=tracing,
            chance=chance or random.Random(),  # noqa: S311 (jitter, not secrets)
            heard=heard,
            fail_over=self.fail_over,
            known=known or _nothing_known,
            permit=permit,
            page_gone=page_gone,
        )
        self._couriers: dict[str, Courier] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watch_bell = Bell()

    # The loops -------------------------------------------------------------------------------------------------------

    def start(self, endpoints: Iterable[Endpoint]) -> None:
        """Begin to deliver, or begin again after a stop. Call it on the loop."""
        self.install(endpoints)
        for name in self._couriers:
            self._run(name)
        self._tasks[""] = asyncio.get_running_loop().create_task(self._watch(), name="deliver:watch")

    def install(self, endpoints: Iterable[Endpoint]) -> None:
        """Have a courier for each endpoint, without running any: for tests that take the steps one by one."""
        wanted = {endpoint.name: endpoint for endpoint in endpoints}
        for name, endpoint in wanted.items():
            if name in self._couriers:
                self._couriers[name].endpoint = endpoint
            else:
                self._couriers[name] = Courier(self._desk, endpoint)
                for outcome in ("refused", "dead"):
                    # There from the start: TocsinDeliveryRefused needs a zero to see the first one rise from.
                    self._desk.telemetry.deliveries.labels(name, outcome)
        self._couriers = {name: self._couriers[name] for name in wanted}

    async def replace(self, endpoints: Iterable[Endpoint]) -> None:
        """A reload. What waits for a destination that is gone waits on, in case it comes back."""
        before = set(self._couriers)
        self.install(endpoints)
        for name in before - set(self._couriers):
            if name in self._tasks:
                await ended(self._tasks.pop(name))
        for name in set(self._couriers) - before if self.runs else ():
            self._run(name)
        for courier in self._couriers.values():
            courier.hope()
        with suppress(StateError):
            await self._outbox.hurry(self._couriers, self._clock.now())
        self.wake()

    def endpoint(self, name: str) -> Endpoint | None:
        """The notifier in force under that name."""
        courier = self._couriers.get(name)
        return None if courier is None else courier.endpoint

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The notifiers in force."""
        return tuple(courier.endpoint for courier in self._couriers.values())

    @property
    def runs(self) -> bool:
        """Between `start` and `stop`."""
        return bool(self._tasks)

    def _run(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self._tasks[name] = loop.create_task(self._serve(self._couriers[name]), name=f"deliver:{name}")

    def wake(self) -> None:
        """Rows were queued: look now. Cheap; call it often."""
        for courier in self._couriers.values():
            courier.bell.ring()
        self._watch_bell.ring()

    async def stop(self, *, drain: Seconds = 10.0) -> None:
        """Send what is due, for `drain` seconds at most; the rest waits in the outbox for the next start."""
        for courier in self._couriers.values():
            courier.draining = True
            courier.bell.ring()
        couriers = [task for name, task in self._tasks.items() if name]
        if couriers:
            limit = asyncio.ensure_future(self._clock.sleep(drain))
            sent = asyncio.ensure_future(asyncio.wait(couriers))
            await asyncio.wait({limit, sent}, return_when=asyncio.FIRST_COMPLETED)
            await ended(limit, sent)
        await ended(*self._tasks.values())
        self._tasks.clear()
        # What they had in mind is in the outbox: whoever delivers next begins with what it finds there.
        served, self._couriers = self.endpoints(), {}
        self.install(served)

    async def _serve(self, courier: Courier) -> None:
        """One destination's loop: until cancelled, or until nothing is due while draining."""
        while True:
            try:
                if await courier.step():
                    continue
                if courier.draining:
                    return
                due = await courier.next_due()
            except StateError as error:
                self._state_failed(error)
                if courier.draining:
                    return
                await self._clock.sleep(STATE_PAUSE)
                continue
            except Exception:  # noqa: BLE001 (one destination's trouble must not end its loop)
                logger().exception("delivery.courier_failed", notifier=courier.endpoint.name)
                await self._clock.sleep(STATE_PAUSE)
                continue
            await courier.bell.wait(self._clock, due)

    async def _watch(self) -> None:
        """The loop that fails P0 over on the clock."""
        while True:
            try:
                await self.watch()
                due = await self._outbox.next_overdue(FAILOVER_AFTER)
            except StateError as error:
                self._state_failed(error)
                await self._clock.sleep(STATE_PAUSE)
                continue
            if due is not None:
                # What is overdue and has no failover must not make this spin.
                due = max(due, self._clock.now() + WATCH_PAUSE)
            await self._watch_bell.wait(self._clock, due)

    # Steps -----------------------------------------------------------------------------------------------------------

    async def step(self, name: str) -> bool:
        """Deliver the one row that `name` should get next → False when there is none. Raises StateError."""
        return await self._couriers[name].step()

    async def next_dues(self) -> dict[str, datetime]:
        """When each destination that has something to do has it next. Raises StateError."""
        rows = await self._outbox.next_dues()
        dues = {name: courier.due(rows.get(name)) for name, courier in self._couriers.items()}
        return {name: due for name, due in dues.items() if due is not None}

    async def watch(self) -> None:
        """Fail over what is overdue. Raises StateError."""
        now = self._clock.now()
        for row in await self._outbox.overdue(now, FAILOVER_AFTER):
            waited = format_duration(round((now - row.created_at).total_seconds()))
            why = f"no receipt after {waited}" + (f", {row.last_error}" if row.last_error else "")
            await self.fail_over(row, why, None)

    async def fail_over(self, row: Notification, why: str, claim: Claim | None) -> bool:
        """Tell the notifier's failover → False when it has none that could help. Raises StateError, StaleClaim."""
        to = self._failover_of(row)
        if to is None:
            return False
        correction = await self._outbox.fail_over(row, to, why, self._clock.now(), claim=claim)
        self._telemetry.deliveries.labels(row.notifier, "failed_over").inc()
        logger().warning("delivery.failed_over", notification=row.id, notifier=row.notifier, to=to, why=why)
        if correction:
            await self._heard(correction)
        self._couriers[to].bell.ring()
        return True

    def _failover_of(self, row: Notification) -> str | None:
        """Who takes over; not one where this very row has been already, which its id tells: `i-…:slack:post:1>mail`."""
        courier = self._couriers.get(row.notifier)
        to = courier.endpoint.failover if courier is not None else None
        origin, *later = row.id.split(">")
        return to if to in self._couriers and to not in {origin.split(":")[1], *later} else None

    def _state_failed(self, error: StateError) -> None:
        """The store does not answer: nothing is sent that could not be recorded."""
        self._telemetry.state_errors.inc()
        self._telemetry.state_ok.set(0)
        logger().error("delivery.state_failed", error=str(error))


async def _nothing_known(_: str) -> Receipt | None:
    return None
