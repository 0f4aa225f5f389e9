"""A poll is bounded, one at a time, and never ends the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime

import pytest
from structlog.testing import capture_logs

from tocsin.errors import CollectError
from tocsin.model import Blind, Sample
from tocsin.ports import Collector, CollectorSettings
from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.polling import Poll, Poller, pause_after
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

Script = Callable[[datetime], AsyncIterator[Sample | Blind]]


class Scripted:
    """A collector whose polls are a function."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.closed = False

    def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        return self._script(at)

    async def close(self) -> None:
        self.closed = True


class Seen(list[Poll]):
    """The sink: keeps polls and lets a test wait for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()

    async def __call__(self, poll: Poll) -> None:
        self.append(poll)
        self.arrived.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self) < count:
                self.arrived.clear()
                await self.arrived.wait()


def poller(collector: Collector, sink: Seen, deadline: float = 5.0) -> Poller:
    settings = CollectorSettings(kind="k", name="c", interval=60.0, deadline=deadline)
    return Poller(settings, collector, clock=SteadyClock(), sink=sink, telemetry=Telemetry(), tracing=Tracing())


def sample(at: datetime, name: str = "m") -> Sample:
    return Sample(name=name, value=1.0, at=at)


async def test_a_poll_hands_on_what_the_collector_yields() -> None:
    """Samples and blind spots, in one poll."""

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        yield sample(at)
        yield Blind(why="no grant")

    seen = Seen()
    await poller(Scripted(script), seen).poll()
    assert [(len(poll.samples), [blind.why for blind in poll.blind], poll.last) for poll in seen] == [
        (1, ["no grant"], True)
    ]


@pytest.mark.parametrize(
    ("error", "why"),
    [(CollectError("connection refused"), "connection refused"), (KeyError("x"), "KeyError: 'x'")],
)
async def test_a_collector_that_raises_is_blind_and_keeps_what_it_said(error: Exception, why: str) -> None:
    """A failure is a result: the loop goes on, the samples before it count."""

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        yield sample(at)
        raise error

    seen = Seen()
    await poller(Scripted(script), seen).poll()
    assert [(len(poll.samples), [blind.why for blind in poll.blind]) for poll in seen] == [(1, [why])]


async def test_a_hanging_collector_ends_at_its_deadline() -> None:
    """And what it yielded before that has been handed on."""

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        yield sample(at)
        await asyncio.Event().wait()

    seen = Seen()
    await poller(Scripted(script), seen, deadline=0.5).poll()
    assert [(len(poll.samples), poll.last) for poll in seen] == [(1, False), (0, True)]
    assert [blind.why for blind in seen[-1].blind] == ["no answer within 500ms"]


@pytest.mark.parametrize(("took", "pause"), [(0.0, 0.2), (0.01, 0.2), (0.05, 0.5), (3.0, 1.0)])
def test_parts_that_take_long_come_less_often(took: float, pause: float) -> None:
    """Handing on costs a tenth of the time at most, and a second's delay."""
    assert pause_after(took) == pytest.approx(pause)


async def test_a_poller_heeds_how_long_its_parts_took() -> None:
    """A sink that evaluates for long is left alone for longer."""

    class Slow(Seen):
        async def __call__(self, poll: Poll) -> None:
            await super().__call__(poll)
            await asyncio.sleep(0.12)

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        yield sample(at)
        await asyncio.Event().wait()

    patient = poller(Scripted(script), Slow(), deadline=0.5)
    await patient.poll()
    assert patient._flush_every == 1.0


async def test_a_collector_that_ignores_cancellation_does_not_pile_up() -> None:
    """The next poll says that the last one is stuck instead of starting a second."""
    release = asyncio.Event()
    started = 0

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        nonlocal started
        started += 1
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        yield sample(at)

    seen = Seen()
    stubborn = poller(Scripted(script), seen, deadline=0.1)
    await stubborn.poll()
    await stubborn.poll()
    assert started == 1
    assert "still has not ended" in seen[-1].blind[0].why
    release.set()
    await asyncio.sleep(0)


async def test_a_poke_polls_at_once_and_twice_is_once() -> None:
    """What is noticed between polls doesn't wait for the next one."""

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        yield sample(at)

    seen = Seen()
    poked = poller(Scripted(script), seen)
    poked.poke()
    poked.poke()
    await seen.until(1)
    await poked.close()
    assert len(seen) == 1


async def test_a_poke_during_a_poll_leads_to_one_more() -> None:
    """What is noticed while a poll runs may have come too late for it."""

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        if not seen:
            poked.poke()
        yield sample(at)

    seen = Seen()
    poked = poller(Scripted(script), seen)
    await poked.poll()
    await seen.until(2)
    await poked.close()
    assert len(seen) == 2


async def test_closing_waits_for_the_running_poll_and_then_releases_the_collector() -> None:
    """A drain loses nothing that was already under way."""
    go = asyncio.Event()

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        await go.wait()
        yield sample(at)

    seen = Seen()
    collector = Scripted(script)
    running = poller(collector, seen)
    task = asyncio.create_task(running.poll())
    await asyncio.sleep(0)
    closing = asyncio.create_task(running.close())
    go.set()
    await asyncio.gather(task, closing)
    assert (len(seen), collector.closed) == (1, True)


async def test_a_collector_that_does_not_close_is_left_behind() -> None:
    """Though it swallows its cancellation: the daemon's end and a reload go on."""
    released = asyncio.Event()

    class Stubborn(Scripted):
        async def close(self) -> None:
            while not released.is_set():
                with suppress(asyncio.CancelledError):
                    await released.wait()

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        yield sample(at)

    stuck = poller(Stubborn(script), Seen())
    try:
        with capture_logs() as logs:
            await stuck.close(at_most=0.01)
    finally:
        released.set()
    assert [(line["event"], line["error"]) for line in logs] == [
        ("collector.close_failed", "it has not ended within 0.01 s")
    ]


async def test_a_defect_behind_the_polls_is_seen_and_does_not_end_them() -> None:
    """The gauge that /readyz reads goes to 0, and back to 1 with the next poll that gets through."""

    async def script(at: datetime) -> AsyncIterator[Sample | Blind]:
        yield sample(at)

    broken = True

    async def sink(poll: Poll) -> None:
        if broken:
            raise RuntimeError("a defect")

    telemetry = Telemetry()
    settings = CollectorSettings(kind="k", name="c", interval=60.0)
    polled = Poller(settings, Scripted(script), clock=SteadyClock(), sink=sink, telemetry=telemetry, tracing=Tracing())
    seen = []
    for state in (True, False):
        broken = state
        await polled.poll()
        seen.append(telemetry.registry.get_sample_value("tocsin_pipeline_up"))
    assert seen == [0.0, 1.0]
