"""Two real daemons on one Postgres: whatever happens to the one that leads, each alert is told once, and its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tocsin.testing.replicas import Replicas
from tocsin.testing.waiting import eventually


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Replicas]:
    async with Replicas.on(tmp_path, lease="3s", services=12) as stage:
        await stage.start()
        yield stage


async def told(stage: Replicas, services: set[str]) -> None:
    """Each of them has its message."""
    await eventually(lambda: services <= set(stage.posted()))


async def over(stage: Replicas) -> None:
    """All is well again, and who was told the beginning is told the end."""
    stage.shop.broken.clear()
    await eventually(lambda: set(stage.ended()) == set(stage.posted()))
    everyone = set(stage.posted())
    assert (stage.posted(), stage.ended()) == (dict.fromkeys(everyone, 1), dict.fromkeys(everyone, 1))


async def test_the_leader_is_killed_and_then_its_successor_stopped(stage: Replicas) -> None:
    """SIGKILL and SIGSTOP in the middle of a storm: nothing lost, nothing twice, and one that wakes sends nothing."""
    first = await stage.leader()
    stage.shop.broken |= {f"s{number}" for number in range(6)}
    await eventually(lambda: len(stage.posted()) > 2)
    epoch, _ = stage.lease()
    await first.end(signal.SIGKILL)
    second = await stage.leader(after=epoch)
    assert second is not first
    await first.start()
    stage.shop.broken |= {f"s{number}" for number in range(6, 12)}
    await eventually(lambda: len(stage.posted()) > 7)
    epoch, _ = stage.lease()
    second.send(signal.SIGSTOP)
    assert await stage.leader(after=epoch) is first
    second.send(signal.SIGCONT)
    await told(stage, {f"s{number}" for number in range(12)})
    await eventually(lambda: second.log("leader.standing")[-1]["standing"] == "follows")
    await over(stage)


async def test_the_leader_loses_postgres_and_then_its_successor_ends(stage: Replicas) -> None:
    """Cut off it stops by its own clock and another takes over; SIGTERM gives the lease back, not to be waited for."""
    first = await stage.leader()
    stage.shop.broken |= {"s1"}
    await told(stage, {"s1"})
    epoch, _ = stage.lease()
    first.wire.hang()
    stage.shop.broken |= {"s2"}
    second = await stage.leader(after=epoch)
    assert second is not first
    await told(stage, {"s1", "s2"})
    await eventually(lambda: first.log("leader.standing")[-1]["standing"] == "cut off")
    first.wire.mend()
    await eventually(lambda: first.log("leader.standing")[-1]["standing"] == "follows")
    assert (await first.get("/readyz"))[1] == "ready, follows\n"
    epoch, _ = stage.lease()
    ended = asyncio.create_task(second.end(signal.SIGTERM))
    assert (await stage.leader(after=epoch) is first, await ended) == (True, 0)
    assert second.log("leader.standing")[-1]["standing"] == "follows"
    await over(stage)
