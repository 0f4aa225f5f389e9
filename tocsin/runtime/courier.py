"""One destination's courier: claims a row, sends it, and turns what came of it into the row's next state.

See tocsin.runtime.delivery for what each error means. A courier handles one row at a time, so that what is urgent is
never behind more than the one call that is under way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from tocsin.durations import format_duration
from tocsin.errors import (
    EditLost,
    Refused,
    StaleClaim,
    Throttled,
    TooLarge,
    Unavailable,
    Uncertain,
)
from tocsin.incidents import Correction
from tocsin.incidents.calls import thread_of
from tocsin.model import Action, IncidentState, Notification, Reason, Receipt, Seconds
from tocsin.ports import Clock, Notifier
from tocsin.state import Claim, Outbox
from tocsin.tasks import end_tasks
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

LEASE: Final[Seconds] = 60.0
"""How long a claim holds, at least. Three deadlines: a row that is being sent is never claimed by another."""
FIRST_PAUSE: Final[Seconds] = 1.0
LONGEST_PAUSE: Final[Seconds] = 30.0
MEND_PAUSE: Final[Seconds] = 300.0
"""Between attempts at a destination that refuses and has no failover."""
GIVE_UP_AFTER: Final = timedelta(days=1)
"""What could not be delivered for this long is a dead letter."""
BUGS_BORNE: Final = 5
"""So many attempts may end in an error that no notifier should raise; then the failover takes over."""

FOLLOWS: Final = frozenset({Action.EDIT, Action.THREAD, Action.RESOLVE, Action.BROADCAST})
"""What needs a first message to follow."""
FAILS_OVER: Final = frozenset(
    {Action.POST, Action.BROADCAST, Action.ESCALATE, Action.REMIND, Action.RESOLVE, Action.DIGEST}
)
"""What is told elsewhere when its destination refuses it. Edits and deltas are not worth a message of their own."""
NEW_MESSAGE: Final = frozenset({Action.POST, Action.DIGEST})
"""These belong to no message that could be gone."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A notifier in force."""

    name: str
    notifier: Notifier
    deadline: Seconds = 10.0
    """An attempt that takes longer may or may not have been delivered."""
    failover: str | None = None
    edits: bool = False
    """As its NotifierSpec says."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What all couriers share."""

    owner: str
    outbox: Outbox
    clock: Clock
    telemetry: Telemetry
    tracing: Tracing
    chance: random.Random
    heard: Callable[[Correction], Awaitable[None]]
    fail_over: Callable[[Notification, str, Claim | None], Awaitable[bool]]
    known: Callable[[str], Awaitable[Receipt | None]]
    """The receipt of a row that was sent from memory while the store took no writes (lifeboat.py)."""
    permit: Callable[[], None] = lambda: None
    """Raises Unavailable where nothing may be sent (leadership.py). Notifiers ask again, at the last moment."""
    page_gone: Callable[[], None] = lambda: None
    """Told after each attempt at a first message (head_start.py)."""

    def pause(self, failures: int) -> Seconds:
        """How long to wait after so many failures in a row: doubling, and by chance between half and all of it."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
        return longest * (0.5 + self.chance.random() / 2)


class Bell:
    """Waits for a ring or a time, whichever comes first."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, clock: Clock, until: datetime | None) -> None:
        """Until it rings, or has rung since the last wait; None: no other end."""
        waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._rung.wait())}
        if until is not None:
            waits.add(asyncio.ensure_future(clock.sleep(max(0.0, (until - clock.now()).total_seconds()))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        self._rung.clear()


class Courier:
    """Serves one destination."""

    def __init__(self, desk: Desk, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.bell = Bell()
        self.draining = False
        """Stop once nothing is due."""
        self._desk = desk
        self._failures = 0
        """In a row, whatever the rows."""
        self._paused_until: datetime | None = None
        self._unsaved: tuple[Claim, Receipt] | None = None
        """Delivered, but the store has not taken the receipt yet."""

    def hope(self) -> None:
        """The configuration changed: don't wait for what went wrong before."""
        self._failures, self._paused_until = 0, None

    async def next_due(self) -> datetime | None:
        """When there may be something to do. Raises StateError."""
        return self.due(await self._desk.outbox.next_due(self.endpoint.name))

    def due(self, row: datetime | None) -> datetime | None:
        """When to come again, if a row is due at `row`."""
        if self._unsaved is not None:
            return self._desk.clock.now()
        if row is None or self._paused_until is None:
            return row
        return max(row, self._paused_until)

    async def step(self) -> bool:
        """Deliver the next row → False when none is due. Raises StateError; what was delivered is kept in mind."""
        desk, now = self._desk, self._desk.clock.now()
        if self._unsaved is not None:
            await self._save(*self._unsaved)
            return True
        if self._paused_until is not None and now < self._paused_until:
            return False
        lease = max(LEASE, 3 * self.endpoint.deadline)
        claims = await desk.outbox.claim_due(self.endpoint.name, now, owner=desk.owner, lease=lease)
        for claim in claims:
            # Somebody else has the row by now, and will say what came of it.
            with suppress(StaleClaim):
                await self._deliver(claim)
        return bool(claims)

    # One row ---------------------------------------------------------------------------------------------------------

    async def _deliver(self, claim: Claim) -> None:
        desk, row = self._desk, claim.notification
        if not row.incidents:
            await desk.outbox.skip(claim, "its incident is gone", desk.clock.now())
            return
        storm = row.reason is Reason.OVER_BUDGET
        if claim.parent is None and storm and row.action is Action.EDIT:
            await desk.outbox.skip(claim, "the summary was told elsewhere", desk.clock.now())
            return
        if claim.parent is None and not storm and row.action in FOLLOWS:
            if row.incident.state is IncidentState.RESOLVED:
                await desk.outbox.skip(claim, "nobody was told here that it began", desk.clock.now())
                return
            # Nothing to follow, and it still fires: this is the first that this destination hears of it.
            claim = replace(claim, notification=replace(row, action=Action.POST))
        began, doubt = desk.clock.monotonic(), claim.doubt
        try:
            with desk.tracing.span("deliver", notifier=self.endpoint.name, action=row.action.value):
                receipt = await desk.known(row.id)
                if receipt is None and claim.doubt:
                    receipt = await self._read_back(claim)
                found = receipt is not None
                if receipt is None:
                    doubt = False
                    receipt = await self._send(claim)
        except Exception as error:  # noqa: BLE001 (whatever a notifier raises, the row is not lost)
            await self._failed(claim, error, doubt=doubt)
            return
        finally:
            if row.action is Action.POST:
                desk.page_gone()
            desk.telemetry.delivery_seconds.labels(self.endpoint.name).observe(desk.clock.monotonic() - began)
        self._failures = 0
        desk.telemetry.deliveries.labels(self.endpoint.name, "found" if found else "delivered").inc()
        # From here on it has been delivered, whatever happens to us: the receipt is not given up before it is stored.
        self._unsaved = (claim, self._own(receipt, claim.notification))
        await self._save(*self._unsaved)

    async def _read_back(self, claim: Claim) -> Receipt | None:
        """The receipt, if an attempt before this one did deliver it."""
        row = claim.notification
        if row.action is Action.EDIT:
            return None  # an edit says the same however often it is said
        try:
            return await self._in_time(self.endpoint.notifier.find(row, claim.parent))
        except Refused as error:
            # It will never let us look. Said twice is better than not said.
            logger().warning("delivery.read_back_refused", notification=row.id, error=str(error), mend=error.mend)
            return None

    async def _send(self, claim: Claim) -> Receipt:
        row = claim.notification
        self._desk.permit()
        row = replace(row, timeline=replace(row.timeline, sent_at=self._desk.clock.now()))
        receipt = await self._in_time(self.endpoint.notifier.send(row, claim.parent))
        return replace(receipt, at=self._desk.clock.now())

    def _own(self, receipt: Receipt, row: Notification) -> Receipt:
        """The receipt under the names that we look it up by, whatever the notifier wrote there."""
        return replace(
            receipt, notification=row.id, notifier=self.endpoint.name, incident=thread_of(row), action=row.action
        )

    async def _in_time(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer, or Uncertain at the deadline: the request may have arrived."""
        task = asyncio.ensure_future(call)
        limit = asyncio.ensure_future(self._desk.clock.sleep(self.endpoint.deadline))
        try:
            await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Uncertain(f"no answer within {format_duration(self.endpoint.deadline)}")
        finally:
            await end_tasks(limit, task)

    async def _save(self, claim: Claim, receipt: Receipt) -> None:
        """Only now it counts as sent. Raises StateError: it is tried again before anything else is sent here."""
        desk, row = self._desk, claim.notification
        await desk.outbox.finish(claim, receipt, threads=self.endpoint.edits)
        self._unsaved = None
        desk.telemetry.state_ok.set(1)
        if row.action is Action.POST and row.timeline.sampled_at is not None:
            took = (receipt.at - row.timeline.sampled_at).total_seconds()
            desk.telemetry.stage_seconds.labels("acknowledged", row.severity.value).observe(max(0.0, took))
        logger().info(
            "delivery.delivered", notification=row.id, notifier=row.notifier, attempts=row.attempts,
            permalink=receipt.permalink, degraded=receipt.degraded,
        )  # fmt: skip

    # What went wrong -------------------------------------------------------------------------------------------------

    async def _failed(self, claim: Claim, error: Exception, *, doubt: bool) -> None:
        """The row's next state. `doubt`: even before this attempt it may have been delivered."""
        desk, row, now = self._desk, claim.notification, self._desk.clock.now()
        why = str(error) or type(error).__name__
        outcome = type(error).__name__.lower()
        match error:
            case Throttled():
                await self._again(claim, why, error.retry_after, doubt=doubt)
                if row.action is not Action.EDIT:
                    # Slack limits each method apart: an edit that must wait is no reason for a page to.
                    self._paused_until = now + timedelta(seconds=error.retry_after)
            case Unavailable():
                await self._backed_off(claim, why, doubt=doubt)
            case Refused() if not doubt:
                await self._refused(claim, error)
            case EditLost() if row.action not in NEW_MESSAGE:
                outcome = "edit_lost"
                await desk.outbox.repost(claim, why, now)
            case TooLarge():
                outcome = "dead"
                await self._give_up(claim, f"no form of it was accepted: {why}")
            case Uncertain() | Refused():
                await self._backed_off(claim, why, doubt=True)
            case _:
                # No notifier should raise this. It may have come after the send.
                outcome = "uncertain"
                logger().error("delivery.failed", notification=row.id, exc_info=error)
                why = f"{type(error).__name__}: {why}"
                over = row.attempts >= BUGS_BORNE and row.action in FAILS_OVER
                if not (over and await desk.fail_over(row, why, claim)):
                    await self._backed_off(claim, why, doubt=True)
        desk.telemetry.deliveries.labels(self.endpoint.name, outcome).inc()
        logger().warning(
            f"delivery.{outcome}", notification=row.id, notifier=row.notifier, attempts=row.attempts, error=why
        )

    async def _refused(self, claim: Claim, error: Refused) -> None:
        row = claim.notification
        why = f"{error}" + (f" ({error.mend})" if error.mend else "")
        if row.action in FAILS_OVER and await self._desk.fail_over(row, why, claim):
            return
        # Nobody takes over. A wrong token or a channel without us is mended sooner or later.
        await self._again(claim, why, MEND_PAUSE, doubt=False)

    async def _backed_off(self, claim: Claim, why: str, *, doubt: bool) -> None:
        """Again after a pause that grows, for this row and for the destination as a whole."""
        self._failures += 1
        self._paused_until = self._desk.clock.now() + timedelta(seconds=self._desk.pause(self._failures))
        await self._again(claim, why, self._desk.pause(claim.notification.attempts), doubt=doubt)

    async def _again(self, claim: Claim, why: str, seconds: Seconds, *, doubt: bool) -> None:
        now = self._desk.clock.now()
        if now - claim.notification.created_at > GIVE_UP_AFTER:
            await self._give_up(claim, f"not delivered in {GIVE_UP_AFTER.days} day: {why}")
            return
        await self._desk.outbox.retry(claim, now + timedelta(seconds=seconds), why, doubt=doubt)

    async def _give_up(self, claim: Claim, why: str) -> None:
        correction = await self._desk.outbox.give_up(claim, why, self._desk.clock.now())
        logger().error("delivery.dead", notification=claim.notification.id, error=why)
        if correction:
            await self._desk.heard(correction)
