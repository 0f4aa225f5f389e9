"""The example application under load: N campaigns running, N users on top, Tocsin watching all the while.

    python bench/campaigns.py [--campaigns 100,200,400] [--seconds 15] [--rounds 3] [--recipients 2000] [--json]

Postgres, the application, its worker, the daemon and the generator share this machine's cores. Each user is signed in,
asks, waits up to a second (half of one on average), and asks again: the list, a campaign, its progress, its report, and
once in twenty a new campaign that is launched. The generator is a process of its own. A time is from the request to the
last byte of its answer.

The same users then go to the application without tocsin.asgi, in turns, on the same database: the ratio of the p95s is
what the layers cost. Where somebody else uses the machine too, times say little: beside them is what a request took of
the processor, in the application's process with and without the layers, and in Postgres (the worker's statements and
the daemon's are in it). The daemon's share is its processor time over the time of all rounds, in cores.

Aim: p95 ≤ 0.5 s at 100 and no error (the promise is 2 s); ratio of p95 ≤ 1.1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tocsin.testing.demo.processes import Child
from tocsin.testing.demo.stage import CHECKOUT, Stage, set_stage

PACE = 200
BARE = (
    "import sys; import examples.campaigns.__main__ as main;"
    "main.protect = lambda app, **_: app; sys.exit(main.main(sys.argv[1:]))"
)
"""The application as it would be without its layers. Only here: the application itself has no such switch."""


@dataclass
class Load:
    """What one generator saw."""

    times: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of processor time that the application's process took meanwhile."""

    def __add__(self, other: Load) -> Load:
        return Load(
            self.times + other.times, self.errors + other.errors, self.seconds + other.seconds, self.cpu + other.cpu
        )

    def quantile(self, share: float) -> float:
        """Seconds; the nearest rank."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")

    def figures(self) -> dict[str, float]:
        return {
            "requests": len(self.times),
            "per_second": round(len(self.times) / self.seconds, 1),
            "p50": round(self.quantile(0.50), 4),
            "p95": round(self.quantile(0.95), 4),
            "p99": round(self.quantile(0.99), 4),
            "errors": self.errors,
            "cpu_ms": round(self.cpu / max(1, len(self.times)) * 1e3, 3),
        }


# The generator's process ---------------------------------------------------------------------------------------------


async def generate(address: str, token_file: Path, campaigns: Sequence[int], users: int, seconds: float) -> Load:
    """`users` of them at once, for `seconds`."""
    load = Load(seconds=seconds)
    ends = time.perf_counter() + seconds
    headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        await asyncio.gather(
            *(_user(http, address, random.Random(user), campaigns, ends, load) for user in range(users))
        )
    return load


async def _user(
    http: aiohttp.ClientSession, address: str, dice: random.Random, campaigns: Sequence[int], ends: float, load: Load
) -> None:
    await asyncio.sleep(dice.random())
    while time.perf_counter() < ends:
        for method, path, body in _asks(dice, campaigns):
            began = time.perf_counter()
            try:
                async with http.request(method, address + path, json=body) as response:
                    answer = await response.read()
                    load.errors += response.status >= 400
            except (aiohttp.ClientError, TimeoutError):
                load.errors += 1
                break
            load.times.append(time.perf_counter() - began)
            if method == "POST" and response.status == 201:
                await _launched(http, address, json.loads(answer)["id"], load)
        await asyncio.sleep(dice.random())


async def _launched(http: aiohttp.ClientSession, address: str, campaign: int, load: Load) -> None:
    began = time.perf_counter()
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with http.post(f"{address}/campaigns/{campaign}/launch") as response:
            await response.read()
            load.errors += response.status >= 400
    load.times.append(time.perf_counter() - began)


def _asks(dice: random.Random, campaigns: Sequence[int]) -> list[tuple[str, str, Any]]:
    path = f"/campaigns/{dice.choice(campaigns)}"
    draw = dice.random()
    if draw < 0.05:
        return [("POST", "/campaigns", _a_campaign(5))]
    if draw < 0.35:
        return [("GET", "/campaigns", None)]
    if draw < 0.75:
        return [("GET", f"{path}/progress", None)]
    if draw < 0.95:
        return [("GET", path, None)]
    return [("GET", f"{path}/report", None)]


def _a_campaign(recipients: int) -> dict[str, Any]:
    people = [f"reader{number}@example.com" for number in range(recipients)]
    return {"name": "Load", "subject": "Hello", "body": "Dear reader", "recipients": people}


# The stage -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One of the two that are measured."""

    address: str
    process: psutil.Process


