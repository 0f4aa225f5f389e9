"""A storm: thousands of distinct alerts at once, through the real HTTP API of a real daemon into the stand-in Slack.

    python bench/storm.py [--alerts 1000 --alerts 10000] [--peer] [--json]

Rows, each for every size:

  one cause     all of one alertname, grouped by it: one incident
  each alone    every alert an incident of its own: what storm control is for
  killed        one cause; SIGKILL in the middle of it, a new start, and the sender resends what was not acknowledged
  killed alone  the same where every alert is its own incident

Alerts are posted to /api/v2/alerts as Prometheus does it, 250 in a request, four requests at once. Printed: messages
(posts and replies; edits ring nobody and are counted apart), the time from the first request to the first message and
to the last, CPU seconds, peak RSS, what was said twice, and what was lost: alerts that were acknowledged with 200 and
that no message, digest or summary tells. With --peer the same alerts go to Debian's Alertmanager right after, into a
webhook, as soon as it may tell (group_wait 0 s); where it is killed it gets what was not acknowledged again, as ours
does, and then, in a row of its own, everything again, as Prometheus would send it a minute later.

Of Alertmanager "lost" counts what it had not told when it was quiet: with one cause the rest of the group waits for
group_interval (5 min), and is lost for good only where it was killed and nobody sends it again.

A second alert of a live incident, four seconds after the storm: from its request until the message shows it.
Alertmanager waits for group_interval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
import yaml
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from stock_chain import with_its_templates

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tocsin.access.tokens import Scope, mint
from tocsin.state import State
from tocsin.state.account import balance
from tocsin.testing.peers import peer
from tocsin.testing.slack import FakeSlack

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
        return self.cpu + times.user + times.system

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


# Tocsin --------------------------------------------------------------------------------------------------------------


@dataclass
class Ours:
    """A daemon, its Slack, and the way in."""

    process: Process
    slack: FakeSlack
    folder: Path
    headers: dict[str, str]
    url: str = ""

    def start(self) -> None:
        child = self.process.start()
        assert child.stdout is not None
        line = child.stdout.readline()
        self.url = f"http://{json.loads(line)['address']}/api/v2/alerts"

    def members(self) -> int:
        with sqlite3.connect(f"file:{self.folder / 'tocsin.db'}?mode=ro", uri=True) as connection:
            return int(connection.execute("select count(distinct alert) from members").fetchone()[0])


@asynccontextmanager
async def ours(alone: bool) -> AsyncIterator[Ours]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with FakeSlack() as slack:
            config = {
                "collectors": [], "rules": [],
                "routes": [{"match": {}, "notify": ["pages"], "group_by": ["..."] if alone else ["alertname"]}],
                "notifiers": [
                    {
                        "kind": "slack", "name": "pages", "channel": "C0ALERTS", "token_env": "SLACK_TOKEN",
                        "base_url": slack.base_url,
                    }
                ],
                "web": {"listen": "127.0.0.1:0"}, "telemetry": {"log_format": "json"},
            }  # fmt: skip
            (folder / "config.yaml").write_text(json.dumps(config))
            state = await State.open(f"sqlite:///{folder / 'tocsin.db'}")
            clear, row = mint([Scope.ALERTS_READ, Scope.ALERTS_WRITE], datetime.now(UTC))
            await state.tokens.put(row)
            await state.close()
            process = Process([sys.executable, "-m", "tocsin", "run"], folder, {"SLACK_TOKEN": slack.token})
            site = Ours(process, slack, folder, {"Authorization": f"Bearer {clear}"})
            await asyncio.to_thread(site.start)
            try:
                yield site
            finally:
                process.end(signal.SIGTERM)


async def storm_here(count: int, storm: str, alone: bool, kill: bool) -> Row:
    row = Row("tocsin", storm, count)
    async with ours(alone) as site:
        before, began = site.process.used(), time.time()
        alerts = alerts_of(count)
        sending = asyncio.ensure_future(post(site.url, alerts, site.headers))
        if kill:
            await until(lambda: site.members() >= count // 2)
            await asyncio.to_thread(site.process.end, signal.SIGKILL)
            left = await sending
            await asyncio.to_thread(site.start)
            left = await post(site.url, left, site.headers)
        else:
            left = await sending
        await _drained(site.slack)
        calls = [call for call in site.slack.calls if call.status == 200 and not call.error]
        told = [call for call in calls if call.method == "chat.postMessage"]
        row.edits = sum(call.method == "chat.update" for call in calls)
        row.messages = len(told)
        row.first = min((call.at for call in told), default=None)
        row.last = max((call.at for call in told), default=None)
        row.first, row.last = (None if at is None else at - began for at in (row.first, row.last))
        keys = Counter(message.key for message in site.slack.posted() if message.key)
        row.twice = sum(times - 1 for times in keys.values())
        row.lost = count - len(left) - await _told(site)
        if not alone and not kill:
            row.joins = await _joins(site, count)
        row.cpu = site.process.used() - before
    row.rss = site.process.rss
    return row


async def _drained(slack: FakeSlack) -> None:
    await until(lambda: bool(slack.calls) and time.time() - slack.calls[-1].at > QUIET)


async def _told(site: Ours) -> int:
    """Alerts that are members of an incident of which the account says that it is told, or why not."""
    state = await State.open(f"sqlite:///{site.folder / 'tocsin.db'}")
    try:
        account = await balance(state, datetime.now(UTC))
    finally:
        await state.close()
    lost = {incident for incident, _ in account.lost}
    with sqlite3.connect(site.folder / "tocsin.db") as connection:
        found = connection.execute("select distinct alert, incident from members").fetchall()
    return sum(incident not in lost for _, incident in found)


async def _joins(site: Ours, count: int) -> float | None:
    """Seconds from a further alert's request until the incident's message shows one more."""
    changed = site.slack.posted()[0].changed_at
    began = time.time()
    await post(site.url, alerts_of(1, first=count), site.headers)
    shown = await until(lambda: site.slack.posted()[0].changed_at > changed, 30)
    return site.slack.posted()[0].changed_at - began if shown else None


# Alertmanager --------------------------------------------------------------------------------------------------------


class Sink:
    """A webhook that remembers which alerts it was told of."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.told: Counter[str] = Counter()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.at.append(time.time())
        self.told.update(alert["labels"]["instance"] for alert in body["alerts"])
        return web.Response()


