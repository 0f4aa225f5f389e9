"""Steps 3 to 7 of a datum's way: a poll's samples are stored, the rules that read them run, what changed is decided on
and committed in one transaction.

One poll at a time: alerts, incidents and what is queued are one state, and a lock is simpler to believe than a merge.
The work under it is a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents import Book, Correction, Outcome, Plan, reconfigure, retire, tick
from tocsin.model import Alert, Sample
from tocsin.ports import Clock
from tocsin.rules import Group, Removed
from tocsin.runtime.canary import NAME as CANARY
from tocsin.runtime.canary import Canary
from tocsin.runtime.decisions import Decisions
from tocsin.runtime.evaluation import RuleBook, unseen
from tocsin.runtime.external import ExternalAlerts, News, Posted
from tocsin.runtime.head_start import HeadStart
from tocsin.runtime.ledger import Ledger
from tocsin.runtime.polling import Poll
from tocsin.runtime.sources import Source
from tocsin.runtime.watch import Ask, Watch
from tocsin.series import Store
from tocsin.series.remote.inquiry import Attempt
from tocsin.state import Change, Restored
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

RulesOf = Callable[[Iterable[Alert]], RuleBook]
"""The rules in force, with these alerts."""
ASLEEP: Final = timedelta(seconds=30)
"""Past that between two ticks, which come each second, the machine or the process did not run."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the pipeline works with; all of it outlives a reload."""

    store: Store
    ledger: Ledger
    clock: Clock
    telemetry: Telemetry
    tracing: Tracing
    ask: Ask | None = None
    """Set where rules are evaluated on another server (runtime/remote.py): it asks for an evaluation there."""
    head_start: HeadStart | None = None
    """Set where this process delivers pages, too."""