def spent(process: psutil.Process) -> float:
    """Seconds of processor time until now, with those of the processes under it."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(one.cpu_times()[:2])
    return total


async def serve(stage: Stage, stack: contextlib.AsyncExitStack, name: str, *program: str) -> Server:
    """A second server of the application on the stage's database, without a worker."""
    child = await Child.start(
        name, [sys.executable, *program, "--port", "0", "--no-worker"], folder=stage.folder,
        env={**stage.app_env, "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    stack.push_async_callback(child.stop)
    address = str((await child.said(30, event="campaigns.listening"))["address"])
    return Server(address, psutil.Process(child.pid))


async def launch(stage: Stage, address: str, count: int, recipients: int) -> list[int]:
    """The ids of `count` campaigns that run."""
    ids = []
    for _ in range(count):
        async with stage.http.post(
            f"{address}/campaigns", json=_a_campaign(recipients), headers=stage.auth.headers
        ) as response:
            ids.append((await response.json())["id"])
        async with stage.http.post(f"{address}/campaigns/{ids[-1]}/launch", headers=stage.auth.headers) as response:
            response.raise_for_status()
    return ids


async def measured(stage: Stage, server: Server, ids: Sequence[int], users: int, seconds: float) -> Load:
    """One generator's run, as a process."""
    before = spent(server.process)
    asked = {
        "address": server.address,
        "token": str(stage.auth.token),
        "ids": list(ids),
        "users": users,
        "seconds": seconds,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--generate", json.dumps(asked), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return Load(**{**json.loads(out), "cpu": spent(server.process) - before})


async def bench(sizes: Sequence[int], seconds: float, rounds: int, recipients: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with set_stage(app_arguments=("--pace", str(PACE))) as stage, contextlib.AsyncExitStack() as stack:
        with_layers = await serve(stage, stack, "layers", "-m", "examples.campaigns")
        bare = await serve(stage, stack, "bare", "-c", BARE)
        assert stage.daemon is not None
        daemon, postgres = psutil.Process(stage.daemon.pid), psutil.Process(stage.postgres.pid)
        ids: list[int] = []
        for size in sizes:
            ids += await launch(stage, with_layers.address, size - len(ids), recipients)
            await measured(stage, with_layers, ids, size, 2.0)
            await measured(stage, bare, ids, size, 2.0)
            began, watching, storing = time.perf_counter(), spent(daemon), spent(postgres)
            protected, unprotected, ratios = Load(), Load(), []
            for turn in range(rounds):
                # Either goes first in turn: what the machine does meanwhile is nobody's advantage.
                sides = (with_layers, bare) if turn % 2 == 0 else (bare, with_layers)
                loads = {side: await measured(stage, side, ids, size, seconds / rounds) for side in sides}
                one, other = loads[with_layers], loads[bare]
                protected, unprotected = protected + one, unprotected + other
                ratios.append(one.quantile(0.95) / other.quantile(0.95))
            took = time.perf_counter() - began
            found[str(size)] = {
                **protected.figures(),
                "bare": unprotected.figures(),
                "p95_ratio": round(statistics.median(ratios), 3),
                "cpu_ratio": round(protected.figures()["cpu_ms"] / unprotected.figures()["cpu_ms"], 3),
                "postgres_cores": round((spent(postgres) - storing) / took, 3),
                "daemon_cores": round((spent(daemon) - watching) / took, 3),
                "daemon_rss_mb": round(daemon.memory_info().rss / 1e6, 1),
            }
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", default="100,200,400", help="how many at once; several, rising")
    parser.add_argument("--seconds", type=float, default=15.0, help="of measuring, for each number and side")
    parser.add_argument("--rounds", type=int, default=3, help="turns in which the two sides are measured")
    parser.add_argument(
        "--recipients", type=int, default=2000, help="of each campaign: none may finish while it is measured"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--generate", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.generate:
        asked = json.loads(options.generate)
        load = asyncio.run(
            generate(asked["address"], Path(asked["token"]), asked["ids"], asked["users"], asked["seconds"])
        )
        print(json.dumps(vars(load)))
        return 0
    sizes = [int(size) for size in options.campaigns.split(",")]
    found = asyncio.run(bench(sizes, options.seconds, options.rounds, options.recipients))
    if options.json:
        print(json.dumps(found))
        return 0
    print(
        "campaigns  req/s   p50 ms   p95 ms   p99 ms  errors   bare p95   ratio   cpu ms   bare   ratio   "
        "cores: Postgres  daemon   MB"
    )
    for size, one in found.items():
        print(
            f"{size:>9}  {one['per_second']:>5.0f}  {one['p50'] * 1e3:>7.1f}  {one['p95'] * 1e3:>7.1f}  "
            f"{one['p99'] * 1e3:>7.1f}  {one['errors']:>6}  {one['bare']['p95'] * 1e3:>9.1f}  "
            f"{one['p95_ratio']:>6.2f}  {one['cpu_ms']:>7.3f}  {one['bare']['cpu_ms']:>5.3f}  "
            f"{one['cpu_ratio']:>6.2f}  {one['postgres_cores']:>15.3f}  {one['daemon_cores']:>6.3f}  "
            f"{one['daemon_rss_mb']:>4.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