@asynccontextmanager
async def theirs(alone: bool) -> AsyncIterator[tuple[Process, Sink, str]]:
    sink = Sink()
    app = web.Application(client_max_size=256 * 2**20)
    app.router.add_post("/", sink.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        route = {
            "receiver": "bench", "group_by": ["..."] if alone else ["alertname"], "group_wait": "0s",
            "group_interval": "5m", "repeat_interval": "4h",
        }  # fmt: skip
        hook = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}/", "send_resolved": True, "max_alerts": 0}
        document = {"route": route, "receivers": [{"name": "bench", "webhook_configs": [hook]}]}
        (folder / "config.yml").write_text(yaml.safe_dump(document))
        (folder / "data").mkdir()
        port = _free_port()
        command = [
            *with_its_templates(), str(peer("alertmanager")), f"--config.file={folder / 'config.yml'}",
            f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={folder / 'data'}",
            "--cluster.listen-address=", "--log.level=error",
        ]  # fmt: skip
        process = Process(command, folder)
        base = f"http://127.0.0.1:{port}"
        process.start()
        await _ready(base)
        try:
            yield process, sink, base
        finally:
            process.end(signal.SIGTERM)
            await runner.cleanup()


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _ready(base: str) -> None:
    async with ClientSession() as session:
        for _ in range(500):
            try:
                async with session.get(f"{base}/-/ready") as answer:
                    if answer.status == 200:
                        return
            except ClientError:
                pass
            await asyncio.sleep(0.02)
    raise RuntimeError("alertmanager does not start")


async def storm_there(count: int, storm: str, alone: bool, kill: bool) -> list[Row]:
    rows = []
    async with theirs(alone) as (process, sink, base):
        row = Row("alertmanager", storm, count)
        url = f"{base}/api/v2/alerts"
        before, began = process.used(), time.time()
        alerts = alerts_of(count)
        sending = asyncio.ensure_future(post(url, alerts, {}))
        if kill:
            half = count // 2 if alone else 1
            await until(lambda: (len(sink.told) if alone else len(sink.at)) >= half)
            await asyncio.to_thread(process.end, signal.SIGKILL)
            left = await sending
            process.start()
            await _ready(base)
            await post(url, left, {})
        else:
            await sending
        await until(lambda: bool(sink.at) and time.time() - sink.at[-1] > QUIET, 60)
        rows.append(_theirs(row, sink, began, process.used() - before, process))
        if kill:
            again = Row("alertmanager", f"{storm}, all resent", count)
            await post(url, alerts, {})
            await asyncio.sleep(QUIET)
            await until(lambda: time.time() - sink.at[-1] > QUIET, 60)
            rows.append(_theirs(again, sink, began, process.used() - before, process))
    for row in rows:
        row.rss = process.rss
    return rows


def _theirs(row: Row, sink: Sink, began: float, cpu: float, process: Process) -> Row:
    row.messages, row.cpu = len(sink.at), cpu
    row.first, row.last = (sink.at[0] - began, sink.at[-1] - began) if sink.at else (None, None)
    row.twice = sum(times - 1 for times in sink.told.values())
    row.lost = row.alerts - len(sink.told)
    return row


# The figures ---------------------------------------------------------------------------------------------------------


def printed(row: Row) -> str:
    def seconds(value: float | None) -> str:
        return "      -" if value is None else f"{value:6.2f}s"

    return (
        f"{row.who:<13}{row.storm:<26}{row.alerts:>7,}{row.messages:>9,}{row.edits:>6,} {seconds(row.first)} "
        f"{seconds(row.last)} {row.cpu:7.2f} {row.rss / 2**20:6.0f} {row.twice:>7,}{row.lost:>7,} {seconds(row.joins)}"
    )


STORMS: Final = (
    ("one cause", False, False),
    ("each alone", True, False),
    ("killed", False, True),
    ("killed alone", True, True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, action="append", help="repeat for several; default: 1000 and 10000")
    parser.add_argument("--storm", action="append", choices=[name for name, _, _ in STORMS], help="default: all")
    parser.add_argument("--peer", action="store_true", help="the same into Debian's Alertmanager")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows: list[Row] = []
    if not asked.json:
        print(
            f"{'':<13}{'storm':<26}{'alerts':>7}{'messages':>9}{'edits':>6} {'first':>7} {'last':>7} {'CPU s':>7} "
            f"{'MiB':>6} {'twice':>7}{'lost':>7} {'joins':>7}"
        )
    for count in asked.alerts or [1_000, 10_000]:
        for storm, alone, kill in STORMS:
            if asked.storm and storm not in asked.storm:
                continue
            found = [asyncio.run(storm_here(count, storm, alone, kill))]
            if asked.peer:
                found += asyncio.run(storm_there(count, storm, alone, kill))
            rows += found
            if not asked.json:
                print("\n".join(printed(row) for row in found), flush=True)
    if asked.json:
        print(json.dumps([asdict(row) for row in rows]))
    return int(any(row.who == "tocsin" and (row.lost or row.twice) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