class Pipeline:
    """What is watched and what is decided, and what each poll makes of them."""

    def __init__(
        self,
        parts: Parts,
        *,
        book: Book,
        rules: RuleBook,
        sources: Iterable[Source],
        external: ExternalAlerts | None = None,
        leads: bool = True,
        removed: Sequence[Removed] = (),
    ) -> None:
        self.decisions = Decisions(
            book, parts.ledger, parts.clock, parts.telemetry, leads=leads, head_start=parts.head_start
        )
        self.watch = Watch(
            parts.store, parts.clock, parts.telemetry, parts.tracing,
            rules=rules, sources=sources, removed=removed, ask=parts.ask,
        )  # fmt: skip
        self.external = external or ExternalAlerts()
        self.canary: Canary | None = None
        """Set while a heartbeat is configured."""
        self._parts = parts
        self._lock = asyncio.Lock()
        self._head_start = parts.head_start or HeadStart(parts.clock)
        self._ticked: datetime | None = None

    @property
    def book(self) -> Book:
        """The incidents as they are."""
        return self.decisions.book

    @property
    def leads(self) -> bool:
        """False on a replica that follows: it polls and evaluates, and neither decides nor stores."""
        return self.decisions.leads

    @property
    def rules(self) -> RuleBook:
        """The rules in force."""
        return self.watch.rules

    @property
    def sources(self) -> Mapping[str, Source]:
        """What is polled, by name."""
        return self.watch.sources

    @property
    def waits_for_first_polls(self) -> bool:
        """True until every source has been polled once."""
        return self.watch.waits_for_first_polls

    @property
    def is_recorded(self) -> bool:
        """True while the state store has all of it."""
        return not self._parts.ledger.owes

    # Polls -----------------------------------------------------------------------------------------------------------

    async def ingest(self, poll: Poll) -> None:
        """Store a poll, evaluate what reads it, decide, commit."""
        async with self._lock:
            source = self.sources.get(poll.source)
            if source is None:  # it was removed by a reload while its last poll ran
                return
            before = source.spots
            names = self.watch.take(source, poll) | self._measure(self._parts.clock.now())
            if source.spots != before:
                self.watch.tell_blindness(source, was_blind=before != ())
                for spot in (*before, *source.spots):
                    names |= spot.metrics
            await self._evaluate(names, sampled_at=poll.at)
            if self.canary is not None and poll.source == CANARY:
                await self._let_on(self.canary)
            self.watch.flush()

    async def tick(self) -> None:
        """Once a second: what time brings to incidents and groups, Tocsin's own metrics, what is owed to the store."""
        async with self._lock:
            now = self._parts.clock.now()
            names = self._measure(now)
            await self._evaluate(names, sampled_at=None)
            self.watch.flush()
            if self._ticked is not None and now - self._ticked > ASLEEP:
                self.external.wait_for_senders(now)
            self._ticked = now
            await self._heed(self.external.expire(now), now)
            if self.leads and self.book.next_look is not None and self.book.next_look <= now:
                await self.decisions.commit(tick(self.book, now))
            await self.decisions.settle()

    def _measure(self, now: datetime) -> set[str]:
        return self.watch.measure(self.book, self.external.alerts.values(), now)

    async def _evaluate(self, names: set[str], sampled_at: datetime | None) -> None:
        now = self._parts.clock.now()
        done = self.watch.evaluate(names, sampled_at, now)
        if done is not None:
            await self.decisions.react(done.transitions, done.changed, now)

    async def _let_on(self, canary: Canary) -> None:
        if not self.leads:
            return
        now = self._parts.clock.now()
        rows = canary.evaluate(self._parts.store, self.watch.hidden(now), now)
        await self._parts.ledger.commit(Change(calls=rows))

    def is_own(self, group: Group) -> bool:
        """Whether `group` reads nothing but what Tocsin says of itself: it is evaluated here in any case."""
        return self.watch.is_own(group)

    def store_recorded(self, samples: Sequence[Sample]) -> None:
        """What rules recorded goes to the store."""
        self.watch.store_recorded(samples)

    async def try_rules(
        self, book: RuleBook, due: Sequence[Group], attempt: Attempt, now: datetime, sampled_at: datetime | None
    ) -> bool:
        """Evaluate `due` over the answers that another server gave; False, and nothing done, when some were missing.

        True and nothing done when `book` is not in force any more: a reload has asked anew.
        """
        async with self._lock:
            if self.rules is not book:
                return True
            done = self.watch.attempt(due, attempt, now, sampled_at)
            if done is not None:
                await self.decisions.react(done.transitions, done.changed, now)
            self.watch.flush()
            return done is not None

    # What else comes in ---------------------------------------------------------------------------------------------

    async def act(self, action: Callable[[Book, datetime], Outcome]) -> Outcome:
        """What a person does: ack, resolve, silence. Durable when this returns. Raises StateError, and KeyError."""
        async with self._lock:
            return await self.decisions.act(action)

    async def receive(self, posted: Sequence[Posted]) -> None:
        """Alerts that were sent to us. A page that others of them brought leaves first. Raises TooMany."""
        async with self._head_start.behind(self._lock):
            now = self._parts.clock.now()
            # Senders go by the wall clock: where ours is ahead of it, what still fires would count as ended.
            await self._heed(self.external.take([each.later(self._parts.clock.skew()) for each in posted], now), now)

    async def _heed(self, news: News, now: datetime) -> None:
        await self.decisions.react(news.transitions, news.changed, now)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Store]:
        """The series store while nothing is written to it. Take what you need and leave: polls wait meanwhile."""
        async with self._lock:
            yield self._parts.store

    async def hear(self, correction: Correction) -> None:
        """Delivery told somebody else than planned, or a destination refused for good."""
        async with self._lock:
            await self.decisions.hear(correction)

    async def reconfigure(
        self, rules_of: RulesOf, sources: Iterable[Source], plan: Plan, removed: Sequence[Removed] = ()
    ) -> None:
        """A reload: other rules, sources, routes. What was told stays told; alerts of what is gone end."""
        async with self._lock:
            now = self._parts.clock.now()
            # The alerts as they are under the lock: a poll may have been evaluated since the reload was asked for.
            self.watch.replace(rules_of(self.rules.all_alerts().values()), sources, removed, now)
            gone = set(self.book.plan.destinations) - set(plan.destinations)
            unheard = await self._parts.ledger.unheard(gone) if gone else ()
            outcome = reconfigure(self.book, plan, now, unheard)
            if not self.leads:
                self.decisions.book = outcome.book
            await self.decisions.commit(outcome)
            await self._end_orphans(now)
            self.watch.tell_all_blindness()
            await self._evaluate(set().union(*(group.reads or () for group in self.rules.groups)), sampled_at=None)

    async def begin(self) -> None:
        """After a restart: alerts of rules that were deleted meanwhile have ended, and what was owed is looked at."""
        async with self._lock:
            await self._begin()

    async def _begin(self) -> None:
        now = self._parts.clock.now()
        # A destination may have been replaced while nobody ran, or the daemon died before it had stored a reload.
        if gone := self.book.strangers():
            await self.decisions.commit(
                reconfigure(self.book, self.book.plan, now, await self._parts.ledger.unheard(gone))
            )
        self.watch.end_removed(now)
        await self._end_orphans(now)
        await self.decisions.commit(tick(self.book, now))

    # Replicas --------------------------------------------------------------------------------------------------------

    async def take_over(self, load: Callable[[], Awaitable[Restored]], rules_of: RulesOf) -> None:
        """Lead: with the store's book and alerts, and what this replica alone has seen. Raises StateError."""
        async with self._lock:
            restored = await load()
            now = self._parts.clock.now()
            self.decisions.book = restored.book(self.book.plan, now)
            known = [alert for alert in restored.alerts if not ExternalAlerts.owns(alert)]
            self.watch.take_over(rules_of(unseen(self.rules.all_alerts(), known)))
            sent = self.external
            self.external = ExternalAlerts((alert for alert in restored.alerts if ExternalAlerts.owns(alert)), now)
            self.decisions.leads = True
            await self._begin()
            await self._heed(self.external.take(sent.as_sent(), now), now)

    async def follow(self) -> None:
        """Another replica leads: what was decided here and not stored is void."""
        async with self._lock:
            self.decisions.follow()

    async def see(self, restored: Restored) -> None:
        """What the leader has stored: for whoever looks at this replica's pages."""
        async with self._lock:
            if not self.leads:
                now = self._parts.clock.now()
                self.decisions.book = restored.book(self.book.plan, now)

    async def _end_orphans(self, now: datetime) -> None:
        if not self.leads:
            return
        ends = self.rules.end_orphans(now)
        await self.decisions.react(ends, [end.alert for end in ends], now)
        alive = {**self.rules.all_alerts(), **self.external.alerts}
        await self.decisions.commit(retire(self.book, lambda alert: alert.id in alive, now))
