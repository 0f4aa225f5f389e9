"""Several real daemons on one Postgres, each on a wire of its own that can be cut or hang, a shop that breaks, a Slack.

    async with Replicas.on(folder, count=2, lease="2s") as stage:
        stage.shop.broken |= {"s1"}
        leader = await stage.leader()
        leader.send(signal.SIGSTOP)

Daemons are ended by their process ids when the block ends, stopped ones too.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import psutil
import psycopg
from aiohttp import ClientError, ClientSession, web

from tocsin.model import Seconds
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import PATIENCE

RULES: Final = """
groups:
  - name: shop
    rules:
      - alert: ServiceBroken
        expr: shop_broken > 0
        labels: {severity: P0}
        annotations: {summary: "service {{ $labels.service }} is broken"}
"""
START_WITHIN: Final = 5 * PATIENCE
"""A start takes 2 CPU seconds, most of them Python's imports. On a machine with many others that were over 60 s."""
_SERVICE: Final = re.compile(r"service (s\d+) is broken")


class Wire:
    """A TCP proxy to `port`: what goes between a replica and Postgres."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._to = port
        self._open = asyncio.Event()
        self._open.set()
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def cut(self) -> None:
        """Every connection is reset, and new ones are closed at once."""
        self._refuses = True
        for writer in self._writers:
            writer.transport.abort()

    def hang(self) -> None:
        """Connections stay and are taken, and nothing comes through either way."""
        self._open.clear()

    def mend(self) -> None:
        """All goes through again, with what was held back."""
        self._refuses = False
        self._open.set()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there}
        await asyncio.gather(self._carry(reader, there), self._carry(there_reader, writer))
        self._writers -= {writer, there}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@dataclass
class Shop:
    """Says on /metrics which of its services are broken."""

    services: int = 20
    broken: set[str] = field(default_factory=set)
    url: str = ""

    async def metrics(self, _: web.Request) -> web.Response:
        lines = (
            f'shop_broken{{service="{name}"}} {int(name in self.broken)}' for name in map("s{}".format, self.names())
        )
        return web.Response(text="# TYPE shop_broken gauge\n" + "\n".join(lines) + "\n")

    def names(self) -> range:
        """The services' numbers."""
        return range(self.services)


