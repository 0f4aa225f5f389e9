"""The same storm into Debian's Alertmanager, with a webhook behind it."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml
from aiohttp import ClientError, ClientSession, web
from stock_chain import with_its_templates

from storms import QUIET, Process, Row, alerts_of, post, until
from tocsin.testing.peers import peer


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
