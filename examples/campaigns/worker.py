"""The worker: delivers the sends of running campaigns, a batch at a time.

A batch is claimed, delivered and settled in one transaction. A worker that is killed gives its batch back, so a mail is
delivered at least once and, apart from such a moment, exactly once: `Mail.key` lets a provider tell that it has one
already. Any number of workers may run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from examples.campaigns.database import row, rows, run
from examples.campaigns.measures import Measures
from tocsin.asgi import Unavailable
from tocsin.asgi.database import Database
from tocsin.asgi.traces import span
from tocsin.tasks import end_tasks, within

log = logging.getLogger("campaigns.worker")

BATCH: Final = 20
REVIEW: Final = 5.0
"""Seconds between looks at all campaigns: what was launched with nothing left to send, and the whole backlog."""

LEFT_AFTER: Final = 3.0
"""Seconds that a batch under way may take to be given back when the service ends."""


class Bounced(Exception):
    """The mailbox will never take it; the message says why, for the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    key: str
    """The same at each attempt to deliver this mail, and no other's: what a provider takes as Idempotency-Key."""
    to: str
    subject: str
    body: str


class Transport(Protocol):
    """Where mail goes."""

    async def deliver(self, mail: Mail) -> None:
        """Return when it is accepted. Raises Bounced."""


class Spool:
    """A transport that keeps mail on this machine: it counts, and refuses what RFC 2606 reserves as undeliverable."""

    def __init__(self) -> None:
        self.accepted = 0

    async def deliver(self, mail: Mail) -> None:
        if mail.to.endswith(".invalid"):
            raise Bounced("no such domain")
        self.accepted += 1


class Worker:
    """Delivers through `transport`, at most `pace` sends per second, until cancelled."""

    def __init__(self, database: Database, transport: Transport, measures: Measures, *, pace: float = 50.0) -> None:
        if pace <= 0:
            raise ValueError(f"pace must be above 0 sends per second, not {pace}")
        self._database = database
        self._transport = transport
        self._measures = measures
        self._rest = BATCH / pace
        self._reviewed = float("-inf")

    async def work(self) -> None:
        """Batch after batch. A database that is down is waited for."""
        while True:
            try:
                await self.deliver_batch()
            except Unavailable as unavailable:
                log.warning("no batch: %s", unavailable)
            except Exception:
                # One bad batch must not end all deliveries; its transaction gave the sends back.
                log.exception("the batch failed")
            await asyncio.sleep(self._rest)

    async def deliver_batch(self) -> int:
        """Claim, deliver and settle one batch; how many sends it was. Raises Unavailable."""
        with span("campaigns.batch"):  # a trace of its own: nobody's request
            return await self._deliver_batch()

    async def _deliver_batch(self) -> int:
        async with self._database.transaction() as connection:
            claimed = await rows(connection, "claim_sends", limit=BATCH)
            outcomes = [await self._outcome(_mail(send)) for send in claimed]
            if claimed:
                await run(
                    connection,
                    "settle_sends",
                    recipients=[send["recipient_id"] for send in claimed],
                    statuses=[status for status, _ in outcomes],
                    reasons=[reason for _, reason in outcomes],
                )
        for status, _ in outcomes:
            self._measures.sends.labels(status).inc()
        # After that transaction: two workers that hold the campaign's row for their batches would deadlock here.
        async with self._database.connection() as connection:
            review = time.monotonic() - self._reviewed >= REVIEW
            ids = None if review else sorted({send["campaign_id"] for send in claimed})
            for finished in await rows(connection, "finish_campaigns", ids=ids) if review or ids else ():
                log.info("campaign %s is finished", finished["id"])
            if review:
                backlog = await row(connection, "count_pending")
                self._measures.backlog.set(backlog["pending"] if backlog else 0)
                self._reviewed = time.monotonic()
        return len(claimed)

    async def _outcome(self, mail: Mail) -> tuple[str, str | None]:
        try:
            await self._transport.deliver(mail)
        except Bounced as bounced:
            return "failed", str(bounced)
        return "sent", None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """It works while the block runs; the batch under way is given back at the end."""
        task = asyncio.create_task(self.work(), name="campaigns.worker")
        try:
            yield
        finally:
            if not await within(LEFT_AFTER, end_tasks(task)):
                log.error("the batch under way does not end, and is left behind")


def _mail(send: Mapping[str, Any]) -> Mail:
    key = f"campaigns-{send['recipient_id']}"
    return Mail(key=key, to=send["email"], subject=send["subject"], body=send["body"])
