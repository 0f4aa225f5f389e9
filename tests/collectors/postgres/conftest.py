"""A real server shared by the tests of this folder, and a collector to watch it with."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from collectors.postgres import PostgresSettings, build
from tocsin.model import Blind, Sample
from tocsin.ports import Collector, CollectorContext
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.postgres.binaries import run_as, unprivileged_account

START = datetime(2026, 1, 1, tzinfo=UTC)


class Memory:
    """A checkpoint that lasts as long as the test."""

    def __init__(self) -> None:
        self.blob: bytes | None = None

    async def load(self) -> bytes | None:
        return self.blob

    async def save(self, blob: bytes) -> None:
        self.blob = blob


@dataclass
class Told:
    """What one poll yielded."""

    samples: list[Sample] = field(default_factory=list)
    blinds: list[Blind] = field(default_factory=list)

    def find(self, name: str, **labels: str) -> list[Sample]:
        return [sample for sample in self.samples if sample.name == name and sample.labels.contains(labels)]

    def value(self, name: str, **labels: str) -> float | None:
        """The only sample's value, None for none; a test that means one gets an error for two."""
        found = self.find(name, **labels)
        assert len(found) < 2, found
        return found[0].value if found else None

    @property
    def state(self) -> str:
        return next(s.labels["state"] for s in self.samples if s.name == "tocsin_pg_state" and s.value == 1)

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}

    def why(self, metric: str) -> str:
        """Why a metric is missing; empty when nothing says so."""
        return " ".join(blind.why for blind in self.blinds if not blind.metrics or metric in blind.metrics)


class Watch:
    """A collector under test: polls come when the test says."""

    def __init__(self, collector: Collector, poked: asyncio.Event) -> None:
        self.collector = collector
        self.poked = poked
        self.polls = 0

    async def poll(self) -> Told:
        self.polls += 1
        self.poked.clear()
        told = Told()
        async for item in self.collector.collect(START + timedelta(seconds=self.polls)):
            if isinstance(item, Sample):
                told.samples.append(item)
            else:
                told.blinds.append(item)
        return told

    async def poll_until(self, true: Callable[[Told], bool], seconds: float = 20.0) -> Told:
        """Poll until the promise holds; the last poll when time is up, for the assertion to fail on."""
        ends = asyncio.get_running_loop().time() + seconds
        while True:
            told = await self.poll()
            if true(told) or asyncio.get_running_loop().time() > ends:
                return told
            await asyncio.sleep(0.02)

    async def woken(self, seconds: float = 20.0) -> bool:
        """Whether the collector asked for a poll in time."""
        try:
            async with asyncio.timeout(seconds):
                await self.poked.wait()
        except TimeoutError:
            return False
        return True


Watching = Callable[..., Any]


@pytest.fixture
def watching() -> Watching:
    """`async with watching(dsn, setting=…) as watch:` with polls that follow each other at once."""

    @asynccontextmanager
    async def watch(dsn: str | None, **settings: Any) -> AsyncIterator[Watch]:
        poked = asyncio.Event()
        given = {
            "kind": "postgres", "name": "db", "interval": 0.1, "deadline": 10.0, "statements_interval": 1,
            **({"dsn": dsn} if dsn else {}), **settings,
        }  # fmt: skip
        context = CollectorContext(checkpoint=Memory(), poke=poked.set, folder=Path("/"))
        collector = build(PostgresSettings.model_validate(given), context)
        try:
            yield Watch(collector, poked)
        finally:
            await collector.close()

    return watch


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """A server that no test breaks, with a role that has what the collector asks for."""
    with EmbeddedPostgres.start() as running:
        running.execute("create extension pg_stat_statements")
        running.create_role("watcher", "pg_monitor")
        running.create_role("app")
        running.create_role("naked")
        running.execute("create schema app authorization app")
        yield running


@pytest.fixture(scope="session")
def _breakable() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(settings={"max_connections": "12"}) as running:
        running.execute("create extension pg_stat_statements")
        running.create_role("watcher", "pg_monitor")
        running.create_role("app")
        yield running


@pytest.fixture
def breakable(_breakable: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A server to kill and to stop; it is mended after the test, as initdb for each would take most of the time."""
    yield _breakable
    _breakable.resume()
    standby = _breakable.data / "standby.signal"
    if standby.exists():
        _breakable.stop()
        standby.unlink()
    if not _breakable.running:
        _breakable.start_again()


@pytest.fixture
def replica(breakable: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A standby that streams from `breakable`."""
    account = unprivileged_account()
    folder = Path(tempfile.mkdtemp(prefix="tocsin-replica-"))
    secret = folder / "superuser.password"
    secret.write_text(breakable.password)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    source = make_conninfo(breakable.dsn(), application_name="copy")
    subprocess.run(
        [breakable.binaries.program("pg_basebackup"), "-D", str(folder / "data"), "-R", "-c", "fast", "-d", source],
        check=True,
        cwd="/",
        **run_as(account),
    )
    with EmbeddedPostgres.start(folder, settings={"max_connections": "12"}, binaries=breakable.binaries) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
async def client(server: EmbeddedPostgres) -> AsyncIterator[Callable[..., Awaitable[psycopg.AsyncConnection[Any]]]]:
    """Connections of the application, closed at the end."""
    opened: list[psycopg.AsyncConnection[Any]] = []

    async def connect(user: str = "app", **more: Any) -> psycopg.AsyncConnection[Any]:
        connection = await psycopg.AsyncConnection.connect(server.dsn(user=user), autocommit=True, **more)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        await connection.close()


@pytest.fixture(autouse=True)
def _no_libpq_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
