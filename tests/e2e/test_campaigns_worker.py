"""The worker of the campaigns application, on a real Postgres, without the application."""

from __future__ import annotations

import asyncio

import pytest

from examples.campaigns.database import make_database, prepare, row, run
from examples.campaigns.measures import Measures
from examples.campaigns.worker import Bounced, Mail, Worker
from tocsin.testing.postgres import EmbeddedPostgres


class Provider:
    """A mail service that keeps one mail per key, and a fuse that blows once."""

    def __init__(self, *, blows_after: int) -> None:
        self.attempts: list[str] = []
        self.kept: dict[str, Mail] = {}
        self._left = blows_after

    async def deliver(self, mail: Mail) -> None:
        self.attempts.append(mail.key)
        self.kept.setdefault(mail.key, mail)
        self._left -= 1
        if self._left == 0:
            raise ConnectionResetError("in the middle of a batch")
        if mail.to.endswith(".invalid"):
            raise Bounced("no such domain")


async def test_a_batch_that_broke_off_is_delivered_again_under_the_same_keys(postgres: EmbeddedPostgres) -> None:
    """So that a provider which knows keys gives nobody a mail twice, and everybody theirs."""
    dsn = postgres.dsn("campaigns", "campaigns")
    await prepare(dsn)
    people = [*(f"reader{number}@example.com" for number in range(6)), "gone@nowhere.invalid"]
    provider = Provider(blows_after=4)
    async with make_database(dsn) as database:
        worker = Worker(database, provider, Measures())
        async with database.transaction() as connection:
            made = await row(connection, "create_campaign", name="N", subject="S", body="B", recipients=people)
            assert made is not None
            await run(connection, "queue_sends", id=made["id"])
            await run(connection, "launch_campaign", id=made["id"])
        try:
            await worker.deliver_batch()
        except ConnectionResetError:
            broke_off_at = len(provider.attempts)
        while await worker.deliver_batch():
            pass
        async with database.connection() as connection:
            progress = await row(connection, "progress", id=made["id"])
    assert (broke_off_at, len(provider.attempts), len(provider.kept)) == (4, 4 + len(people), len(people))
    assert sorted(mail.to for mail in provider.kept.values()) == sorted(people)
    assert progress is not None
    assert (progress["sent"], progress["failed"], progress["pending"]) == (6, 1, 0)


async def test_a_mail_service_that_hangs_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor where its client swallows the cancellation: the batch is left behind, and the log says so."""
    monkeypatch.setattr("examples.campaigns.worker.LEFT_AFTER", 0.01)
    released = asyncio.Event()

    class Hangs(Worker):
        async def deliver_batch(self) -> int:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue
            raise asyncio.CancelledError

    worker = Hangs(make_database("postgresql://nobody@127.0.0.1:1/x"), Provider(blows_after=0), Measures())
    try:
        async with asyncio.timeout(60), worker.running():
            await asyncio.sleep(0)
    finally:
        released.set()
    assert [record.message for record in caplog.records] == ["the batch under way does not end, and is left behind"]
