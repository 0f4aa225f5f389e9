"""Steps 3 to 7 of a datum's way: a poll's samples are stored, the rules that read them run, what changed is decided on
and committed in one transaction.

One poll at a time: alerts, incidents and what is queued are one state, and a lock is simpler to believe than a merge.
The work under it is a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tocsin.errors import Deposed
from tocsin.incidents import Book, Correction, Outcome, Plan, heard, react, reconfigure, retire, tick
from tocsin.model import Alert, Sample, Seconds
from tocsin.ports import Clock
from tocsin.rules import AllRemoved, Group, Removed
from tocsin.runtime import observing
from tocsin.runtime.canary import NAME as CANARY
from tocsin.runtime.canary import Canary
from tocsin.runtime.evaluation import Evaluation, RuleBook, unseen
from tocsin.runtime.external import ExternalAlerts, News, Posted
from tocsin.runtime.head_start import HeadStart
from tocsin.runtime.ledger import Ledger
from tocsin.runtime.polling import Poll
from tocsin.runtime.register import series_ends
from tocsin.runtime.sources import NOT_YET, Source, blind_spots
from tocsin.series import Store
from tocsin.series.remote.inquiry import Attempt
from tocsin.state import Change, Restored
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

RulesOf = Callable[[Iterable[Alert]], RuleBook]
"""The rules in force, with these alerts."""
SELF_EVERY: Final[Seconds] = 5.0
"""Between two readings of Tocsin's own metrics into the series store."""
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
    ask: Callable[[set[str], datetime | None], None] | None = None
    """Set where rules are evaluated on another server (runtime/remote.py): it asks for an evaluation there."""
    head_start: HeadStart | None = None
    """Set where this process delivers pages, too."""


