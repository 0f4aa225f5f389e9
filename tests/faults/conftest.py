"""A real daemon as a process of its own, a stand-in Slack, and an endpoint that a test breaks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import PATIENCE

RULES = """
groups:
  - name: faults
    rules:
      - alert: EndpointDown
        expr: max by (job, instance, service) (tocsin_endpoint_failure) > 0
        labels: {severity: P0}
        annotations: {summary: "{{ $labels.service }} does not answer"}
"""


@dataclass
class Target:
    """An HTTP endpoint whose status and text a test sets, and which counts how often it was asked.

    At /other is a second one, with a status of its own.
    """

    url: str = ""
    asked: int = 0
    other: int = 200
    status: int = 200
    text: str = "hello"


@dataclass
class DaemonProcess:
    """`tocsin run` in a folder: started, killed, started again."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    address: str = ""

    @property
    def log_file(self) -> Path:
        return self.folder / "daemon.log"

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The log's lines, of one event where it is named, from every run."""
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if not event or line["event"] == event]

    async def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tocsin", "run", cwd=self.folder, env={**os.environ, **self.env},
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self.process.stdout.readline()
        assert line, f"the daemon ended at its start:\n{self.log_file.read_text()}"
        self.address = json.loads(line)["address"]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM → its exit code."""
        return await self._end(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end → its exit code."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE):
            # Not communicate(): the pipe is read to its end so that no transport is left behind.
            if self.process.stdout is not None:
                await self.process.stdout.read()
            return await self.process.wait()


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    found = Target()

    async def answer(_: web.Request) -> web.Response:
        found.asked += 1
        return web.Response(status=found.status, text=found.text)

    async def other(_: web.Request) -> web.Response:
        return web.Response(status=found.other)

    app = web.Application()
    app.router.add_get("/", answer)
    app.router.add_get("/other", other)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield found
    await runner.cleanup()


def config_of(slack: FakeSlack, target: Target) -> dict[str, Any]:
    """A configuration with one endpoint and one Slack channel; JSON is YAML."""
    return {
        "collectors": [
            {
                "kind": "endpoint", "name": "web", "interval": "200ms",
                "deadline": "5s",
                "targets": [{"url": target.url, "service": "shop", "expect": {"status": 200}}],
            }
        ],
        "rules": ["rules.yaml"],
        "routes": [{"match": {"severity": "P0"}, "notify": ["pages"], "group_by": ["service"]}],
        "notifiers": [
            {
                "kind": "slack", "name": "pages", "channel": "C0ALERTS", "token_env": "SLACK_TOKEN",
                "base_url": slack.base_url, "deadline": "3s",
            }
        ],
        "web": {"listen": "127.0.0.1:0"},
        "telemetry": {"log_format": "json"},
    }  # fmt: skip


@pytest.fixture
async def daemon(tmp_path: Path, slack: FakeSlack, target: Target) -> AsyncIterator[DaemonProcess]:
    """Configured, not started."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "config.yaml").write_text(json.dumps(config_of(slack, target)))
    running = DaemonProcess(tmp_path, {"SLACK_TOKEN": slack.token})
    yield running
    if running.process is not None and running.process.returncode is None:
        await running.kill()
