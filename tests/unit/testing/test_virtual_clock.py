"""The clock of the tests: time passes only where a test says so."""

from __future__ import annotations

import asyncio

from tocsin.testing.clock import START, VirtualClock


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    """Each at its own time, however far the clock is moved at once."""
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(*each)) for each in (("c", 30), ("a", 1), ("b", 20))]
    await clock.advance(25)
    assert woken == [("a", 1.0), ("b", 20.0)]
    await clock.advance(25)
    assert woken[2:] == [("c", 30.0)]
    await asyncio.gather(*tasks)


async def test_a_jump_moves_the_wall_clock_alone() -> None:
    """As when an operator sets it: durations are not touched."""
    clock = VirtualClock()
    clock.jump(-3600)
    assert (clock.monotonic(), (clock.now() - START).total_seconds()) == (0.0, -3600.0)
