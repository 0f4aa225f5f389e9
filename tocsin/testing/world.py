"""The way from transition to delivered message under a virtual clock: all of it real but the far end.

    world = await World.open(tmp_path / "state.db")
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.silences("alertname=ApiDown", seconds=3600)
    await world.recovers("ApiDown", service="api")
    await world.delivers()
    assert world.channel.actions() == ["post", "resolve", "edit"]

`passes(seconds)` lets time go by, second by second, as the daemon's tick and its couriers would. `crashes()` forgets
all that is in memory; `restarts()` begins again from the file.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from tocsin.errors import StateError
from tocsin.incidents import (
    Book,
    Correction,
    Destination,
    Outcome,
    Plan,
    ack,
    heard,
    react,
    reconfigure,
    retire,
    silence,
    tick,
)
from tocsin.incidents.matching import parse_matcher
from tocsin.incidents.routes import Route, Router
from tocsin.model import Alert, Incident, Labels, Seconds, Silence, Transition
from tocsin.runtime.delivery import FAILOVER_AFTER, Delivery, Endpoint
from tocsin.runtime.ledger import Ledger
from tocsin.state import Change, State
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing
from tocsin.testing.clock import VirtualClock
from tocsin.testing.destination import Channel, FakeNotifier
from tocsin.testing.empty_store import make_store
from tocsin.testing.hanging import stepped
from tocsin.testing.inline_sqlite import open_inline
from tocsin.testing.watched import Watched

PAGES: Final = Route(name="pages", match={"severity": "P0|P1"}, notify=("pages",), group_by=("service",))


def plan(*routes: Route, failover: Mapping[str, str] | None = None, edits: bool = True) -> Plan:
    """A plan with a destination for every notifier that the routes name."""
    router = Router(routes or (PAGES,), fallback=Route(notify=("pages",)))
    over = dict(failover or {})
    names = sorted({*router.notifiers(), *over, *over.values()})
    return Plan(
        router=router,
        destinations={name: Destination(name=name, edits=edits, failover=over.get(name)) for name in names},
    )


class World:
    """One daemon's middle, its file, and the channels at its far end."""

    def __init__(self, file: Path, plan: Plan, clock: VirtualClock, seed: int) -> None:
        self.clock = clock
        self.plan = plan
        self.channels: dict[str, Channel] = {}
        self.notifiers: dict[str, FakeNotifier] = {}
        self.telemetry = Telemetry()
        self.watched = Watched()
        self.book: Book
        self.state: State
        self.ledger: Ledger
        self.delivery: Delivery
        self._twin: Delivery
        self._file = file
        self._chance = random.Random(seed)
        self._boots = 0
        self._count = itertools.count(1)
        self._stored: dict[str, Alert] = {}
        """Alerts as the file had them at the start."""
        self._known: tuple[dict[str, datetime], datetime | None] | None = None

    @classmethod
    async def open(
        cls, file: Path, plan: Plan | None = None, *, clock: VirtualClock | None = None, seed: int = 0
    ) -> Self:
        """A world whose state is in `file`, new or old."""
        await asyncio.to_thread(make_store, file)
        world = cls(file, plan or default_plan(), clock or VirtualClock(), seed)
        await world.restarts()
        return world

    @property
    def channel(self) -> Channel:
        """The channel of the destination called `pages`."""
        return self.channels["pages"]

    @property
    def notifier(self) -> FakeNotifier:
        return self.notifiers["pages"]

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """All in the book."""
        return tuple(file.incident for file in self.book.files.values())

    @property
    def incident(self) -> Incident:
        """The only one."""
        (only,) = self.incidents
        return only

    @property
    def firing(self) -> dict[str, Alert]:
        """What fires in the watched system as far as it can be seen, by alert id."""
        return self.watched.firing

    # The daemon's life -----------------------------------------------------------------------------------------------

    async def restarts(self) -> None:
        """Open the file, restore the book, take over what was claimed."""
        self._boots += 1
        self.state = await open_inline(self._file)
        now = self.clock.now()
        restored = await self.state.load(now)
        self.book = restored.book(self.plan, now)
        self.ledger = Ledger(self.state, self.telemetry, wake=self.looks_again)
        self._stored = {alert.id: alert for alert in restored.alerts}
        self.delivery, self._twin = self._worker("boot"), self._worker("twin")
        await self.state.take_over(now)
        for worker in (self.delivery, self._twin):
            worker.install(self.endpoints())
        self._known = None
        if gone := self.book.strangers():
            await self.commits(reconfigure(self.book, self.plan, now, await self.ledger.unheard(gone)))

    def _worker(self, name: str) -> Delivery:
        return Delivery(
            self.state.outbox, clock=self.clock, telemetry=self.telemetry, tracing=Tracing(), heard=self._heard,
            owner=f"{name}-{self._boots}", chance=self._chance,
        )  # fmt: skip

    async def twin_delivers(self, name: str) -> None:
        """Another worker for the same destination takes a step. Raises StateError."""
        self._known = None
        await stepped(self._twin, self.notifiers[name], self.clock)

    def endpoints(self) -> list[Endpoint]:
        """What the plan's destinations are."""
        for name in self.plan.destinations:
            self.channels.setdefault(name, Channel())
            self.notifiers.setdefault(name, FakeNotifier(self.channels[name], self.clock, name=name))
        return [
            Endpoint(name=name, notifier=self.notifiers[name], failover=each.failover, edits=each.edits)
            for name, each in self.plan.destinations.items()
        ]

    async def crashes(self) -> None:
        """All that is in memory is gone; the file is as the last transaction left it."""
        await self.state.close()

    async def closes(self) -> None:
        """The end of the test."""
        await self.state.close()

    async def reloads(self, plan: Plan) -> None:
        """Another configuration."""
        self.plan = plan
        for worker in (self.delivery, self._twin):
            worker.install(self.endpoints())
        self._known = None
        gone = set(self.book.plan.destinations) - set(plan.destinations)
        unheard = await self.ledger.unheard(gone) if gone else ()
        await self.commits(reconfigure(self.book, plan, self.clock.now(), unheard))

    async def commits(self, outcome: Outcome, *alerts: Alert) -> None:
        """The memory first, then the file; what the file does not take now it takes with the next."""
        self.book = outcome.book
        if not (change := Change.of(outcome, alerts)).empty:
            await self._heard(await self.ledger.commit(change))

    async def _heard(self, correction: Correction) -> None:
        if correction:
            now = self.clock.now()
            self.book, settled = await self.ledger.recall(self.book, correction, now)
            await self._heard(settled)
            await self.commits(heard(self.book, correction, now))

    async def ends_silence(self, id: str) -> None:
        """Somebody ends a silence early."""
        now = self.clock.now()
        made = self.book.silences[id]
        if made.starts_at <= now < made.ends_at:
            await self.commits(silence(self.book, replace(made, ends_at=now), now))

    # What happens ----------------------------------------------------------------------------------------------------

    async def fires(self, name: str, severity: str = "P0", **labels: str) -> Alert:
        """A rule's alert begins to fire."""
        return (await self.all_fire([Labels(labels, alertname=name, severity=severity)]))[0]

    async def all_fire(self, label_sets: list[Labels]) -> list[Alert]:
        """Several, seen by one evaluation."""
        alerts = self.watched.begin(label_sets, self.clock.now())
        await self._transitions(alerts)
        return alerts

    async def recovers(self, name: str, **labels: str) -> None:
        """Every alert of that name, with those labels, ends."""
        await self.recover_all(Labels(labels, alertname=name))

    async def recover_all(self, wanted: Labels) -> None:
        """Every alert with those labels ends."""
        await self._transitions(self.watched.end(wanted, self.clock.now()))

    async def loses_sight(self, service: str) -> None:
        """The collector of a service is down."""
        await self._transitions(self.watched.hide(service, self.clock.now()))

    async def sees_again(self, service: str) -> None:
        """The collector of a service is back."""
        await self._transitions(self.watched.show(service, self.clock.now()))

    async def rule_goes(self, name: str) -> None:
        """A reload without the rule `name`."""
        now = self.clock.now()
        ended = self.watched.delete(name, now)
        await self.commits(retire(self.book, lambda alert: alert.id in self.firing, now), *ended)

    async def evaluates(self) -> None:
        """The first evaluation after a restart: what the file missed begins and ends now."""
        await self._transitions(self.watched.missed(self._stored, self.clock.now()))

    async def _transitions(self, alerts: list[Alert]) -> None:
        now = self.clock.now()
        transitions = [Transition(alert=alert, before=None, at=now, sampled_at=now) for alert in alerts]
        await self.commits(react(self.book, transitions, now), *alerts)

    async def silences(self, *matchers: str, seconds: Seconds, by: str = "ana", why: str = "deploy") -> Silence:
        """Somebody silences."""
        now = self.clock.now()
        made = Silence(
            id=f"s-{next(self._count)}", matchers=tuple(parse_matcher(text) for text in matchers),
            starts_at=now, ends_at=now + timedelta(seconds=seconds), created_by=by, why=why,
        )  # fmt: skip
        await self.commits(silence(self.book, made, now))
        return made

    async def acks(self, by: str = "ana") -> None:
        """Somebody takes every open incident."""
        for incident in self.book.open:
            await self.commits(ack(self.book, incident.id, by, self.clock.now()))

    async def ticks(self) -> None:
        """What the daemon does each second, delivery apart."""
        await self._heard(await self.ledger.settle())
        await self.commits(tick(self.book, self.clock.now()))

    async def delivers(self, limit: int = 10_000) -> int:
        """Everything that is due now, each destination's next row in turn → how many attempts."""
        attempts = 0
        while attempts < limit:
            # What fails here the loops would log; they wait a second and come again.
            try:
                dues, overdue = await self._outbox_dues()
                if overdue is not None and overdue <= self.clock.now():
                    self._known = None
                    await self.delivery.watch()
                    dues, _ = await self._outbox_dues()
            except StateError:
                break
            before, now = attempts, self.clock.now()
            for name in [name for name, due in dues.items() if due <= now]:
                self._known = None
                with suppress(StateError):
                    attempts += await stepped(self.delivery, self.notifiers[name], self.clock)
            if attempts == before:
                break
        return attempts

    def looks_again(self) -> None:
        """Somebody else wrote to the outbox."""
        self._known = None

    async def _outbox_dues(self) -> tuple[dict[str, datetime], datetime | None]:
        """What delivery does next, and when it fails something over; asked again only after something changed."""
        if self._known is None:
            dues = await self.delivery.next_dues()
            self._known = dues, await self.state.outbox.next_overdue(FAILOVER_AFTER)
        return self._known

    async def passes(self, seconds: Seconds, every: Seconds = 1.0) -> None:
        """Time goes by, from one thing that is due to the next; steps are `every` seconds at least."""
        ends = self.at(seconds)
        while (now := self.clock.now()) < ends:
            due = await self._next() or ends
            self.clock.pass_(min(max((due - now).total_seconds(), every), (ends - now).total_seconds()))
            await self.ticks()
            await self.delivers()

    async def _next(self) -> datetime | None:
        """When the next thing is due, whatever it is."""
        if self.ledger.owes:
            return self.at(1)
        try:
            dues, overdue = await self._outbox_dues()
        except StateError:
            return self.at(1)
        if overdue is not None and overdue <= self.clock.now():
            overdue = None  # it was tried, and nobody can take over
        return min((due for due in (*dues.values(), overdue, self.book.next_look) if due is not None), default=None)

    def at(self, seconds: Seconds) -> datetime:
        """So many seconds from now."""
        return self.clock.now() + timedelta(seconds=seconds)


def default_plan() -> Plan:
    """P0 and P1 to `pages` by service; the rest to `pages` too, as the fallback."""
    return plan()