class Pipeline:
    """The book, the rules and the sources, and what each poll makes of them."""

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
        self.leads = leads
        """False on a replica that follows: it polls and evaluates, and neither decides nor stores."""
        self.book = book
        self.rules = rules
        self.external = external or ExternalAlerts()
        self.canary: Canary | None = None
        """Set while a heartbeat is configured."""
        self.sources = {source.name: source for source in sources}
        self._removed, self._all_removed = removed, AllRemoved(removed)
        self._parts = parts
        self._lock = asyncio.Lock()
        self._head_start = parts.head_start or HeadStart(parts.clock)
        self._measured: datetime | None = None
        self._ticked: datetime | None = None
        self._own = frozenset(name for each in parts.telemetry.declarations() for name in each.series_names())

    @property
    def waits_for_first_polls(self) -> bool:
        """True until every source has been polled once."""
        return any(spot.why == NOT_YET for source in self.sources.values() for spot in source.spots)

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
            samples = source.take(poll)
            self._append(poll.source, samples)
            names = {sample.name for sample in samples} | self._measure(self._parts.clock.now())
            if source.spots != before:
                self._tell_blindness(source, before != ())
                for spot in (*before, *source.spots):
                    names |= spot.metrics
            await self._evaluate(names, sampled_at=poll.at)
            if self.canary is not None and poll.source == CANARY:
                await self._let_on(self.canary)
            self._flush()

    async def tick(self) -> None:
        """Once a second: what time brings to incidents and groups, Tocsin's own metrics, what is owed to the store."""
        async with self._lock:
            now = self._parts.clock.now()
            names = self._measure(now)
            await self._evaluate(names, sampled_at=None)
            self._flush()
            if self._ticked is not None and now - self._ticked > ASLEEP:
                self.external.wait_for_senders(now)
            self._ticked = now
            await self._heed(self.external.expire(now), now)
            if self.leads and self.book.next_look is not None and self.book.next_look <= now:
                await self._commit(tick(self.book, now))
            await self._hear(await self._parts.ledger.settle())

    def _measure(self, now: datetime) -> set[str]:
        """Tocsin's own metrics, where they are due; their names. Before each evaluation: its own rules read them."""
        if self._measured is not None and now - self._measured < timedelta(seconds=SELF_EVERY):
            return set()
        self._measured = now
        parts = self._parts
        observing.measure(self.book, self.rules, self.external.alerts.values(), parts.store, parts.telemetry)
        own = list(parts.telemetry.samples_at(now))
        self._append("tocsin", own)
        return {sample.name for sample in own}

    async def act(self, action: Callable[[Book, datetime], Outcome]) -> Outcome:
        """What a person does: ack, resolve, silence. Durable when this returns. Raises StateError, and KeyError."""
        async with self._lock:
            if not self.leads:
                raise Deposed("another replica leads now: try again")
            outcome = action(self.book, self._parts.clock.now())
            correction = await self._parts.ledger.commit(Change.of(outcome), must=True)
            self._turn(outcome)
            await self._hear(correction)
            return outcome

    async def receive(self, posted: Sequence[Posted]) -> None:
        """Alerts that were sent to us. A page that others of them brought leaves first. Raises TooMany."""
        async with self._head_start.behind(self._lock):
            now = self._parts.clock.now()
            # Senders go by the wall clock: where ours is ahead of it, what still fires would count as ended.
            await self._heed(self.external.take([each.later(self._parts.clock.skew()) for each in posted], now), now)

    async def _heed(self, news: News, now: datetime) -> None:
        if self.leads and (news.transitions or news.changed):
            await self._commit(react(self.book, news.transitions, now), news.changed)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Store]:
        """The series store while nothing is written to it. Take what you need and leave: polls wait meanwhile."""
        async with self._lock:
            yield self._parts.store

    async def hear(self, correction: Correction) -> None:
        """Delivery told somebody else than planned, or a destination refused for good."""
        async with self._lock:
            await self._hear(correction)

    async def reconfigure(
        self, rules_of: RulesOf, sources: Iterable[Source], plan: Plan, removed: Sequence[Removed] = ()
    ) -> None:
        """A reload: other rules, sources, routes. What was told stays told; alerts of what is gone end."""
        async with self._lock:
            now = self._parts.clock.now()
            older = self.rules
            # The alerts as they are under the lock: a poll may have been evaluated since the reload was asked for.
            rules = self.rules = rules_of(older.all_alerts().values())
            rules.take_over_from(older)
            self._append("rules", rules.end_series(older, now))
            # A collector that stays keeps its memory; one whose settings changed begins anew.
            known, self.sources = self.sources, {source.name: source for source in sources}
            for name in known.keys() - self.sources.keys():
                observing.forget_blindness(name, self._parts.telemetry)
            self._removed, self._all_removed = removed, AllRemoved(removed)
            self._end_removed(now)
            gone = set(self.book.plan.destinations) - set(plan.destinations)
            unheard = await self._parts.ledger.unheard(gone) if gone else ()
            outcome = reconfigure(self.book, plan, now, unheard)
            if not self.leads:
                self.book = outcome.book
            await self._commit(outcome)
            await self._end_orphans(now)
            for source in self.sources.values():
                if any(spot.why != NOT_YET for spot in source.spots):
                    self._tell_blindness(source, was_blind=True)
            await self._evaluate(set().union(*(group.reads or () for group in rules.groups)), sampled_at=None)

    async def begin(self) -> None:
        """After a restart: alerts of rules that were deleted meanwhile have ended, and what was owed is looked at."""
        async with self._lock:
            await self._begin()

    async def _begin(self) -> None:
        now = self._parts.clock.now()
        # A destination may have been replaced while nobody ran, or the daemon died before it had stored a reload.
        if gone := self.book.strangers():
            await self._commit(reconfigure(self.book, self.book.plan, now, await self._parts.ledger.unheard(gone)))
        self._end_removed(now)
        await self._end_orphans(now)
        await self._commit(tick(self.book, now))

    # Replicas --------------------------------------------------------------------------------------------------------

    async def take_over(self, load: Callable[[], Awaitable[Restored]], rules_of: RulesOf) -> None:
        """Lead: with the store's book and alerts, and what this replica alone has seen. Raises StateError."""
        async with self._lock:
            restored = await load()
            now = self._parts.clock.now()
            self.book = restored.book(self.book.plan, now)
            known = [alert for alert in restored.alerts if not ExternalAlerts.owns(alert)]
            rules = rules_of(unseen(self.rules.all_alerts(), known))
            rules.take_over_from(self.rules)
            self.rules = rules
            sent = self.external
            self.external = ExternalAlerts((alert for alert in restored.alerts if ExternalAlerts.owns(alert)), now)
            self.leads = True
            await self._begin()
            await self._heed(self.external.take(sent.as_sent(), now), now)

    async def follow(self) -> None:
        """Another replica leads: what was decided here and not stored is void."""
        async with self._lock:
            self.leads = False
            self._parts.ledger.forget()

    async def see(self, restored: Restored) -> None:
        """What the leader has stored: for whoever looks at this replica's pages."""
        async with self._lock:
            if not self.leads:
                now = self._parts.clock.now()
                self.book = restored.book(self.book.plan, now)

    async def _end_orphans(self, now: datetime) -> None:
        if not self.leads:
            return
        ends = self.rules.end_orphans(now)
        if ends:
            await self._commit(react(self.book, ends, now), [end.alert for end in ends])
        alive = {**self.rules.all_alerts(), **self.external.alerts}
        await self._commit(retire(self.book, lambda alert: alert.id in alive, now))

    def _end_removed(self, now: datetime) -> None:
        """The series of what is not configured any more; its alerts end at the evaluation that comes next."""
        recorded = frozenset(name for group in self.rules.groups for name in group.yields)
        self._append("rules", series_ends(self._removed, self._parts.store, recorded, now))

    # Steps -----------------------------------------------------------------------------------------------------------

    def _append(self, source: str, samples: Sequence[Sample]) -> None:
        observing.append(source, samples, self._parts.store, self._parts.telemetry)

    def _flush(self) -> None:
        observing.flush(self._parts.store, self._parts.telemetry)

    async def _evaluate(self, names: set[str], sampled_at: datetime | None) -> None:
        parts = self._parts
        now = parts.clock.now()
        due = self.rules.due(names, now)
        if parts.ask is not None:
            parts.ask(names, sampled_at)
            due = [group for group in due if self.is_own(group)]
        if not due:
            return
        began = parts.clock.monotonic()
        with parts.tracing.span("evaluate", groups=len(due)):
            done = self.rules.evaluate(
                due,
                parts.store,
                blind_spots(self.sources, now),
                now,
                sampled_at=sampled_at,
                record=self.store_recorded,
                monotonic=parts.clock.monotonic,
                among=self.is_own if parts.ask is not None else lambda _: True,
                removed=self._all_removed,
            )
        parts.telemetry.evaluation_seconds.observe(parts.clock.monotonic() - began)
        await self._conclude(done, now)

    def is_own(self, group: Group) -> bool:
        """Whether `group` reads nothing but what Tocsin says of itself.

        Such groups are evaluated here even where another server evaluates the rest: else nobody would tell that this
        server is away.
        """
        return group.reads is not None and group.reads <= self._own

    async def try_rules(
        self, book: RuleBook, due: Sequence[Group], attempt: Attempt, now: datetime, sampled_at: datetime | None
    ) -> bool:
        """Evaluate `due` over the answers that another server gave; False, and nothing done, when some were missing.

        True and nothing done when `book` is not in force any more: a reload has asked anew.
        """
        parts = self._parts
        async with self._lock:
            if self.rules is not book:
                return True
            trial, began = book.copy(), parts.clock.monotonic()
            with parts.tracing.span("evaluate", groups=len(due)):
                done = trial.evaluate(
                    due, parts.store, blind_spots(self.sources, now), now, sampled_at=sampled_at,
                    record=self.store_recorded, monotonic=parts.clock.monotonic, rounds=attempt,
                    among=lambda group: not self.is_own(group), removed=self._all_removed,
                )  # fmt: skip
            if not attempt.missing:
                parts.telemetry.evaluation_seconds.observe(parts.clock.monotonic() - began)
                self.rules = trial
                await self._conclude(done, now)
            self._flush()
            return not attempt.missing

    async def _conclude(self, done: Evaluation, now: datetime) -> None:
        observing.tell_evaluated(done, self._parts.telemetry)
        if self.leads and (done.transitions or done.changed):
            await self._commit(react(self.book, done.transitions, now), done.changed)

    def store_recorded(self, samples: Sequence[Sample]) -> None:
        """What rules recorded goes to the store."""
        self._append("rules", samples)

    async def _let_on(self, canary: Canary) -> None:
        if not self.leads:
            return
        now = self._parts.clock.now()
        rows = canary.evaluate(self._parts.store, blind_spots(self.sources, now), now)
        await self._parts.ledger.commit(Change(calls=rows))

    async def _commit(self, outcome: Outcome, alerts: Iterable[Alert] = ()) -> None:
        if not self.leads:
            return
        change = Change.of(outcome, alerts)
        self._turn(outcome)
        if not change.empty:
            correction = await self._parts.ledger.commit(change)
            if self._parts.head_start is not None:
                self._parts.head_start.queued(change.calls)
            await self._hear(correction)

    async def _hear(self, correction: Correction) -> None:
        while correction and self.leads:
            now = self._parts.clock.now()
            self.book, settled = await self._parts.ledger.recall(self.book, correction, now)
            await self._hear(settled)
            outcome = heard(self.book, correction, now)
            self._turn(outcome)
            correction = await self._parts.ledger.commit(Change.of(outcome))

    def _turn(self, outcome: Outcome) -> None:
        self.book = outcome.book
        observing.tell_decided(outcome, self._parts.telemetry)

    def _tell_blindness(self, source: Source, was_blind: bool) -> None:
        self._measured = None  # what is set here is read by a rule: let it be a series with the next tick
        observing.tell_blindness(source, self.rules, self._parts.telemetry, was_blind=was_blind)
