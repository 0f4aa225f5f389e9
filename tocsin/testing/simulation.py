"""A deterministic simulation: a seed makes a watched system that breaks, a far end that fails, and a daemon that dies.

    run = await simulate(4711, folder)       # the same events, faults and crashes every time
    assert run.violations == []

Nothing here waits for a real clock or a real network, and the state is a real SQLite file that outlives each crash.
Where faults strike is said in tocsin.testing.faults.

What must hold whatever happens is in `violations`; tocsin.testing.invariants says how each is looked at:

- no firing is lost: what fires is told as firing somewhere once things are calm, silences are over, and no window or
  parent holds it back;
- unknown is not OK: what can't be seen has not ended;
- nothing is said twice: no key arrives twice, and no incident is posted twice to one destination, unless somebody
  deleted its message;
- resolution debt is paid: whoever was told that it fires is told that it ended, through silences, windows, parents,
  reloads, rules that are gone, destinations that are gone, and crashes;
- what a silence hid is heard in the end: by a message of its own, or by what is told once the silence has ended;
- P0 is never behind P3: no row is claimed while a more urgent one is due;
- the sums balance: every row of the outbox has ended, what is marked sent has a receipt, and at any time the account
  (tocsin.state.account) says of each incident and destination what came of it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import structlog

from tocsin.incidents import Budget, Destination, Plan
from tocsin.incidents.dependencies import Dependency
from tocsin.incidents.hours import Cron, Hours
from tocsin.incidents.routes import Digest, Escalation, Route
from tocsin.incidents.windows import Window
from tocsin.model import Labels
from tocsin.testing import invariants
from tocsin.testing.empty_store import empty_store
from tocsin.testing.faults import Crash, Faults
from tocsin.testing.world import World, plan

STEPS: Final = 25
SERVICES: Final = ("api", "web", "db")
ALERTS: Final = (("ApiDown", "P0"), ("ApiSlow", "P1"), ("DiskFills", "P2"), ("CertAges", "P3"))
WAITS: Final = Dependency(
    match={"alertname": "DiskFills"}, depends_on={"alertname": "ApiDown"}, equal=("service",), settle=30
)
HOURLY: Final = Window(
    name="hourly", cron=Cron.parse("20 * * * *"), lasts=600, match={"service": "web"}, why="the hourly export"
)
HALF: Final = Hours(cron=Cron.parse("0 * * * *"), lasts=1800)
"""When P2 is told."""


@dataclass
class Run:
    """What a seed came to."""

    seed: int
    events: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    crashes: int = 0
    said: int = 0

    def __str__(self) -> str:
        return f"seed {self.seed}:\n  " + "\n  ".join([*self.violations, "what happened:", *self.events])


def routes(pages: str = "pages", name: str = "pages", hours: tuple[Hours, ...] = ()) -> tuple[Route, ...]:
    """Pages that escalate and fail over, and the rest in two ways: at once and by digest."""
    return (
        Route(
            name=name, match={"severity": "P0|P1"}, notify=(pages,), group_by=("service",), flap_window=120,
            escalate=(Escalation(after=300, to=("manager",)),),
        ),
        Route(
            name="notes", match={"severity": "P2"}, notify=(pages,), group_by=("service",), flap_window=60, hours=hours
        ),
        Route(name="digests", match={"severity": "P3"}, notify=("notes",), digest=Digest(), flap_window=60),
    )  # fmt: skip


def plans(chance: random.Random) -> tuple[Plan, ...]:
    """What a reload may bring; the first is what there is at the beginning and at the end."""
    budget = chance.choice((Budget(), Budget(burst=2, every=60, reserve=1)))
    windows = chance.choice(((), (HOURLY,)))
    dependencies = chance.choice(((), (WAITS,)))
    hours = chance.choice(((), (HALF,)))

    def planned(*routes: Route, main: str = "pages") -> Plan:
        base = plan(*routes, failover={main: "mail"})
        manager = Destination(name="manager", edits=True)
        limited = replace(base.destinations[main], budget=budget)
        destinations = {**base.destinations, main: limited, "manager": manager}
        return replace(base, destinations=destinations, windows=windows, dependencies=dependencies)

    return (
        planned(*routes(hours=hours)),
        planned(*routes(name="wakes", hours=hours)),  # a route has another name
        planned(*routes("chat", hours=hours), main="chat"),  # a notifier is another
        planned(*routes(hours=hours)[:2]),  # P3 is told by the fallback, at once
    )


async def simulate(seed: int, folder: Path, *, steps: int = STEPS, logged: bool = False) -> Run:
    """One run. The file is left in `folder` for a look at it."""
    await asyncio.to_thread(empty_store)  # once in a process, by a loop of its own
    with _quiet(logged), _cheap():
        return await Simulation(seed, folder / f"seed-{seed}.db", steps).run()


@contextmanager
def _cheap() -> Iterator[None]:
    """No threads and no garbage collection while a seed lasts: together a quarter of its time.

    What runs on a thread (files that are made) runs where it is called, which keeps the order of events the seed's.
    """
    collects = gc.isenabled()
    gc.disable()
    asyncio.get_running_loop().set_default_executor(_NoThreads())
    try:
        yield
    finally:
        if collects:
            gc.enable()


class _NoThreads(ThreadPoolExecutor):
    """Runs what it is given, at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **named))
        except Exception as error:  # noqa: BLE001 (it is raised where the result is awaited)
            done.set_exception(error)
        return done


