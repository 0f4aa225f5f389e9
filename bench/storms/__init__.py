"""What every storm has: the alerts and how they are posted, the program that they go to, and the row of figures."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
from aiohttp import ClientError, ClientSession, ClientTimeout

A_REQUEST: Final = 250
AT_ONCE: Final = 4
QUIET: Final = 4.0
"""Seconds without a call: it is drained."""
PATIENCE: Final = 180.0


@dataclass
class Row:
    """What one storm came to."""

    who: str
    storm: str
    alerts: int
    messages: int = 0
    edits: int = 0
    first: float | None = None
    last: float | None = None
    cpu: float = 0.0
    rss: int = 0
    twice: int = 0
    lost: int = 0
    joins: float | None = None
    """Seconds until a further alert shows in the live incident's message."""
    why: Counter[str] = field(default_factory=Counter)


class Process:
    """A program that is started, killed and started again; its CPU time and peak RSS over all of its lives."""

    def __init__(self, command: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self._command = list(command)
        self._folder = folder
        self._env = {**os.environ, **(env or {})}
        self._child: subprocess.Popen[bytes] | None = None
        self.cpu = 0.0
        self.rss = 0

    def start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                self._command, cwd=self._folder, env=self._env, stdout=subprocess.PIPE, stderr=log
            )
        return self._child

    def _take(self) -> psutil.Process:
        assert self._child is not None
        found = psutil.Process(self._child.pid)
        used = found.cpu_times()
        self.cpu += used.user + used.system
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        self.rss = max(self.rss, peak * 1024)
        return found

    def used(self) -> float:
        """CPU seconds until now."""
        assert self._child is not None
        times = psutil.Process(self._child.pid).cpu_times()
        return float(self.cpu + times.user + times.system)

    def end(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._take().send_signal(number)
        self._child.communicate()


def alerts_of(count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """Distinct alerts of one cause, as Prometheus sends them."""
    now = datetime.now(UTC).isoformat()
    return [
        {
            "labels": {
                "alertname": "NodeDown", "severity": "P0", "service": "fleet", "instance": f"node-{number}:9100",
                "job": "node", "cluster": "prod",
            },
            "annotations": {"summary": f"node-{number} does not answer", "description": "no scrape in 30 s"},
            "startsAt": now, "generatorURL": "http://prometheus.example/graph",
        }
        for number in range(first, first + count)
    ]  # fmt: skip


async def post(url: str, alerts: list[dict[str, Any]], headers: dict[str, str]) -> list[dict[str, Any]]:
    """Send them → those that were not acknowledged."""
    chunks = [alerts[at : at + A_REQUEST] for at in range(0, len(alerts), A_REQUEST)]
    failed: list[dict[str, Any]] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(session: ClientSession, chunk: list[dict[str, Any]]) -> None:
        async with gate:
            try:
                async with session.post(url, json=chunk, headers=headers) as answer:
                    if answer.status == 200:
                        return
            except (ClientError, TimeoutError, OSError):
                pass
            failed.extend(chunk)

    async with ClientSession(timeout=ClientTimeout(total=60)) as session:
        await asyncio.gather(*(send(session, chunk) for chunk in chunks))
    return failed


async def until(what: Callable[[], bool], within: float = PATIENCE) -> bool:
    """Whether it came to hold in time."""
    ends = time.monotonic() + within
    while not what():
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(0.02)
    return True
