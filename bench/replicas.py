"""What becomes of a storm's messages while leaders are killed and stopped, and how long nobody leads.

    python bench/replicas.py [--rounds 20] [--lease 3s] [--services 10] [--seed 1]

Two daemons on one embedded Postgres watch a shop and tell a stand-in Slack. In every round services break, and in the
middle of their messages the leader gets SIGKILL (and is started again); then more break, and the next leader gets
SIGSTOP, and SIGCONT when another leads. In the end all is well again. Printed: messages lost and told twice, at the
beginning and at the end of each incident (0 is wanted), the time from the signal to the next leader beside the lease,
and what a start takes (no part of a take-over, but a busy machine stretches it most). Exit 1 when a message was lost or
told twice, or a take-over lasted longer than two leases.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tocsin.durations import parse_duration
from tocsin.testing.replicas import Replicas
from tocsin.testing.waiting import eventually

WAIT = 300.0
"""Seconds for the last messages to arrive."""


async def storm(stage: Replicas, count: int, chance: random.Random) -> None:
    """`count` more services break; returns in the middle of their messages."""
    begin = len(stage.shop.broken)
    stage.shop.broken |= {f"s{begin + number}" for number in range(count)}
    target = begin + chance.randrange(count)
    await eventually(lambda: len(stage.posted()) > target, within=WAIT)
    await asyncio.sleep(chance.random() * 0.1)


async def struck(stage: Replicas, number: signal.Signals) -> float:
    """The leader gets the signal → seconds until another leads."""
    leader, epoch = await stage.leader(), stage.lease()[0]
    began = time.monotonic()
    leader.send(number)
    await stage.leader(after=epoch)
    took = time.monotonic() - began
    if number is signal.SIGSTOP:
        leader.send(signal.SIGCONT)
    else:
        await leader.end()
        await leader.start()
    return took


async def run(rounds: int, lease: str, services: int, seed: int) -> bool:
    chance = random.Random(seed)
    took: dict[signal.Signals, list[float]] = {signal.SIGKILL: [], signal.SIGSTOP: []}
    with tempfile.TemporaryDirectory() as folder:
        async with Replicas.on(Path(folder), lease=lease, services=2 * rounds * services) as stage:
            await stage.start()
            for done in range(rounds):
                for number in took:
                    await storm(stage, services, chance)
                    took[number].append(await struck(stage, number))
                print(
                    f"  round {done + 1}: {took[signal.SIGKILL][-1]:.2f} s, {took[signal.SIGSTOP][-1]:.2f} s",
                    flush=True,
                )
            starts = [start for replica in stage.each for start in replica.starts]
            wanted = set(stage.shop.broken)
            try:
                await eventually(lambda: wanted <= set(stage.posted()), within=WAIT)
                stage.shop.broken.clear()
                await eventually(lambda: wanted <= set(stage.ended()), within=WAIT)
            except AssertionError:
                pass  # what is missing is counted below
            begins, ends = stage.posted(), stage.ended()
    sound = True
    for what, found in (("begins", begins), ("ends", ends)):
        lost, twice = wanted - set(found), sum(count - 1 for count in found.values())
        print(f"{what:6} {len(wanted)} incidents: lost {len(lost)}, duplicated {twice}")
        sound = sound and not lost and not twice
    length = parse_duration(lease)
    walls, processor = zip(*starts, strict=True)
    print(f"{len(starts)} starts: worst {max(walls):.1f} s until it listens, {max(processor):.1f} CPU-s")
    for number, times in took.items():
        print(
            f"{number.name} {len(times)} times: take-over median {median(times):.2f} s, worst {max(times):.2f} s "
            f"= {max(times) / length:.2f} leases of {lease}"
        )
        sound = sound and max(times) <= 2 * length
    return sound


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--lease", default="3s")
    options.add_argument("--services", type=int, default=10)
    options.add_argument("--seed", type=int, default=1)
    sys.exit(0 if asyncio.run(run(**vars(options.parse_args()))) else 1)


if __name__ == "__main__":
    main()