@dataclass
class ReplicaProcess:
    """`tocsin run` in a folder of its own."""

    name: str
    folder: Path
    wire: Wire
    env: dict[str, str]
    process: asyncio.subprocess.Process | None = None
    address: str = ""
    stopped: bool = False
    starts: list[tuple[Seconds, Seconds]] = field(default_factory=list)
    """Of each start, seconds until it listened, and CPU seconds until then: the rest is waiting for a processor."""

    async def start(self) -> None:
        """Start it and wait until it listens."""
        began = time.monotonic()
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tocsin", "run", cwd=self.folder, env={**os.environ, **self.env},
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(START_WITHIN):
                line = await self.process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            how = "ended at its start" if self.process.returncode is not None else "does not listen"
            raise RuntimeError(f"{self.name} {how}:\n{(self.folder / 'daemon.log').read_text()}")
        used = psutil.Process(self.process.pid).cpu_times()
        self.starts.append((time.monotonic() - began, used.user + used.system))
        self.address = json.loads(line)["address"]

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def log(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event, from every run."""
        lines = (self.folder / "daemon.log").read_text().splitlines()
        return [entry for line in lines if line.startswith("{") and (entry := json.loads(line))["event"] == event]

    def send(self, number: signal.Signals) -> None:
        """To this process alone."""
        assert self.process is not None
        os.kill(self.process.pid, number)
        self.stopped = number is signal.SIGSTOP

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """SIGKILL or SIGTERM → its exit code."""
        assert self.process is not None
        if self.runs:
            if self.stopped and number is not signal.SIGKILL:
                self.send(signal.SIGCONT)
            self.send(number)
        async with asyncio.timeout(PATIENCE):
            if self.process.stdout is not None:
                await self.process.stdout.read()
            return await self.process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        """(status, body) of a page that needs no token; (0, "") where it does not answer."""
        try:
            async with (
                ClientSession() as session,
                asyncio.timeout(5),
                session.get(f"http://{self.address}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (ClientError, OSError, TimeoutError):
            return 0, ""


@dataclass
class Replicas:
    """The stage. Made by `on`."""

    slack: FakeSlack
    shop: Shop
    postgres: EmbeddedPostgres
    each: list[ReplicaProcess]
    _asks: psycopg.Connection[tuple[Any, ...]] | None = None

    @classmethod
    @asynccontextmanager
    async def on(
        cls, folder: Path, *, count: int = 2, lease: str = "2s", services: int = 20, spacing: float = 0.05,
        postgres: EmbeddedPostgres | None = None,
    ) -> AsyncIterator[Self]:  # fmt: skip
        """Configured, not started."""
        server = postgres or await EmbeddedPostgres.start_async(settings={"max_connections": "100"})
        shop = Shop(services=services)
        app = web.Application()
        app.router.add_get("/metrics", shop.metrics)
        runner = web.AppRunner(app, access_log=None)
        stage: Self | None = None
        try:
            async with FakeSlack() as slack:
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                shop.url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
                stage = cls(slack=slack, shop=shop, postgres=server, each=[])
                for number in range(count):
                    stage.each.append(await stage._configured(folder / f"r{number}", lease, spacing))
                try:
                    yield stage
                finally:
                    if stage._asks is not None:
                        stage._asks.close()
                    for replica in stage.each:
                        if replica.runs:
                            await replica.end()
                        await replica.wire.stop()
        finally:
            await runner.cleanup()
            if postgres is None:
                await asyncio.to_thread(server.stop, "immediate")

    async def _configured(self, folder: Path, lease: str, spacing: float) -> ReplicaProcess:
        await asyncio.to_thread(folder.mkdir, parents=True)
        wire = await Wire(self.postgres.port).start()
        config = {
            "collectors": [
                {
                    "kind": "scrape", "name": "shop", "interval": "300ms", "deadline": "5s",
                    "targets": [{"url": self.shop.url}],
                }
            ],
            "rules": ["rules.yaml"],
            "routes": [{"match": {"severity": "P0"}, "notify": ["pages"], "group_by": ["service"]}],
            "notifiers": [
                {
                    "kind": "slack", "name": "pages", "channel": "C0ALERTS", "token_env": "SLACK_TOKEN",
                    "base_url": self.slack.base_url, "deadline": "3s", "spacing": spacing,
                    "budget": {"burst": 10_000},
                }
            ],
            "state": {"url_env": "STATE_URL", "lease": lease},
            "web": {"listen": "127.0.0.1:0"},
            "telemetry": {"log_format": "json"},
        }  # fmt: skip
        (folder / "rules.yaml").write_text(RULES)
        (folder / "config.yaml").write_text(json.dumps(config))
        url = f"postgresql://postgres:{self.postgres.password}@127.0.0.1:{wire.port}/postgres"
        return ReplicaProcess(folder.name, folder, wire, {"SLACK_TOKEN": self.slack.token, "STATE_URL": url})

    async def start(self) -> None:
        """All of them."""
        for replica in self.each:
            await replica.start()

    def lease(self) -> tuple[int, str]:
        """(epoch, process id of whoever holds the lease now, else empty), as the store says."""
        if self._asks is None:
            # One connection for all looks: a new one each time would leave Postgres no room for the replicas'.
            self._asks = psycopg.connect(self.postgres.dsn(), autocommit=True)
        row = self._asks.execute(
            "SELECT epoch, holder, until > extract(epoch FROM clock_timestamp()) * 1000000 FROM leadership"
        ).fetchone()
        assert row is not None
        return row[0], row[1].split("/")[1] if row[2] and "/" in row[1] else ""

    async def leader(self, *, after: int = 0) -> ReplicaProcess:
        """Who holds the lease of an epoch above `after`, as soon as somebody does. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while True:
                epoch, pid = await asyncio.to_thread(self.lease)
                for replica in self.each:
                    if epoch > after and replica.runs and replica.process and str(replica.process.pid) == pid:
                        return replica
                await asyncio.sleep(0.01)

    def posted(self) -> Counter[str]:
        """How often each service's first message stands in the channel."""
        return Counter(
            found.group(1) for message in self.slack.posted() if (found := _SERVICE.search(json.dumps(message.blocks)))
        )

    def ended(self) -> Counter[str]:
        """For each service, how many replies stand in its message's thread: the end, once."""
        ends: Counter[str] = Counter()
        for message in self.slack.posted():
            if found := _SERVICE.search(json.dumps(message.blocks)):
                ends[found.group(1)] += len(self.slack.thread(message))
        return +ends  # without those that wait
