"""When to poll: APScheduler for the rhythm, a monotonic watchdog for the days when the wall clock lies.

Starts are staggered, because 200 polls at one instant are 10 times later than 200 spread over their interval.
APScheduler counts by the wall clock: one that is set back leaves its jobs waiting for that long (its issues 752 and
1066). The watchdog counts by the monotonic clock and starts what is overdue. It also measures the loop's own lag, and
runs `tick` once a second for everything that time alone brings about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, timedelta
from typing import Any, Final

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from tocsin.model import Seconds
from tocsin.ports import Clock
from tocsin.runtime.ending import ended
from tocsin.runtime.polling import Poller
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

TICK: Final[Seconds] = 1.0
STAGGER: Final[Seconds] = 1.0
"""The first polls are spread over this long, or their interval if that is shorter."""
OVERDUE: Final[float] = 1.5
"""A poll is overdue after this many of its intervals, and a second."""
POLLS_END: Final[Seconds] = 10.5
"""For running polls and the collectors' close(), when the daemon ends."""

_EVENTS: Final = {EVENT_JOB_MISSED: "missed", EVENT_JOB_MAX_INSTANCES: "overrun", EVENT_JOB_ERROR: "error"}


class Scheduler:
    """Holds the pollers and keeps their rhythm. All on one event loop."""

    def __init__(self, *, clock: Clock, telemetry: Telemetry, tick: Callable[[], Awaitable[None]]) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._tick = tick
        self._pollers: dict[str, Poller] = {}
        # Jobs are told their times by the wall clock, as APScheduler's own wake-ups are.
        self._jobs: Any = AsyncIOScheduler(timezone=UTC)
        # Its warnings say what the listener below counts and logs with our fields.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._jobs.add_listener(self._saw, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
        self._watch: asyncio.Task[None] | None = None

    def start(self, pollers: Iterable[Poller]) -> None:
        """Begin to poll. Call it on the loop."""
        self._jobs.start()
        self.replace(pollers)
        self._watch = asyncio.get_running_loop().create_task(self._watchdog(), name="watchdog")

    def replace(self, pollers: Iterable[Poller]) -> list[Poller]:
        """Poll these from now on. A poller that was here already keeps its rhythm. → those that are no longer here."""
        wanted = {poller.name: poller for poller in pollers}
        gone = [poller for poller in self._pollers.values() if wanted.get(poller.name) is not poller]
        for poller in gone:
            self._jobs.remove_job(poller.name)
        fresh = [poller for name, poller in wanted.items() if self._pollers.get(name) is not poller]
        for place, poller in enumerate(fresh):
            self._add(poller, place / len(fresh))
        self._pollers = wanted
        return gone

    def _add(self, poller: Poller, share: float) -> None:
        interval = poller.settings.interval
        first = self._clock.now() + timedelta(seconds=share * min(interval, STAGGER))
        self._jobs.add_job(
            self._run, IntervalTrigger(seconds=interval, timezone=UTC), args=(poller,), id=poller.name,
            name=f"poll {poller.name}", next_run_time=first, coalesce=True, max_instances=1,
            misfire_grace_time=max(1, round(interval)),
        )  # fmt: skip

    async def _run(self, poller: Poller) -> None:
        due = poller.started_at + poller.settings.interval
        self._telemetry.poll_lag.observe(max(0.0, self._clock.monotonic() - due))
        await poller.poll()

    def _saw(self, event: Any) -> None:
        kind = _EVENTS[event.code]
        self._telemetry.jobs.labels(kind).inc()
        error = getattr(event, "exception", None)
        if error is not None:
            logger().error("scheduler.error", collector=event.job_id, exc_info=error)
        else:
            logger().warning(f"scheduler.{kind}", collector=event.job_id)

    async def _watchdog(self) -> None:
        expected = self._clock.monotonic() + TICK
        while True:
            await self._clock.sleep(max(0.0, expected - self._clock.monotonic()))
            now = self._clock.monotonic()
            self._telemetry.loop_lag.set(max(0.0, now - expected))
            # After a long pause (a laptop's lid, SIGSTOP) count on from now instead of catching up tick by tick.
            expected = max(expected + TICK, now)
            self._rescue(now)
            try:
                await self._tick()
            except Exception:  # noqa: BLE001 (one bad tick must not end the loop that everything hangs on)
                logger().exception("watchdog.tick_failed")

    def _rescue(self, now: Seconds) -> None:
        for poller in self._pollers.values():
            if now - poller.started_at > poller.settings.interval * OVERDUE + 1 + poller.settings.time_limit:
                self._telemetry.rescued.inc()
                logger().warning("scheduler.rescue", collector=poller.name)
                poller.started_at = now
                poller.poke()

    async def stop(self, *, at_most: Seconds = POLLS_END) -> None:
        """No new polls; those that run are waited for (their deadline bounds them, and `at_most` all of it), then
        collectors are closed.

        APScheduler's own shutdown cancels running coroutines, so jobs are taken away first.
        """
        if self._watch is not None:
            await ended(self._watch)
        self._jobs.pause()
        self._jobs.remove_all_jobs()
        await asyncio.gather(*(poller.close(at_most=at_most) for poller in self._pollers.values()))
        self._jobs.shutdown(wait=False)
