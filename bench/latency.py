"""How long from a fault to the message: the demo's five faults, polls of one second, many trials each.

    python bench/latency.py [--trials 20] [--fault NAME…] [--peer] [--json]

The clock starts when the fault is injected, at a random moment between polls, and stops when Slack has the message
(the stand-in's acknowledgement). A query over 1 s can't be told before it is 1 s old: its time is also given from that
moment. With --peer the stock chain watches the same faults right after, and the ratio of the medians is printed.

Measured elsewhere, same faults: the chain tuned to 1 s everywhere and group_wait 0 took 0.6 to 2.1 s by fault, with
its defaults 41 to 51 s, and it never saw the burst from a new address.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from stock_chain import Receiver, chain_on

from tocsin.errors import TocsinError
from tocsin.testing.demo import FAULTS, Fault, Stage, set_stage
from tocsin.testing.demo.channel import resolved_at
from tocsin.testing.demo.settings import FLAP_WINDOW

NOTICE = 15.0
END = 60.0
OVER_BY_ITSELF = {"slow-query": 1.0}
"""Seconds of a fault's life in which it is none yet."""

Rang = Callable[[float], Awaitable[float | None]]


async def tocsin_trial(fault: Fault, stage: Stage) -> float | None:
    """Seconds from the fault to the message; None when none came."""
    before = len(stage.slack.posted())
    await asyncio.sleep(random.random())
    injected = time.time()
    await fault.inject(stage)
    told = await stage.until(lambda: len(stage.slack.posted()) > before, NOTICE)
    took = stage.slack.posted()[before].posted_at - injected if told else None
    await fault.mend(stage)
    await stage.until(
        lambda: all(resolved_at(one, stage.slack.thread(one)) for one in stage.slack.posted()[before:]), END
    )
    # Past the flap window, so that the next is a message of its own, and until the last edit has left: Slack takes a
    # message a second, and this is not about how long a queue of them is.
    await asyncio.sleep(FLAP_WINDOW + 2.0)
    if len(stage.slack.posted()) > before + 1:
        raise TocsinError(f"{fault.name} was told {len(stage.slack.posted()) - before} times")
    return took


async def chain_trial(fault: Fault, stage: Stage, receiver: Receiver) -> float | None:
    """The same, told by Alertmanager."""
    await asyncio.sleep(random.random())
    injected = time.time()
    await fault.inject(stage)
    at = await receiver.rang(fault.name, NOTICE)
    await fault.mend(stage)
    await receiver.fell_silent(END)
    await asyncio.sleep(1.0)
    return None if at is None else at - injected


async def measure_tocsin(faults: Sequence[Fault], trials: int) -> dict[str, list[float | None]]:
    async with set_stage() as stage:
        return await _measure(faults, trials, "tocsin", lambda fault: tocsin_trial(fault, stage))


async def measure_chain(faults: Sequence[Fault], trials: int) -> dict[str, list[float | None]]:
    async with set_stage(daemon=False) as stage:
        watching: AbstractAsyncContextManager[tuple[Receiver, object]] = chain_on(stage)
        async with watching as (receiver, _):
            return await _measure(faults, trials, "stock chain", lambda fault: chain_trial(fault, stage, receiver))


async def _measure(
    faults: Sequence[Fault], trials: int, who: str, trial: Callable[[Fault], Awaitable[float | None]]
) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for fault in faults:
        found[fault.name] = []
        for number in range(trials):
            found[fault.name].append(await trial(fault))
            sys.stderr.write(f"\r{who}: {fault.name} {number + 1}/{trials}   ")
            sys.stderr.flush()
    sys.stderr.write("\r" + " " * 60 + "\r")
    return found


def median(times: Sequence[float | None]) -> float | None:
    seen = [one for one in times if one is not None]
    return statistics.median(seen) if seen and len(seen) * 2 > len(times) else None


def p95(times: Sequence[float | None]) -> float | None:
    """The nearest rank; a missed one counts as the slowest."""
    ranked = sorted(times, key=lambda one: float("inf") if one is None else one)
    return ranked[max(0, -(-95 * len(ranked) // 100) - 1)]


def shown(seconds: float | None) -> str:
    return f"{'missed':>8}" if seconds is None else f"{seconds:7.2f}s"


def print_table(ours: dict[str, list[float | None]], theirs: dict[str, list[float | None]]) -> None:
    print(f"{'fault → message':<28}{'trials':>7}{'median':>9}{'p95':>9}", end="")
    print(f"{'chain median':>14}{'chain p95':>11}{'ratio':>8}" if theirs else "")
    for name, times in ours.items():
        rows = [(name, times, theirs.get(name, []))]
        if offset := OVER_BY_ITSELF.get(name):
            later = [None if one is None else one - offset for one in times]
            rows.append((f"  once it is over {offset:g} s", later, [o and o - offset for o in theirs.get(name, [])]))
        for title, mine, other in rows:
            print(f"{title:<28}{len(mine):>7} {shown(median(mine))} {shown(p95(mine))}", end="")
            if theirs:
                a, b = median(mine), median(other)
                ratio = f"{a / b:8.2f}" if a is not None and b else "       -"
                print(f"      {shown(b)}   {shown(p95(other))}{ratio}", end="")
            print()
    print(
        "\nMeasured elsewhere, same faults: the stock chain tuned (1 s everywhere, group_wait 0) 0.6 to 2.1 s by fault,"
    )
    print("with its defaults 41 to 51 s; it never saw the burst from a new address.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="repeat for several; default: all")
    parser.add_argument("--peer", action="store_true", help="measure the stock chain too, in the same run")
    parser.add_argument("--json", action="store_true", help="the times of every trial, as one JSON object")
    options = parser.parse_args()
    faults = [FAULTS[name] for name in options.fault or FAULTS]
    try:
        ours = asyncio.run(measure_tocsin(faults, options.trials))
        theirs = asyncio.run(measure_chain(faults, options.trials)) if options.peer else {}
    except TocsinError as error:
        print(f"latency: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"tocsin": ours, "stock_chain": theirs or None}))
    else:
        print_table(ours, theirs)
    return 0 if all(None not in times for times in ours.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
