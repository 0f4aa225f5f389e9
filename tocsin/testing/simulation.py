"""A deterministic simulation: a seed makes a watched system that breaks, a far end that fails, and a daemon that dies.

    run = await simulate(4711, folder)       # the same events, faults and crashes every time
    assert run.violations == []

Nothing here waits for a real clock or a real network, and the state is a real SQLite file that outlives each crash. A
crash may come at every boundary between stages: before and after each call to the state store, the outbox and the
notifier. What must hold whatever happens is in `violations`:

- no firing is lost: what fires is told as firing somewhere once things are calm, silences are over, and no window or
  parent holds it back;
- nothing is said twice: no key arrives twice, and no incident is posted twice to one destination, unless somebody
  deleted its message;
- resolution debt is paid: whoever was told that it fires is told that it ended;
- P0 is never behind P3: no row is claimed while a more urgent one is due;
- the sums balance: every row of the outbox has ended, what is marked sent has a receipt, and at any time the account
  (tocsin.state.account) says of each incident and destination what came of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from tocsin.errors import EditLost, Refused, StateError, Throttled, Unavailable, Uncertain
from tocsin.incidents import Budget, Destination
from tocsin.incidents.dependencies import Dependency
from tocsin.incidents.routes import Digest, Escalation, Route
from tocsin.incidents.windows import Cron, Window
from tocsin.model import Action, AlertState, IncidentState, Labels, Notification, Severity
from tocsin.state import Claim
from tocsin.state.account import balance
from tocsin.state.schema import notifications
from tocsin.testing.destination import LOST_ANSWER, Said
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
WHOLE: Final = (Action.POST, Action.DIGEST)


class Crash(BaseException):
    """The process is gone."""


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


@dataclass
class Odds:
    """How likely each fault is while the chaos lasts."""

    fault: float
    crash: float
    disk: float
    chaos: bool = True
    outage: bool = False
    """`pages` takes nothing at all."""


def routes() -> tuple[Route, ...]:
    """Pages that escalate and fail over, and the rest in two ways: at once and by digest."""
    return (
        Route(
            name="pages", match={"severity": "P0|P1"}, notify=("pages",), group_by=("service",), flap_window=120,
            escalate=(Escalation(after=300, to=("manager",)),),
        ),
        Route(name="notes", match={"severity": "P2"}, notify=("pages",), group_by=("service",), flap_window=60),
        Route(name="digests", match={"severity": "P3"}, notify=("notes",), digest=Digest(), flap_window=60),
    )  # fmt: skip


async def simulate(seed: int, folder: Path, *, steps: int = STEPS) -> Run:
    """One run. The file is left in `folder` for a look at it."""
    simulation = Simulation(seed, folder / f"seed-{seed}.db", steps)
    return await simulation.run()


class Simulation:
    """One seed's world and what is done to it."""

    def __init__(self, seed: int, file: Path, steps: int) -> None:
        self.result = Run(seed=seed)
        self.chance = random.Random(seed)
        self.odds = Odds(
            fault=self.chance.choice((0.0, 0.1, 0.4)),
            crash=self.chance.choice((0.0, 0.01, 0.04)),
            disk=self.chance.choice((0.0, 0.0, 0.1)),
        )
        self.world: World
        self._file = file
        self._steps = steps
        base = plan(*routes(), failover={"pages": "mail"})
        budget = self.chance.choice((Budget(), Budget(burst=2, every=60, reserve=1)))
        self._plan = replace(
            base,
            destinations={
                **base.destinations,
                "pages": replace(base.destinations["pages"], budget=budget),
                "manager": Destination(name="manager", edits=True),
            },
            windows=self.chance.choice(((), (HOURLY,))),
            dependencies=self.chance.choice(((), (WAITS,))),
        )

    async def run(self) -> Run:
        self.world = await World.open(self._file, self._plan, seed=self.result.seed)
        self._arm()
        try:
            for step in range(self._steps):
                await self._survive(self._something_happens)
                if step % 5 == 0:
                    await self._check_account()
            await self._calm()
            await self._check_firing_is_told()
            await self._check_account()
            await self._survive(self._everything_recovers)
            await self._settle()
            await self._check_the_end()
        finally:
            await self.world.closes()
        self.result.said = sum(len(channel.said) for channel in self.world.channels.values())
        return self.result

    # Faults ----------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Put the faults and the crash points where the world meets its edges. Anew after each restart."""
        world = self.world
        for name in world.plan.destinations:
            notifier = world.notifiers[name]
            notifier.fault_of = self._send_fault
            notifier.find_fault_of = self._find_fault
            notifier.between = self._maybe_crash
        for method in ("claim_due", "finish", "retry", "repost", "fail_over", "give_up"):
            setattr(world.state.outbox, method, self._boundary(method, getattr(world.state.outbox, method)))
        commit: Any = self._boundary("commit", world.state.commit)
        world.state.commit = commit  # type: ignore[method-assign]

    def _boundary(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def crossed(*args: Any, **named: Any) -> Any:
            self._maybe_crash(f"before {name}")
            if self.odds.chaos and self.chance.random() < self.odds.disk:
                raise StateError("disk full")
            answer = await call(*args, **named)
            if name == "claim_due":
                await self._check_order(answer)
            self._maybe_crash(f"after {name}")
            return answer

        return crossed

    def _maybe_crash(self, where: str) -> None:
        if self.odds.chaos and self.chance.random() < self.odds.crash:
            self.result.events.append(f"crash {where}")
            raise Crash(where)

    def _send_fault(self, row: Notification) -> Exception | None:
        if self.odds.chaos and self.odds.outage and row.notifier == "pages":
            return Unavailable("down")
        if not self.odds.chaos or self.chance.random() >= self.odds.fault:
            return None
        faults: list[Exception] = [
            Throttled("slow down", retry_after=self.chance.choice((1.0, 5.0, 45.0))),
            Unavailable("503"),
            Uncertain("reset before it arrived"),
            LOST_ANSWER,
            LOST_ANSWER,
            RuntimeError("a bug in the notifier"),
        ]
        if row.notifier == "pages":
            faults.append(Refused("not_in_channel", mend="invite the app"))
        if row.action is not Action.POST:
            faults.append(EditLost("message_not_found"))
        fault = self.chance.choice(faults)
        self.result.events.append(f"{row.id}: {'lost answer' if fault is LOST_ANSWER else repr(fault)}")
        return fault

    def _find_fault(self, _: Notification) -> Exception | None:
        if not self.odds.chaos or self.chance.random() >= self.odds.fault:
            return None
        return self.chance.choice((Throttled("slow down", retry_after=2.0), Unavailable("503"), Uncertain("timeout")))

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
                self._arm()
                await self.world.evaluates()
            except Crash:
                continue
            return

    # What happens ----------------------------------------------------------------------------------------------------

    async def _something_happens(self) -> None:
        act = self.chance.choices(
            (
                self._fire,
                self._recover,
                self._wait,
                self._silence,
                self._ack,
                self._jump,
                self._kill,
                self._reload,
                self._outage,
            ),
            (10, 6, 12, 1, 2, 1, 1, 1, 2),
        )[0]
        self.result.events.append(act.__name__.lstrip("_"))
        await act()
        await self.world.delivers(limit=50)

    async def _fire(self) -> None:
        sets = []
        for _ in range(self.chance.choice((1, 1, 2, 5))):
            name, severity = self.chance.choice(ALERTS)
            pod = str(self.chance.randrange(3))
            sets.append(Labels(alertname=name, severity=severity, service=self.chance.choice(SERVICES), pod=pod))
        fresh = [labels for labels in dict.fromkeys(sets) if not self.world.has(labels)]
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

    async def _ack(self) -> None:
        await self.world.acks()

    async def _jump(self) -> None:
        # Forward only: the daemon's clock never goes back (tocsin.runtime.clock).
        self.world.clock.jump(self.chance.choice((5.0, 3600.0)))

    async def _kill(self) -> None:
        raise Crash("killed")

    async def _outage(self) -> None:
        self.odds.outage = not self.odds.outage

    async def _reload(self) -> None:
        await self.world.reloads(self._plan)

    async def _calm(self) -> None:
        """The far end, the disk and the process are well again, and every silence ends."""
        self.odds.chaos = False
        self.result.events.append("calm")
        await self.world.passes(700, every=20)

    async def _everything_recovers(self) -> None:
        await self.world.recover_all(Labels())

    async def _settle(self) -> None:
        """Until nothing is owed: flap windows, backed-off rows, the next digest."""
        await self.world.passes(600, every=10)
        await self.world.passes(86_400 * 1.5, every=3600)
        await self.world.passes(120, every=5)

    # What must hold --------------------------------------------------------------------------------------------------

    def _violated(self, what: str) -> None:
        self.result.violations.append(what)

    async def _check_order(self, claims: tuple[Claim, ...]) -> None:
        """Nothing more urgent was due for the same destination, and free to go."""
        for claim in claims:
            row = claim.notification
            if row.severity.rank < Severity.P2.rank:
                continue
            other = notifications.alias("earlier")
            blocked = sa.exists().where(
                other.c.incident == notifications.c.incident, other.c.notifier == notifications.c.notifier,
                other.c.seq < notifications.c.seq, other.c.state.in_(("queued", "claimed")), other.c.action != "edit",
            )  # fmt: skip
            urgent = sa.select(notifications.c.id).where(
                notifications.c.notifier == row.notifier, notifications.c.severity.in_(("P0", "P1")),
                notifications.c.state == "queued", notifications.c.not_before <= self.world.clock.now(), ~blocked,
            )  # fmt: skip
            async with self.world.state.reading() as connection:
                waiting = list((await connection.execute(urgent)).scalars())
            # A reply of low severity may go first where a page of the same incident waits behind it.
            lane = await self._lane(row.id)
            if waiting and lane >= 4:
                self._violated(f"{row.id} went before {waiting}")

    async def _check_account(self) -> None:
        account = await balance(self.world.state, self.world.clock.now())
        if not account.balances:
            self._violated(f"{account.text()}: {account.lost}")

    async def _lane(self, id: str) -> int:
        async with self.world.state.reading() as connection:
            found = await connection.execute(sa.select(notifications.c.lane).where(notifications.c.id == id))
            return int(found.scalar() or 0)

    async def _check_firing_is_told(self) -> None:
        """Once it is calm, what fires is known as firing at some destination."""
        told: dict[tuple[str, str], list[Said]] = {}
        for name, channel in self.world.channels.items():
            for said in channel.said:
                for about in said.incidents:
                    told.setdefault((name, about), []).append(said)
        for alert in self.world.firing.values():
            holders = [
                incident
                for incident in self.world.book.open
                if any(member.id == alert.id and member.state is AlertState.FIRING for member in incident.members)
            ]
            if not holders:
                self._violated(f"{alert.labels} fires and is in no open incident")
            for incident in holders:
                if incident.severity is Severity.P3:
                    continue  # it waits for its digest
                if self._may_be_held(alert.labels):
                    continue
                stories = [story for (_, about), story in told.items() if about == incident.id]
                if not any(_believed(story, incident.id) is not IncidentState.RESOLVED for story in stories):
                    self._violated(f"{incident.id} ({alert.labels}) fires and nobody knows: {stories}")

    def _may_be_held(self, labels: Labels) -> bool:
        """True when a window or a parent explains that nobody knows; written anew, not asked of the code."""
        windows, dependencies = self._plan.windows, self._plan.dependencies
        if windows and labels["service"] == "web" and 20 <= self.world.clock.now().minute <= 30:
            return True
        parents = [each for each in self.world.firing.values() if each.name == "ApiDown"]
        waits = bool(dependencies) and labels["alertname"] == "DiskFills"
        return waits and any(parent.labels["service"] == labels["service"] for parent in parents)

    async def _check_the_end(self) -> None:
        world = self.world
        await self._check_account()
        if world.firing or world.book.open:
            self._violated(f"still open: {[incident.id for incident in world.book.open]}")
        for name, channel in world.channels.items():
            self._check_nothing_twice(name, channel.said)
            for incident in {each for said in channel.said for each in said.incidents}:
                self._check_debt(name, incident, [said for said in channel.said if incident in said.incidents])
        waiting = await world.state.outbox.waiting(world.clock.now())
        for left in waiting:
            self._violated(f"{left.count} rows wait for {left.notifier}, {left.dead} are dead")
        for problem in await world.state.check():
            self._violated(problem)

    def _check_nothing_twice(self, name: str, said: list[Said]) -> None:
        keys = Counter(each.id for each in said if each.action is not Action.EDIT)
        for key, times in keys.items():
            if times > 1:
                self._violated(f"{name} heard {key} {times} times")
        posts = Counter(each.thread for each in said if each.action is Action.POST and not each.id.endswith("~again"))
        for thread, times in posts.items():
            if times > 1:
                self._violated(f"{name} got {times} posts of {thread}")

    def _check_shown(self, name: str, incident: str) -> None:
        """The message shows the end; unless it refused its edits, and another destination took over."""
        moved = any(
            said.incident == incident and ">" in said.id and f":{name}:" in said.id
            for channel in self.world.channels.values()
            for said in channel.said
        )
        shown = self.world.channels[name].shows(incident)
        if shown not in (None, IncidentState.RESOLVED) and not moved:
            self._violated(f"the message of {incident} at {name} shows {shown}")

    def _check_debt(self, name: str, incident: str, story: list[Said]) -> None:
        self._check_shown(name, incident)
        if _believed(story, incident) is IncidentState.RESOLVED:
            return
        # Where it is refused from then on, its failover is told, and told the end.
        threads = {said.thread for said in story}
        for other in self.world.channels.values():
            heard = [said for said in other.said if incident in said.incidents]
            took_over = any(said.thread in threads and f":{name}:" in said.id and ">" in said.id for said in heard)
            if took_over and _believed(heard, incident) is IncidentState.RESOLVED:
                return
        self._violated(f"{name} was never told the end of {incident}: {[(s.id, s.state.value) for s in story]}")


def _believed(story: list[Said], incident: str) -> IncidentState | None:
    """What a reader believes of an incident: open while any thread about it says so. None: there is none.

    An edit rings nobody, so it says nothing here, and only a reply "resolved" or a whole message ends an incident. A
    storm's summary is read for what it shows.
    """
    threads = {
        said.thread: said.state_of(incident)
        for said in story
        if said.action in WHOLE
        or said.thread != incident
        or (said.action is Action.RESOLVE and said.state is IncidentState.RESOLVED)
        or (said.action not in (Action.EDIT, Action.RESOLVE) and said.state is not IncidentState.RESOLVED)
    }
    return min(threads.values(), key=lambda state: state is IncidentState.RESOLVED, default=None)
