"""Remote write to the real Prometheus and the real VictoriaMetrics, with either side dying in the middle."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tocsin.model import STALE, Labels, Sample, utc
from tocsin.runtime.clock import SteadyClock
from tocsin.series import Store
from tocsin.series.remote import Destination, Shipper, Split
from tocsin.telemetry.metrics import Telemetry
from tocsin.testing.tsdb import TimeSeriesServer
from tocsin.testing.waiting import PATIENCE, eventually

SERIES = 20


def shipper_to(url: str, folder: Path, **more: Any) -> tuple[Shipper, Store]:
    destination = Destination(name="peer", url=url, linger=0.0, deadline=5.0, **more)
    shipper = Shipper(destination, folder, clock=SteadyClock(), telemetry=Telemetry(), chance=Random(7))
    store = Store()
    store.appended = shipper.take
    return shipper, store


@asynccontextmanager
async def shipping(url: str, folder: Path, **more: Any) -> AsyncIterator[tuple[Shipper, Store]]:
    """A shipper that runs."""
    shipper, store = shipper_to(url, folder, **more)
    shipper.start()
    try:
        yield shipper, store
    finally:
        await shipper.stop(drain=0)


def poll(store: Store, at: float, value: float) -> None:
    store.append(
        Sample(name="demo", labels=Labels(series=str(each)), value=value + each, at=utc(at)) for each in range(SERIES)
    )


def whole(begin: float, polls: int) -> dict[str, list[tuple[float, str]]]:
    """What the receiver must hold."""
    return {str(each): [(begin + number, f"{number + each:g}") for number in range(polls)] for each in range(SERIES)}


def stored(found: dict[Any, Any]) -> dict[str, list[tuple[float, str]]]:
    """A sample that came twice is there once for a reader."""
    return {series: sorted(dict(points).items()) for series, points in found.items()}


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["prometheus", "victoria-metrics"])
async def test_a_receiver_that_is_stopped_and_started_misses_nothing(
    kind: str, tmp_path: Path, real_peer: Callable[[str], Path]
) -> None:
    """Every sample of before, meanwhile and after is there; and a staleness marker ends a series there."""
    real_peer(kind)
    begin = float(int(time.time()) - 120)
    async with (
        TimeSeriesServer(kind, tmp_path / "server") as server,
        shipping(server.write_url, tmp_path / "queue") as (shipper, store),
    ):
        for number in range(60):
            if number == 20:
                # VictoriaMetrics keeps what it acknowledged in memory for seconds: kill -9 would be its own loss.
                await server.stop(signal.SIGKILL if kind == "prometheus" else signal.SIGTERM)
            if number == 40:
                assert shipper.queue.pending >= SERIES
                await server.start()
            poll(store, begin + number, float(number))
            await asyncio.sleep(0.01)
        store.append(
            Sample(name="demo", labels=Labels(series=str(each)), value=STALE, at=utc(begin + 60)) for each in range(5)
        )
        async with asyncio.timeout(PATIENCE):
            assert await shipper.settled(shipper.mark) == ""

        async def complete() -> bool:
            found = stored(await server.samples("demo", begin + 59.5))
            return found == whole(begin, 60)

        await eventually(complete)
        alive = await server.query("count(demo)", begin + 61)
        assert alive[0]["value"][1] == str(SERIES - 5)
        assert shipper._telemetry.registry.get_sample_value(
            "tocsin_remote_write_dropped_samples_total", {"destination": "peer", "reason": "refused"}
        ) == 0  # fmt: skip


SENDER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_remote_write_real_servers import poll, shipper_to
async def main():
    shipper, store = shipper_to({url!r}, Path({folder!r}))
    shipper.start()
    for number in range(30):
        poll(store, {begin!r} + number, float(number))
        await asyncio.sleep(0)
    print("appended", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.peer
async def test_a_sender_killed_between_append_and_acknowledgement_loses_nothing(
    tmp_path: Path, real_peer: Callable[[str], Path]
) -> None:
    """kill -9 while a request is on its way, which arrives: the next process sends that one again, and the rest.

    The receiver is Prometheus without an out-of-order window: it refuses a request with one old sample in it.
    """
    real_peer("prometheus")
    begin = float(int(time.time()) - 120)
    async with TimeSeriesServer("prometheus", tmp_path / "server", out_of_order="0s") as server:
        passed_on = asyncio.Event()

        async def hang(request: web.Request) -> web.Response:
            """A proxy that passes a request on and never brings the answer back."""
            body = await request.read()
            kept = ("Content-Type", "Content-Encoding", "X-Prometheus-Remote-Write-Version")
            headers = {name: request.headers[name] for name in kept}
            async with (
                aiohttp.ClientSession() as session,
                session.post(server.write_url, data=body, headers=headers) as answer,
            ):
                assert answer.status // 100 == 2
            passed_on.set()
            await asyncio.sleep(600)
            return web.Response()

        app = web.Application()
        app.router.add_post("/write", hang)
        async with TestServer(app) as proxy:
            script = SENDER.format(
                here=str(Path(__file__).parent), url=str(proxy.make_url("/write")), folder=str(tmp_path / "queue"),
                begin=begin,
            )  # fmt: skip
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
            assert child.stdout is not None
            async with asyncio.timeout(PATIENCE):
                assert await child.stdout.readline() == b"appended\n"
                await passed_on.wait()
            child.kill()
            await child.stdout.read()
            await child.wait()
        split = Split(shards=9, batch=7)
        async with shipping(server.write_url, tmp_path / "queue", split=split) as (shipper, _):
            assert shipper.mark == 30 * SERIES
            async with asyncio.timeout(PATIENCE):
                assert await shipper.settled(shipper.mark) == ""
            assert stored(await server.samples("demo", begin + 60)) == whole(begin, 30)