@contextmanager
def _quiet(logged: bool) -> Iterator[None]:
    """A run logs what it did as the daemon would: hundreds of lines, which only a look at one seed wants."""
    before = structlog.get_config()
    if not logged:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


class Simulation:
    """One seed's world and what is done to it."""

    def __init__(self, seed: int, file: Path, steps: int) -> None:
        self.result = Run(seed=seed)
        self.chance = random.Random(seed)
        self.faults = Faults(self.chance, self.result.events)
        self.world: World
        self._file = file
        self._steps = steps
        self._plans = plans(self.chance)
        self._gone: set[str] = set()
        """Destinations that were not configured for a while."""

    async def run(self) -> Run:
        self.world = await World.open(self._file, self._plans[0], seed=self.result.seed)
        self.faults.arm(self.world)
        try:
            for step in range(self._steps):
                await self._survive(self._something_happens)
                self._violated(invariants.unknown_is_not_ok(self.world))
                if step % 5 == 0:
                    self._violated(await invariants.account(self.world))
            await self._survive(self._calm)
            self._violated(invariants.firing_is_told(self.world, self._may_be_held))
            self._violated(await invariants.account(self.world))
            await self._everything_recovers()
            await self._settle()
            self._violated([*self.faults.violations, *await invariants.the_end(self.world, self._gone)])
        finally:
            await self.world.closes()
        self.result.said = sum(len(channel.said) for channel in self.world.channels.values())
        return self.result

    def _violated(self, what: Iterable[str]) -> None:
        self.result.violations += what

    # Crashes ---------------------------------------------------------------------------------------------------------

    async def _survive(self, act: Callable[[], Any]) -> None:
        """Do it; when the process dies of it, start the next one."""
        try:
            await act()
        except Crash:
            await self._restart()

    async def _restart(self) -> None:
        while True:
            self.result.crashes += 1
            await self.world.crashes()
            try:
                await self.world.restarts()
                self.faults.arm(self.world)
                await self.world.evaluates()
            except Crash:
                continue
            return

    # What happens ----------------------------------------------------------------------------------------------------

    async def _something_happens(self) -> None:
        acts: dict[Callable[[], Awaitable[None]], int] = {
            self._fire: 10, self._recover: 6, self._wait: 12, self._silence: 5, self._end_silence: 1, self._ack: 2,
            self._jump: 1, self._kill: 1, self._reload: 2, self._rule_goes: 1, self._outage: 2, self._blind: 2,
            self._full_disk: 1,
        }  # fmt: skip
        (act,) = self.chance.choices(tuple(acts), tuple(acts.values()))
        self.result.events.append(act.__name__.lstrip("_"))
        await act()
        await self.world.delivers(limit=50)

    async def _fire(self) -> None:
        sets = []
        for _ in range(self.chance.choice((1, 1, 2, 5))):
            name, severity = self.chance.choice(ALERTS)
            pod = str(self.chance.randrange(3))
            sets.append(Labels(alertname=name, severity=severity, service=self.chance.choice(SERVICES), pod=pod))
        fresh = [labels for labels in dict.fromkeys(sets) if not self.world.watched.has(labels)]
        await self.world.all_fire(fresh)

    async def _recover(self) -> None:
        if self.world.firing:
            alert = self.chance.choice(list(self.world.firing.values()))
            labels = alert.labels if self.chance.random() < 0.5 else alert.labels.only("service")
            await self.world.recover_all(labels)

    async def _wait(self) -> None:
        await self.world.passes(self.chance.choice((1.0, 3.0, 11.0, 30.0, 130.0)), every=self.chance.choice((1.0, 7.0)))

    async def _silence(self) -> None:
        await self.world.silences(f"service={self.chance.choice(SERVICES)}", seconds=self.chance.choice((20.0, 300.0)))

    async def _end_silence(self) -> None:
        if self.world.book.silences:
            await self.world.ends_silence(self.chance.choice(list(self.world.book.silences)))

    async def _ack(self) -> None:
        await self.world.acks()

    async def _jump(self) -> None:
        # Forward only: the daemon's clock never goes back (tocsin.runtime.clock).
        self.world.clock.jump(self.chance.choice((5.0, 3600.0)))

    async def _kill(self) -> None:
        raise Crash("killed")

    async def _outage(self) -> None:
        self.faults.outage = not self.faults.outage

    async def _reload(self) -> None:
        await self._reloads(self.chance.choice(self._plans))

    async def _reloads(self, plan: Plan) -> None:
        self._gone |= set(self.world.plan.destinations) - set(plan.destinations)
        # Armed first: a reload may tell, and a crash may come while it does.
        self.world.plan = plan
        self.world.endpoints()
        self.faults.arm_notifiers(self.world)
        await self.world.reloads(plan)

    async def _rule_goes(self) -> None:
        await self.world.rule_goes(self.chance.choice(ALERTS)[0])

    async def _blind(self) -> None:
        service = self.chance.choice(SERVICES)
        change = self.world.sees_again if service in self.world.watched.hidden else self.world.loses_sight
        await change(service)

    async def _full_disk(self) -> None:
        self.faults.full = not self.faults.full

    async def _calm(self) -> None:
        """The far end, the disk and the process are well again, all is seen, and every silence ends."""
        self.faults.chaos = False
        self.result.events.append("calm")
        for service in SERVICES:
            await self.world.sees_again(service)
        await self._reloads(self._plans[0])
        await self.world.passes(700, every=20)

    async def _everything_recovers(self) -> None:
        await self.world.recover_all(Labels())

    async def _settle(self) -> None:
        """Until nothing is owed: flap windows, backed-off rows, the next digest."""
        await self.world.passes(600, every=10)
        await self.world.passes(86_400 * 1.5, every=3600)
        await self.world.passes(120, every=5)

    def _may_be_held(self, labels: Labels) -> bool:
        """True when a window or a parent explains that nobody knows; written anew, not asked of the code."""
        windows, dependencies = self.world.plan.windows, self.world.plan.dependencies
        if windows and labels["service"] == "web" and 20 <= self.world.clock.now().minute <= 30:
            return True
        if self._plans[0].router.routes[1].hours and labels["severity"] == "P2" and self.world.clock.now().minute >= 30:
            return True
        parents = [each for each in self.world.firing.values() if each.name == "ApiDown"]
        waits = bool(dependencies) and labels["alertname"] == "DiskFills"
        return waits and any(parent.labels["service"] == labels["service"] for parent in parents)
