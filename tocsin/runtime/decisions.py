"""The book of incidents in force, and that each turn of it is stored with what it queues, in one transaction.

Not for two callers at once: the pipeline's lock sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from tocsin.errors import Deposed
from tocsin.incidents import Book, Correction, Outcome, heard, react
from tocsin.model import Alert, Transition
from tocsin.ports import Clock
from tocsin.runtime import observing
from tocsin.runtime.head_start import HeadStart
from tocsin.runtime.ledger import Ledger
from tocsin.state import Change
from tocsin.telemetry.metrics import Telemetry


class Decisions:
    """What is decided on the book, stored and told in metrics and log."""

    def __init__(
        self,
        book: Book,
        ledger: Ledger,
        clock: Clock,
        telemetry: Telemetry,
        *,
        leads: bool = True,
        head_start: HeadStart | None = None,
    ) -> None:
        self.book = book
        self.leads = leads
        """False on a replica that follows: nothing is decided or stored."""
        self._ledger = ledger
        self._clock = clock
        self._telemetry = telemetry
        self._head_start = head_start

    async def react(self, transitions: Sequence[Transition], alerts: Sequence[Alert], now: datetime) -> None:
        """What changed is decided on; `alerts` are stored with it."""
        if self.leads and (transitions or alerts):
            await self.commit(react(self.book, transitions, now), alerts)

    async def commit(self, outcome: Outcome, alerts: Iterable[Alert] = ()) -> None:
        """The book is `outcome`'s from now on; what the store does not take is owed to it."""
        if not self.leads:
            return
        change = Change.of(outcome, alerts)
        self._turn(outcome)
        if not change.empty:
            correction = await self._ledger.commit(change)
            if self._head_start is not None:
                self._head_start.queued(change.calls)
            await self.hear(correction)

    async def act(self, action: Callable[[Book, datetime], Outcome]) -> Outcome:
        """What a person does. Durable when this returns. Raises StateError, and what `action` raises."""
        if not self.leads:
            raise Deposed("another replica leads now: try again")
        outcome = action(self.book, self._clock.now())
        correction = await self._ledger.commit(Change.of(outcome), must=True)
        self._turn(outcome)
        await self.hear(correction)
        return outcome

    async def hear(self, correction: Correction) -> None:
        """Delivery told somebody else than planned, or a destination refused for good."""
        while correction and self.leads:
            now = self._clock.now()
            self.book, settled = await self._ledger.recall(self.book, correction, now)
            await self.hear(settled)
            outcome = heard(self.book, correction, now)
            self._turn(outcome)
            correction = await self._ledger.commit(Change.of(outcome))

    async def settle(self) -> None:
        """Try again what is owed to the store."""
        await self.hear(await self._ledger.settle())

    def follow(self) -> None:
        """Another replica leads: what was decided here and not stored is void."""
        self.leads = False
        self._ledger.forget()

    def _turn(self, outcome: Outcome) -> None:
        self.book = outcome.book
        observing.tell_decided(outcome, self._telemetry)
