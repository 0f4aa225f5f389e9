"""The dead man's switch: somebody outside is pinged while an alert would get through, and not a moment longer.

    heartbeat: {url_env: HEARTBEAT_URL, every: 1m}

Every `every` the canary walks (canary.py). Only when its receipt is durable within `within`, no rule group is overdue
and nothing has waited for a destination longer than LATE, the address is asked (GET). Where any of that fails there is
no ping, and the log says why (`heartbeat.withheld`). Whoever is pinged tells people when pings stay out: a service such
as healthchecks.io, or a second Tocsin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import aiohttp

from tocsin.durations import format_duration
from tocsin.errors import StateError
from tocsin.model import Seconds
from tocsin.ports import Clock, CollectorSettings
from tocsin.runtime.canary import NAME, SPEC, Canary, Walk
from tocsin.runtime.courier import Endpoint
from tocsin.runtime.ending import ended
from tocsin.runtime.evaluation import DEFAULT_INTERVAL
from tocsin.runtime.pipeline import Pipeline
from tocsin.runtime.polling import Poller
from tocsin.runtime.sources import Source, new_source
from tocsin.state.canary import forget_walks, has_receipt
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from tocsin.state import State

LATE: Final = timedelta(minutes=5)
"""What has been due for a destination for so long does not get through."""
LOOK_EVERY: Final[Seconds] = 0.1
"""Between two looks for the receipt."""
PING_DEADLINE: Final[Seconds] = 10.0
PING_TRIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class HeartbeatPlan:
    """What the configuration says of it."""

    url: str = field(repr=False)
    every: Seconds
    within: Seconds
    through: tuple[str, ...] = ()
    """Notifiers of which one must be able to take a message; empty: the first, and whoever takes over from it."""


class Heartbeat:
    """The canary, what judges its walks, and the ping. All on one event loop."""

    def __init__(
        self,
        plan: HeartbeatPlan,
        *,
        clock: Clock,
        telemetry: Telemetry,
        state: State,
        pipeline: Callable[[], Pipeline],
        endpoints: Callable[[], Iterable[Endpoint]],
    ) -> None:
        self.plan = plan
        self._clock = clock
        self._telemetry = telemetry
        self._state = state
        self._pipeline = pipeline
        self._endpoints = endpoints
        self._walks: asyncio.Queue[Walk] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.canary = Canary(clock, begun=self._walks.put_nowait, through=self._through)

    # Its parts -------------------------------------------------------------------------------------------------------

    @property
    def _settings(self) -> CollectorSettings:
        return CollectorSettings(kind=NAME, name=NAME, interval=self.plan.every)

    def source(self) -> Source:
        """Of its polls."""
        return new_source(self._settings, SPEC, foreign=frozenset(), now=self._clock.now())

    def poller(self, tracing: Tracing) -> Poller:
        """For the scheduler."""
        return Poller(
            self._settings, self.canary, clock=self._clock, sink=self._pipeline().ingest, telemetry=self._telemetry,
            tracing=tracing,
        )  # fmt: skip

    def endpoint(self) -> Endpoint:
        """For delivery."""
        return Endpoint(name=NAME, notifier=self.canary, deadline=self.plan.within)

    def _through(self) -> list[Endpoint]:
        real = {endpoint.name: endpoint for endpoint in self._endpoints() if endpoint.name != NAME}
        if self.plan.through:
            return [real[name] for name in self.plan.through if name in real]
        chain: list[Endpoint] = []
        following = next(iter(real), None)
        while following in real and real[following] not in chain:
            chain.append(real[following])
            following = real[following].failover
        return chain

    # The loop --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to judge walks. Call it on the loop."""
        self._telemetry.heartbeat_every.set(self.plan.every)
        while not self._walks.empty():  # of a time when nothing was sent from here
            self._walks.get_nowait()
        # The first ping is due an interval from now, not since 1970.
        self._telemetry.heartbeat_at.set(self._clock.now().timestamp())
        self._task = asyncio.get_running_loop().create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """No ping from here on."""
        self._telemetry.heartbeat_every.set(0)
        if self._task is not None:
            await ended(self._task)

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            said = ""
            while True:
                try:
                    why = await self._why_not()
                    outcome = "withheld" if why else "sent" if await self._ping(session) else "failed"
                except Exception:  # noqa: BLE001 (a defect here must not look like a dead Tocsin for ever)
                    logger().exception("heartbeat.failed")
                    why, outcome = "a defect", "withheld"
                    await self._clock.sleep(self.plan.every)
                self._telemetry.heartbeats.labels(outcome).inc()
                if outcome == "sent":
                    self._telemetry.heartbeat_at.set(self._clock.now().timestamp())
                if why:
                    logger().warning("heartbeat.withheld", why=why)
                elif said:
                    logger().info("heartbeat.resumed")
                said = why

    async def _why_not(self) -> str:
        """Waits for the next walk and its end → why nobody may be told that all is well; empty: all is."""
        walk = await self._next_walk()
        if walk is None:
            return f"no walk began in {format_duration(round(self.plan.every + self.plan.within))}"
        ends = walk.began + self.plan.within
        try:
            while not await has_receipt(self._state, walk.id):
                if self._clock.monotonic() > ends:
                    because = f" ({walk.why})" if walk.why else ""
                    return f"the canary was only {walk.stage} after {format_duration(self.plan.within)}{because}"
                await self._clock.sleep(LOOK_EVERY)
            took = self._clock.monotonic() - walk.began
            self._telemetry.canary_seconds.observe(took)
            if took > self.plan.within:
                return f"the canary took {took:.1f} s"
            obstacle = self._overdue_rules() or await self._waiting_messages()
            await forget_walks(self._state, NAME)
        except StateError as error:
            return f"the state store does not answer: {error}"
        return obstacle

    async def _next_walk(self) -> Walk | None:
        """The newest walk; None when the poll that begins one stays out."""
        try:
            async with asyncio.timeout(self.plan.every + self.plan.within):
                walk = await self._walks.get()
        except TimeoutError:
            return None
        while not self._walks.empty():
            walk = self._walks.get_nowait()
        return walk

    def _overdue_rules(self) -> str:
        """The group that was due and has not been evaluated, or why none can be; Tocsin's own rules apart."""
        pipeline, now = self._pipeline(), self._clock.now()
        rules = pipeline.rules
        problems = {g.key: rules.problems.get(g.key, ()) for g in rules.groups if g.rules and not pipeline.is_own(g)}
        if problems and all(len(problems[g.key]) >= len(g.rules) for g in rules.groups if g.key in problems):
            first = next(problem for found in problems.values() for problem in found)
            return f"no rule can be evaluated: {first.what}"
        for group in rules.groups:
            run = rules.last_run(group)
            patience = max(3 * (group.interval or DEFAULT_INTERVAL), self.plan.within)
            if run is None:
                return f"the rule group {group.name} has not been evaluated yet"
            if (age := (now - run.at).total_seconds()) > patience:
                return f"the rule group {group.name} was evaluated {format_duration(round(age))} ago"
        return ""

    async def _waiting_messages(self) -> str:
        """The destination that has not taken for LATE what is due there."""
        now, known = self._clock.now(), {endpoint.name for endpoint in self._endpoints()}
        for entry in await self._state.outbox.waiting(now):
            if entry.notifier in known and entry.oldest is not None and now - entry.oldest > LATE:
                return f"a message for {entry.notifier} has waited since {entry.oldest:%H:%M:%S}"
        return ""

    async def _ping(self, session: aiohttp.ClientSession) -> bool:
        said = ""
        for attempt in range(PING_TRIES):
            if attempt:
                await self._clock.sleep(attempt)
            try:
                timeout = aiohttp.ClientTimeout(total=PING_DEADLINE)
                async with session.get(self.plan.url, timeout=timeout, allow_redirects=False) as answer:
                    if answer.status < 300:
                        return True
                    said = f"HTTP {answer.status}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                # Not the error's text: it quotes the address, which is a secret.
                said = type(error).__name__
        logger().warning("heartbeat.not_taken", why=said)
        return False
