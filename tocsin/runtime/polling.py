"""One collector's polls: bounded in time, one at a time, and never a dead loop.

A poll ends at the collector's deadline whatever the collector does; what it yielded until then counts, and the rest is
a `Blind` that says why. A poll that takes a while hands on what it has every `FLUSH_EVERY` seconds (less often where
that takes long), so that one hanging target of a collector doesn't hold back what the others say.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tocsin.durations import format_duration
from tocsin.errors import TocsinError
from tocsin.model import Blind, Sample, Seconds
from tocsin.ports import Clock, Collector, CollectorSettings
from tocsin.runtime.ending import closed
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

FLUSH_EVERY: Final[Seconds] = 0.2
FLUSH_LATEST: Final[Seconds] = 1.0
FLUSH_REST: Final = 10
"""How many times as long as a part of a poll took to store and evaluate the next one waits: a thousand targets, each
known at another moment, must not have all their rules evaluated five times a second."""
POKE_SPACING: Final[Seconds] = 0.02
"""Between two polls that a collector asked for: a collector that pokes in a loop can't take the processor."""
CANCEL_GRACE: Final[Seconds] = 0.5
"""How long a cancelled poll may take to end before it is left behind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Poll:
    """What one poll, or a part of it, has seen."""

    source: str
    at: datetime
    samples: tuple[Sample, ...]
    blind: tuple[Blind, ...] = ()
    last: bool = True
    """False for a part of a poll that still runs."""
    took: Seconds = 0.0


Sink = Callable[[Poll], Awaitable[None]]


class Poller:
    """Runs `collector` when the scheduler says so, and at once when the collector pokes."""

    def __init__(
        self,
        settings: CollectorSettings,
        collector: Collector,
        *,
        clock: Clock,
        sink: Sink,
        telemetry: Telemetry,
        tracing: Tracing,
    ) -> None:
        self.settings = settings
        self.collector = collector
        self.started_at: Seconds = clock.monotonic()
        """Monotonic time of the last poll's begin: what the watchdog looks at."""
        self._clock = clock
        self._sink = sink
        self._telemetry = telemetry
        self._tracing = tracing
        self._running = False
        self._flush_every = FLUSH_EVERY
        self._idle = asyncio.Event()
        self._idle.set()
        self._poked = False
        self._stuck: asyncio.Task[None] | None = None
        self._wake: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        return self.settings.name

    def poke(self) -> None:
        """Poll soon; a second poke before that poll begins is the same poke. Call it from the loop's thread."""
        if self._closed or self._poked:
            return
        self._poked = True
        if not self._running:
            self._wake = asyncio.get_running_loop().create_task(self._poked_polls(), name=f"poke:{self.name}")

    async def _poked_polls(self) -> None:
        while self._poked and not self._closed and not self._running:
            wait = self.started_at + POKE_SPACING - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
            await self.poll()

    async def poll(self) -> None:
        """One poll; returns at once when one runs already (the scheduler counts that as an overrun)."""
        if self._running or self._closed:
            return
        self._running = True
        self._idle.clear()
        self._poked = False
        try:
            await self._poll()
        finally:
            self._running = False
            self._idle.set()
        if self._poked and not self._closed:
            self._wake = asyncio.get_running_loop().create_task(self._poked_polls(), name=f"poke:{self.name}")

    async def _poll(self) -> None:
        at, self.started_at = self._clock.now(), self._clock.monotonic()
        if self._stuck is not None and not self._stuck.done():
            why = (
                "the last poll was cancelled at its deadline and still has not ended; restart the daemon if this stays"
            )
            await self._hand_on(at, [], [Blind(why=why)], last=True, outcome="stuck")
            return
        self._stuck = None
        items: list[Sample | Blind] = []
        with self._tracing.span("collect", collector=self.name):
            outcome, failure = await self._drain(at, items)
        samples = [item for item in items if isinstance(item, Sample)]
        blind = [item for item in items if isinstance(item, Blind)]
        if failure:
            blind.append(Blind(why=failure))
        await self._hand_on(at, samples, blind, last=True, outcome=outcome if failure or not blind else "blind")

    async def _drain(self, at: datetime, items: list[Sample | Blind]) -> tuple[str, str]:
        """Fill `items` until the collector ends, fails or its time is up → (outcome, why it failed)."""
        task = asyncio.get_running_loop().create_task(_collect(self.collector, at, items), name=f"poll:{self.name}")
        ends = self.started_at + self.settings.time_limit
        try:
            while not task.done():
                left = ends - self._clock.monotonic()
                if left <= 0:
                    return "deadline", await self._give_up(task)
                await asyncio.wait({task}, timeout=min(left, self._flush_every))
                if items and not task.done():
                    await self._hand_on_part(at, items)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_GRACE)
            raise
        error = task.exception()
        if error is None:
            return "ok", ""
        if not isinstance(error, TocsinError):
            logger().error("poll.failed", collector=self.name, exc_info=error)
        return "failed", f"{error}" if isinstance(error, TocsinError) else f"{type(error).__name__}: {error}"

    async def _give_up(self, task: asyncio.Task[None]) -> str:
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_GRACE)
        if not task.done():
            self._stuck = task
            logger().error("poll.stuck", collector=self.name)
        return f"no answer within {format_duration(self.settings.time_limit)}"

    async def _hand_on_part(self, at: datetime, items: list[Sample | Blind]) -> None:
        # Blinds wait for the end: a part can't say yet what the poll as a whole has not seen.
        samples = tuple(item for item in items if isinstance(item, Sample))
        items[:] = [item for item in items if isinstance(item, Blind)]
        if samples:
            began = self._clock.monotonic()
            await self._give(Poll(source=self.name, at=at, samples=samples, last=False))
            self._flush_every = pause_after(self._clock.monotonic() - began)

    async def _hand_on(
        self, at: datetime, samples: list[Sample], blind: list[Blind], *, last: bool, outcome: str
    ) -> None:
        self._telemetry.polls.labels(self.name, outcome).inc()
        took = self._clock.monotonic() - self.started_at
        await self._give(
            Poll(source=self.name, at=at, samples=tuple(samples), blind=tuple(blind), last=last, took=took)
        )

    async def _give(self, poll: Poll) -> None:
        """Into the pipeline. A defect in there must not end the polls, nor stay unseen: /readyz says `failing`."""
        try:
            await self._sink(poll)
        except Exception:  # noqa: BLE001 (whatever it is, the next poll may do better)
            self._telemetry.pipeline_errors.labels(self.name).inc()
            self._telemetry.pipeline_ok.set(0)
            logger().exception("pipeline.failed", collector=self.name)
        else:
            self._telemetry.pipeline_ok.set(1)

    async def close(self, *, at_most: Seconds = math.inf) -> None:
        """No poll begins any more; one that runs is waited for, then the collector's connections are released.

        All of it in the time that a poll may take, or `at_most` seconds: what hangs is left behind.
        """
        self._closed = True
        limit = min(self.settings.time_limit + CANCEL_GRACE, at_most)
        await closed("collector.close_failed", self._release(), limit=limit, collector=self.name)

    async def _release(self) -> None:
        await self._idle.wait()
        await self.collector.close()


def pause_after(took: Seconds) -> Seconds:
    """How long what a poll yields is gathered, when handing on its last part took so long."""
    return min(max(FLUSH_EVERY, FLUSH_REST * took), FLUSH_LATEST)


async def _collect(collector: Collector, at: datetime, items: list[Sample | Blind]) -> None:
    async for item in collector.collect(at):
        items.append(item)  # noqa: PERF401 (kept when the poll is cancelled half-way)
