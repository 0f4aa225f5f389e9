"""A thousand endpoints, probed every 5 s by one daemon: is each probe made, and when?

    python bench/endpoints.py [--targets 1000] [--interval 5] [--seconds 300] [--json]

The daemon and a local server that answers 200 are processes of their own. The server notes when each target was asked.
Scheduled: targets × time ÷ interval. Lag: how much later than an interval after the one before a probe came, over all
targets. CPU is the daemon's share of one core, RSS its highest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web

from tocsin.testing.demo.processes import Child

WARM_UP = 2
"""Intervals that are not counted: the start."""


async def serve() -> None:
    """The server's process: answers, and writes what it saw at /seen."""
    seen: dict[str, list[float]] = {}

    async def answer(request: web.Request) -> web.Response:
        seen.setdefault(request.path, []).append(time.time())
        return web.Response(text="ok")

    async def asked(_: web.Request) -> web.Response:
        return web.json_response(seen)

    app = web.Application()
    app.router.add_get("/seen", asked)
    app.router.add_get("/{target}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(json.dumps({"event": "listening", "port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


def configuration(port: int, targets: int, interval: float) -> dict[str, Any]:
    """One endpoint collector; JSON is YAML."""
    return {
        "collectors": [
            {
                "kind": "endpoint",
                "name": "web",
                "interval": f"{interval:g}s",
                "targets": [{"url": f"http://127.0.0.1:{port}/t{number}"} for number in range(targets)],
            }
        ],
        "rules": [str(Path(__file__).parents[1] / "alert_rules" / "endpoints.yaml")],
        "routes": [{"match": {"severity": ".*"}, "notify": ["log"]}],
        "notifiers": [{"kind": "console", "name": "log"}],
        "web": {"listen": "127.0.0.1:0"},
    }


async def bench(targets: int, interval: float, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        server = await Child.start("server", [sys.executable, __file__, "--serve"], folder=folder)
        port = (await server.said(30, event="listening"))["port"]
        config = folder / "config.yaml"
        config.write_text(json.dumps(configuration(port, targets, interval)))
        run = [sys.executable, "-m", "tocsin", "run", "--config", str(config)]
        daemon = await Child.start("tocsin", run, folder=folder)
        try:
            await daemon.said(30, event="web.listening")
            process = psutil.Process(daemon.pid)
            await asyncio.sleep(WARM_UP * interval)
            began, spent, highest = time.time(), sum(process.cpu_times()[:2]), 0
            while time.time() - began < seconds:
                await asyncio.sleep(max(0.0, min(1.0, began + seconds - time.time())))
                highest = max(highest, process.memory_info().rss)
            ended = time.time()
            cpu = (sum(process.cpu_times()[:2]) - spent) / (ended - began)
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/seen") as answer:
                seen: dict[str, list[float]] = await answer.json()
        finally:
            await daemon.stop()
            await server.stop()
    times = [[at for at in each if began <= at < ended] for each in seen.values()]
    lags = sorted(max(0.0, b - a - interval) for each in times for a, b in pairwise(each))
    return {
        "targets": targets,
        "interval": interval,
        "scheduled": round(targets * (ended - began) / interval),
        "done": sum(map(len, times)),
        "lag_p50": round(lags[len(lags) // 2], 4),
        "lag_p99": round(lags[int(len(lags) * 0.99)], 4),
        "lag_max": round(lags[-1], 4),
        "cpu_cores": round(cpu, 3),
        "rss_mib": round(highest / 2**20, 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two probes of a target")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        asyncio.run(serve())
        return 0
    found = asyncio.run(bench(options.targets, options.interval, options.seconds))
    if options.json:
        print(json.dumps(found))
        return 0
    print(
        f"{found['targets']} targets each {found['interval']:g} s: "
        f"scheduled {found['scheduled']}, done {found['done']}\n"
        f"lag p50 {found['lag_p50'] * 1e3:.0f} ms, p99 {found['lag_p99'] * 1e3:.0f} ms, "
        f"highest {found['lag_max'] * 1e3:.0f} ms\n"
        f"CPU {found['cpu_cores']:.2f} of a core, RSS {found['rss_mib']:.0f} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
