"""The storm into a real daemon, with the stand-in Slack behind it."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storms import QUIET, Process, Row, alerts_of, post, until
from tocsin.access.tokens import Scope, mint
from tocsin.state import State
from tocsin.state.account import balance
from tocsin.testing.slack import FakeSlack


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
        _count_messages(row, site.slack, began)
        row.lost = count - len(left) - await _told(site)
        if not alone and not kill:
            row.joins = await _joins(site, count)
        row.cpu = site.process.used() - before
    row.rss = site.process.rss
    return row


def _count_messages(row: Row, slack: FakeSlack, began: float) -> None:
    calls = [call for call in slack.calls if call.status == 200 and not call.error]
    told = [call for call in calls if call.method == "chat.postMessage"]
    row.edits = sum(call.method == "chat.update" for call in calls)
    row.messages = len(told)
    if told:
        row.first, row.last = min(call.at for call in told) - began, max(call.at for call in told) - began
    keys = Counter(message.key for message in slack.posted() if message.key)
    row.twice = sum(times - 1 for times in keys.values())


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
