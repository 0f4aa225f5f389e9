"""What is watched: the sources and the rules over them. Their samples are stored, and the rules that read them run.

Not for two callers at once: the pipeline's lock sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents import Book
from tocsin.model import Alert, BlindSpot, Sample, Seconds
from tocsin.ports import Clock
from tocsin.rules import AllRemoved, Group, Removed
from tocsin.runtime import observing
from tocsin.runtime.evaluation import Evaluation, RuleBook
from tocsin.runtime.polling import Poll
from tocsin.runtime.register import series_ends
from tocsin.runtime.sources import NOT_YET, Source, blind_spots
from tocsin.series import Store
from tocsin.series.remote.inquiry import Attempt
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing

Ask = Callable[[set[str], datetime | None], None]
"""Asks another server (runtime/remote.py) to evaluate what reads these names, sampled then."""
SELF_EVERY: Final[Seconds] = 5.0
"""Between two readings of Tocsin's own metrics into the series store."""


class Watch:
    """The sources and the rules in force, over one series store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        tracing: Tracing,
        *,
        rules: RuleBook,
        sources: Iterable[Source],
        removed: Sequence[Removed] = (),
        ask: Ask | None = None,
    ) -> None:
        self.rules = rules
        self.sources = {source.name: source for source in sources}
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._tracing = tracing
        self._ask = ask
        self._removed, self._all_removed = removed, AllRemoved(removed)
        self._measured: datetime | None = None
        self._own = frozenset(name for each in telemetry.declarations() for name in each.series_names())

    # Samples ---------------------------------------------------------------------------------------------------------

    def take(self, source: Source, poll: Poll) -> set[str]:
        """Store a poll; the names of what is new."""
        samples = source.take(poll)
        self._append(poll.source, samples)
        return {sample.name for sample in samples}

    def measure(self, book: Book, external: Iterable[Alert], now: datetime) -> set[str]:
        """Tocsin's own metrics, where they are due; their names. Before each evaluation: its own rules read them."""
        if self._measured is not None and now - self._measured < timedelta(seconds=SELF_EVERY):
            return set()
        self._measured = now
        observing.measure(book, self.rules, external, self._store, self._telemetry)
        own = list(self._telemetry.samples_at(now))
        self._append("tocsin", own)
        return {sample.name for sample in own}

    def flush(self) -> None:
        """What was stored stays, through a crash too."""
        observing.flush(self._store, self._telemetry)

    def _append(self, name: str, samples: Sequence[Sample]) -> None:
        observing.append(name, samples, self._store, self._telemetry)

    def store_recorded(self, samples: Sequence[Sample]) -> None:
        """What rules recorded goes to the store."""
        self._append("rules", samples)

    # Blindness -------------------------------------------------------------------------------------------------------

    @property
    def waits_for_first_polls(self) -> bool:
        """True until every source has been polled once."""
        return any(spot.why == NOT_YET for source in self.sources.values() for spot in source.spots)

    def hidden(self, now: datetime) -> tuple[BlindSpot, ...]:
        """What no source can see at `now`."""
        return blind_spots(self.sources, now)

    def tell_blindness(self, source: Source, *, was_blind: bool) -> None:
        """What `source` can't see any more, or that it sees again."""
        self._measured = None  # what is set here is read by a rule: let it be a series with the next tick
        observing.tell_blindness(source, self.rules, self._telemetry, was_blind=was_blind)

    def tell_all_blindness(self) -> None:
        """Anew, of every source that was polled: other rules read them now."""
        for source in self.sources.values():
            if any(spot.why != NOT_YET for spot in source.spots):
                self.tell_blindness(source, was_blind=True)

    # Rules -----------------------------------------------------------------------------------------------------------

    def evaluate(self, names: set[str], sampled_at: datetime | None, now: datetime) -> Evaluation | None:
        """Run what reads one of `names` and what is late; None where nothing is due here."""
        due = self.rules.due(names, now)
        if self._ask is not None:
            self._ask(names, sampled_at)
            due = [group for group in due if self.is_own(group)]
        if not due:
            return None
        began = self._clock.monotonic()
        with self._tracing.span("evaluate", groups=len(due)):
            done = self.rules.evaluate(
                due, self._store, self.hidden(now), now, sampled_at=sampled_at,
                record=self.store_recorded, monotonic=self._clock.monotonic,
                among=self.is_own if self._ask is not None else lambda _: True, removed=self._all_removed,
            )  # fmt: skip
        self._tell(done, began)
        return done

    def is_own(self, group: Group) -> bool:
        """Whether `group` reads nothing but what Tocsin says of itself.

        Such groups are evaluated here even where another server evaluates the rest: else nobody would tell that this
        server is away.
        """
        return group.reads is not None and group.reads <= self._own

    def attempt(
        self, due: Sequence[Group], attempt: Attempt, now: datetime, sampled_at: datetime | None
    ) -> Evaluation | None:
        """Run `due` over the answers that another server gave; None, and nothing done, when some were missing."""
        trial, began = self.rules.copy(), self._clock.monotonic()
        with self._tracing.span("evaluate", groups=len(due)):
            done = trial.evaluate(
                due, self._store, self.hidden(now), now, sampled_at=sampled_at,
                record=self.store_recorded, monotonic=self._clock.monotonic, rounds=attempt,
                among=lambda group: not self.is_own(group), removed=self._all_removed,
            )  # fmt: skip
        if attempt.missing:
            return None
        self.rules = trial
        self._tell(done, began)
        return done

    def _tell(self, done: Evaluation, began: Seconds) -> None:
        self._telemetry.evaluation_seconds.observe(self._clock.monotonic() - began)
        observing.tell_evaluated(done, self._telemetry)

    # Others in force -------------------------------------------------------------------------------------------------

    def replace(self, rules: RuleBook, sources: Iterable[Source], removed: Sequence[Removed], now: datetime) -> None:
        """A reload. The series of what is gone end."""
        older = self.rules
        self.take_over(rules)
        self._append("rules", rules.end_series(older, now))
        # A collector that stays keeps its memory; one whose settings changed begins anew.
        known, self.sources = self.sources, {source.name: source for source in sources}
        for name in known.keys() - self.sources.keys():
            observing.forget_blindness(name, self._telemetry)
        self._removed, self._all_removed = removed, AllRemoved(removed)
        self.end_removed(now)

    def take_over(self, rules: RuleBook) -> None:
        """`rules` are in force, and remember what those before them did."""
        rules.take_over_from(self.rules)
        self.rules = rules

    def end_removed(self, now: datetime) -> None:
        """The series of what is not configured any more; its alerts end at the evaluation that comes next."""
        recorded = frozenset(name for group in self.rules.groups for name in group.yields)
        self._append("rules", series_ends(self._removed, self._store, recorded, now))
