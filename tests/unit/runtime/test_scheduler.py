"""The rhythm of polls, and what keeps it when the wall clock lies."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from tocsin.model import Blind, Sample
from tocsin.ports import CollectorSettings
from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.polling import Poll, Poller
from tocsin.runtime.scheduler import Scheduler
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing


class Counting:
    """A collector that counts its polls."""

    def __init__(self) -> None:
        self.polls = 0
        self.polled = asyncio.Event()

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        self.polls += 1
        self.polled.set()
        yield Sample(name="m", value=1.0, at=at)

    async def close(self) -> None:
        pass

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while self.polls < count:
                self.polled.clear()
                await self.polled.wait()


async def ignore(poll: Poll) -> None:
    pass


async def no_tick() -> None:
    pass


class Shifted(SteadyClock):
    """Tells the scheduler a time that is far ahead, as after a wall clock that was set back."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


def poller(name: str, collector: Counting, telemetry: Telemetry, interval: float = 0.1) -> Poller:
    settings = CollectorSettings(kind="k", name=name, interval=interval, deadline=0.2)
    return Poller(settings, collector, clock=SteadyClock(), sink=ignore, telemetry=telemetry, tracing=Tracing())


async def test_every_collector_is_polled_again_and_again() -> None:
    """Each at its interval, whatever the others do."""
    telemetry, one, two = Telemetry(), Counting(), Counting()
    scheduler = Scheduler(clock=SteadyClock(), telemetry=telemetry, tick=no_tick)
    scheduler.start([poller("one", one, telemetry), poller("two", two, telemetry)])
    await asyncio.gather(one.until(3), two.until(3))
    await scheduler.stop()


async def test_after_stop_nothing_is_polled() -> None:
    """A drain has an end."""
    telemetry, one = Telemetry(), Counting()
    scheduler = Scheduler(clock=SteadyClock(), telemetry=telemetry, tick=no_tick)
    scheduler.start([poller("one", one, telemetry)])
    await one.until(1)
    await scheduler.stop()
    count = one.polls
    await asyncio.sleep(0.3)
    assert one.polls == count


async def test_jobs_that_wait_for_a_time_far_ahead_are_rescued() -> None:
    """The wall clock was set back by an hour: APScheduler's jobs would wait for that hour."""
    telemetry, one = Telemetry(), Counting()
    scheduler = Scheduler(clock=Shifted(), telemetry=telemetry, tick=no_tick)
    scheduler.start([poller("one", one, telemetry)])
    await one.until(2)
    await scheduler.stop()
    assert telemetry.registry.get_sample_value("tocsin_scheduler_rescues_total") >= 2  # type: ignore[operator]


async def test_a_reload_keeps_the_rhythm_of_what_stays() -> None:
    """Replaced pollers are returned to be closed; the one that stays is polled on."""
    telemetry, stays, goes, comes = Telemetry(), Counting(), Counting(), Counting()
    scheduler = Scheduler(clock=SteadyClock(), telemetry=telemetry, tick=no_tick)
    kept, old = poller("stays", stays, telemetry), poller("goes", goes, telemetry)
    scheduler.start([kept, old])
    await asyncio.gather(stays.until(1), goes.until(1))
    gone = scheduler.replace([kept, poller("comes", comes, telemetry)])
    assert gone == [old]
    await asyncio.gather(stays.until(stays.polls + 1), comes.until(1))
    await scheduler.stop()


async def test_a_tick_that_fails_does_not_end_the_watchdog() -> None:
    """The loop that everything hangs on survives its passengers."""
    ticks = 0
    twice = asyncio.Event()

    async def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 2:
            twice.set()
        raise RuntimeError("broken")

    scheduler = Scheduler(clock=SteadyClock(), telemetry=Telemetry(), tick=tick)
    scheduler.start([])
    async with asyncio.timeout(20):
        await twice.wait()
    await scheduler.stop()
