"""What the idle daemon costs: memory and CPU over a minute, all collectors at 10 s polls on the demo's stage.

    python bench/footprint.py [--seconds 60] [--interval 10s] [--traffic] [--peer] [--json]

With --traffic the demo's users sign in and read campaigns meanwhile, about three requests a second. RSS is the highest
seen, USS the part of it that no other process shares, CPU the share of one core. With --peer the stock chain's five
processes are measured the same way, at the same interval. Also the wall time of `tocsin --help`, the best of five.

Measure where requirements.lock alone is installed: beside the development tools structlog loads rich, mako Pygments.
Measured elsewhere: Prometheus, Alertmanager, postgres_exporter, blackbox_exporter and mtail, 132 MiB and 0.3 % in sum.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from stock_chain import chain_on

from tocsin.errors import TocsinError
from tocsin.testing.demo import set_stage

MIB = 1024 * 1024
WARM_UP = 10.0


async def watch(pids: Sequence[int], seconds: float) -> dict[str, float]:
    """Highest RSS and USS in MiB, mean CPU in percent of a core; in sum over `pids`, which are our children."""
    processes = [psutil.Process(pid) for pid in pids]
    await asyncio.sleep(WARM_UP)
    began, used = time.monotonic(), sum(_cpu(process) for process in processes)
    highest = own = 0.0
    while time.monotonic() - began < seconds:
        highest = max(highest, sum(process.memory_info().rss for process in processes) / MIB)
        own = max(own, sum(process.memory_full_info().uss for process in processes) / MIB)
        await asyncio.sleep(2.0)
    took = time.monotonic() - began
    spent = sum(_cpu(process) for process in processes) - used
    return {"rss_mib": round(highest, 1), "uss_mib": round(own, 1), "cpu_percent": round(100 * spent / took, 2)}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure_tocsin(seconds: float, interval: str, traffic: bool) -> dict[str, float]:
    async with set_stage(interval=interval, traffic=traffic) as stage:
        assert stage.daemon is not None
        return await watch([stage.daemon.pid], seconds)


async def measure_chain(seconds: float, interval: str, traffic: bool) -> dict[str, float]:
    async with set_stage(daemon=False, traffic=traffic) as stage, chain_on(stage, interval=interval) as (_, children):
        return await watch([child.pid for child in children], seconds)


def help_seconds() -> float:
    """The wall time of `tocsin --help`, the best of five."""
    program = Path(sys.executable).with_name("tocsin")
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([str(program), "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return round(min(times), 3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", default="10s", help="time between polls")
    parser.add_argument("--traffic", action="store_true", help="with users at work")
    parser.add_argument("--peer", action="store_true", help="measure the stock chain too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    try:
        found["tocsin"] = asyncio.run(measure_tocsin(options.seconds, options.interval, options.traffic))
        if options.peer:
            found["stock_chain"] = asyncio.run(measure_chain(options.seconds, options.interval, options.traffic))
        found["help_seconds"] = help_seconds()
    except (TocsinError, subprocess.CalledProcessError) as error:
        print(f"footprint: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found))
        return 0
    print(
        f"{'users at work' if options.traffic else 'idle'}, {options.seconds:g} s".ljust(18)
        + "     RSS         USS        CPU"
    )
    for name in ("tocsin", "stock_chain"):
        if name in found:
            one = found[name]
            print(
                f"{name.replace('_', ' '):<18}{one['rss_mib']:>7} MiB {one['uss_mib']:>7} MiB {one['cpu_percent']:>7} %"
            )
    print("measured elsewhere, the stock chain of five processes: 132 MiB, 0.3 %; the aim: at most 100 MB, 2 %")
    print(f"tocsin --help: {found['help_seconds']} s (aim: under 0.3 s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
