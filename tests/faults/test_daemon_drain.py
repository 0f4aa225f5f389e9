"""The log drain into a real daemon that is killed: what was answered 200 is counted, and once."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from tests.faults.conftest import DaemonProcess
from tocsin.access.tokens import Scope, mint
from tocsin.state import State
from tocsin.testing.waiting import eventually

SECRET = "a-secret-of-the-drain"
FAILED = json.dumps(
    {"msg": "request completed", "method": "POST", "path": "/token", "grant_type": "password", "status": 400,
     "error_code": "invalid_credentials", "remote_addr": "203.0.113.7", "time": "2026-08-20T09:12:44Z"}
)  # fmt: skip
BATCHES, EVENTS = 40, 25


class Drain:
    """A sender, as Supabase's is: gzip, a secret header, no second try of its own."""

    def __init__(self, daemon: DaemonProcess, client: ClientSession, token: str) -> None:
        self.daemon, self._client, self._token = daemon, client, token
        self.answered: set[int] = set()

    async def send(self, number: int) -> int:
        """The status of the batch's answer; 0: there was none."""
        events = [{"id": f"{number}-{i}", "timestamp": i, "event_message": FAILED} for i in range(EVENTS)]
        headers = {"X-Tocsin-Secret": SECRET, "Content-Encoding": "gzip"}
        body = gzip.compress(json.dumps(events).encode())
        try:
            url = f"http://{self.daemon.address}/ingest/auth-logs"
            async with self._client.post(url, data=body, headers=headers) as answer:
                await answer.read()
        except ClientError:
            return 0
        if answer.status == 200:
            self.answered.add(number)
        return answer.status

    async def counted(self) -> float:
        """Failures, as the daemon's own query answers."""
        url = f"http://{self.daemon.address}/api/v1/query"
        asked = {"query": "sum(tocsin_auth_failures_total)"}
        async with self._client.get(url, params=asked, headers={"Authorization": f"Bearer {self._token}"}) as answer:
            found = (await answer.json())["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0


@pytest.fixture
async def drain(tmp_path: Path) -> AsyncIterator[Drain]:
    config = {
        "collectors": [{"kind": "auth_logs", "name": "auth", "interval": "1s", "deadline": "30s",
                        "source": {"drain": {"secret_env": "DRAIN_SECRET"}}}],
        "rules": [], "routes": [{"match": {}, "notify": ["log"]}],
        "notifiers": [{"kind": "console", "name": "log"}], "web": {"listen": "127.0.0.1:0"},
        "telemetry": {"log_format": "json"},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    state = await State.open(f"sqlite:///{tmp_path / 'tocsin.db'}")
    token, row = mint([Scope.QUERY_READ], datetime.now(UTC))
    await state.tokens.put(row)
    await state.close()
    daemon = DaemonProcess(tmp_path, env={"DRAIN_SECRET": SECRET})
    await daemon.start()
    async with ClientSession() as client:
        yield Drain(daemon, client, token)
    await daemon.kill()


async def test_kill_9_while_batches_arrive(drain: Drain) -> None:
    """Batches that were answered before the kill are not lost, and sent again they are not counted again."""
    sending = [asyncio.ensure_future(drain.send(number)) for number in range(BATCHES)]
    await eventually(lambda: len(drain.answered) >= 5)
    await drain.daemon.kill()
    await asyncio.gather(*sending)
    before = set(drain.answered)
    await drain.daemon.start()

    async def holds_what_was_answered() -> bool:
        return await drain.counted() >= EVENTS * len(before)

    await eventually(holds_what_was_answered)
    assert {await drain.send(number) for number in range(BATCHES)} == {200}

    async def is_complete() -> bool:
        return await drain.counted() >= EVENTS * BATCHES

    await eventually(is_complete)
    await drain.daemon.kill()
    await drain.daemon.start()
    await eventually(is_complete)
    assert await drain.counted() == EVENTS * BATCHES
