"""What can be done with campaigns: a change in one transaction, a question in as few statements as it takes."""

from __future__ import annotations

from typing import Any

from examples.campaigns.database import row, rows, run
from examples.campaigns.problems import Conflict, NotFound
from examples.campaigns.requests import NewCampaign, Page, Status
from tocsin.asgi.database import Connection, Database

Document = dict[str, Any]
"""What the API answers, before it is JSON."""


class Campaigns:
    """The campaigns of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Raises Unavailable while the database does not answer."""
        await self._database.ping()

    async def create(self, new: NewCampaign) -> Document:
        async with self._database.connection() as connection:
            created = await row(connection, "create_campaign", **new.model_dump())
        assert created is not None
        return created

    async def newest(self, page: Page) -> list[Document]:
        async with self._database.connection() as connection:
            return await rows(connection, "list_campaigns", **page.model_dump())

    async def read(self, campaign: int) -> Document:
        async with self._database.connection() as connection:
            return await _read(connection, campaign)

    async def add_recipients(self, campaign: int, recipients: list[str]) -> Document:
        async with self._database.transaction() as connection:
            status = await _lock(connection, campaign)
            if status is not Status.DRAFT:
                raise Conflict(f"Campaign {campaign} has status {status.value}; recipients are added to a draft.")
            added = await rows(connection, "add_recipients", id=campaign, recipients=recipients)
            return {**added[0], **await _read(connection, campaign)}

    async def launch(self, campaign: int) -> Document:
        """A draft starts, a paused one goes on; one that runs stays as it is. Nobody is queued twice."""
        async with self._database.transaction() as connection:
            status = await _lock(connection, campaign)
            if status is Status.FINISHED:
                raise Conflict(f"Campaign {campaign} is finished; draft a new one to send again.")
            if status is not Status.RUNNING:
                queued = await run(connection, "queue_sends", id=campaign)
                if status is Status.DRAFT and queued == 0:
                    raise Conflict(f"Campaign {campaign} has no recipients; add some, then launch it.")
                await run(connection, "launch_campaign", id=campaign)
            return await _read(connection, campaign)

    async def pause(self, campaign: int) -> Document:
        """When this returns, no further mail leaves: it waits for the batch that is being delivered."""
        async with self._database.transaction() as connection:
            status = await _lock(connection, campaign)
            if status in (Status.DRAFT, Status.FINISHED):
                raise Conflict(f"Campaign {campaign} has status {status.value}; only a running one can be paused.")
            if status is Status.RUNNING:
                await run(connection, "pause_campaign", id=campaign)
            return await _read(connection, campaign)

    async def progress(self, campaign: int) -> Document:
        async with self._database.connection() as connection:
            return await _progress(connection, campaign)

    async def report(self, campaign: int) -> Document:
        """What came of it: counts, failures by reason, the largest domains, and the pace in sends per second."""
        async with self._database.connection() as connection:
            about = await _read(connection, campaign)
            progress = await _progress(connection, campaign)
            reasons = await rows(connection, "failures_by_reason", id=campaign)
            domains = await rows(connection, "sends_by_domain", id=campaign)
        settled = progress["sent"] + progress["failed"]
        started, ended = about["launched_at"], about["finished_at"]
        took = (ended - started).total_seconds() if started and ended else None
        return {
            "campaign": about,
            "progress": progress,
            "delivered_share": progress["sent"] / settled if settled else None,
            "took_seconds": took,
            "sends_per_second": settled / took if took else None,
            "failures": reasons,
            "domains": domains,
        }


async def _lock(connection: Connection, campaign: int) -> Status:
    found = await row(connection, "lock_campaign", id=campaign)
    if found is None:
        raise NotFound(f"There is no campaign {campaign}.")
    return Status(found["status"])


async def _read(connection: Connection, campaign: int) -> Document:
    found = await row(connection, "read_campaign", id=campaign)
    if found is None:
        raise NotFound(f"There is no campaign {campaign}.")
    return found


async def _progress(connection: Connection, campaign: int) -> Document:
    found = await row(connection, "progress", id=campaign)
    if found is None:
        raise NotFound(f"There is no campaign {campaign}.")
    share = (found["sent"] + found["failed"]) / found["total"] if found["total"] else 0.0
    return {**found, "share": share}
