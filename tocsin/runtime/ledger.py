"""What is owed to the state store: a write that it did not take is kept, merged with what comes after, and tried again.

So a full disk or a lost database stops no alerting: the book in memory goes on, and the store catches up in one
transaction. Until then delivery can't see what was queued, and what is urgent goes to the lifeboat (`overflow`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol, TypeGuard

from tocsin.errors import Deposed, StateError
from tocsin.incidents import Book, Correction, adopt
from tocsin.incidents.calls import Withdrawal, thread_of
from tocsin.model import Action, Notification, Reason
from tocsin.state import Change, State
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry


class Overflow(Protocol):
    """What happens to a change that the store does not take (lifeboat.Lifeboat)."""

    async def take(self, change: Change) -> None:
        """See to what of it can't wait."""

    def settled(self, change: Change) -> Change:
        """The change as it is to be stored now that the store takes it again."""


class Ledger:
    """The one way from the pipeline to the state store. Not for two callers at once: the pipeline's lock sees to it."""

    def __init__(
        self, state: State, telemetry: Telemetry, *, wake: Callable[[], None], overflow: Overflow | None = None
    ) -> None:
        self._state = state
        self._telemetry = telemetry
        self._wake = wake
        self._overflow = overflow
        self._owed = Change()

    @property
    def owes(self) -> bool:
        """True while the store lacks something."""
        return not self._owed.empty

    async def commit(self, change: Change, *, must: bool = False) -> Correction:
        """Store `change` after all that is owed → what destinations know otherwise than the book thinks.

        Where the store does not take it, it is owed, and the correction is empty; with `must` nothing is owed and
        StateError is raised: for what a person asks for, who can be told to try again.
        """
        whole = self._owed.then(change) if self.owes else change
        settled = whole if self._overflow is None else self._overflow.settled(whole)
        try:
            correction = await self._state.commit(settled)
        except Deposed:
            # Another replica decides by now, and what we decided is void: the next beat says so (leadership.py).
            if must:
                raise
            return Correction()
        except StateError as error:
            self._telemetry.state_errors.inc()
            self._telemetry.state_ok.set(0)
            if must:
                raise
            if not self.owes:
                logger().error("state.write_failed", error=str(error))
            self._owed = whole
            if self._overflow is not None:
                await self._overflow.take(change)
            return Correction()
        if self.owes:
            logger().info("state.caught_up")
        self._owed = Change()
        self._telemetry.state_ok.set(1)
        # Only now: a delivery that looks before the commit finds nothing, and would sleep again.
        if whole.calls:
            self._wake()
        return correction

    async def unheard(self, notifiers: Collection[str]) -> frozenset[tuple[str, str]]:
        """(incident or storm, notifier): whose news of the end is not delivered. For `incidents.reconfigure`."""
        waits = {(thread_of(call), call.notifier) for call in self._owed.calls if _ends(call)}
        if notifiers:
            try:
                waits |= await self._state.outbox.unheard(notifiers)
            except StateError as error:
                logger().error("state.read_failed", error=str(error))
        return frozenset(waits)

    async def recall(self, book: Book, correction: Correction, now: datetime) -> tuple[Book, Correction]:
        """(`book` with what `correction` speaks of and it holds no more, what settling that for has corrected).

        While the store took nothing an incident may have ended and left the book; the fail-over, which goes by the
        store, then tells somebody that it fires, who is owed its end.
        """
        gone = {entry.incident for entry in correction.told} - set(book.files)
        if not gone:
            return book, Correction()
        settled = await self.settle()
        if self.owes:  # the store has them as they were: a restart will find the debt there
            return book, settled
        try:
            return adopt(book, await self._state.files(gone), now), settled
        except StateError as error:
            logger().error("state.read_failed", error=str(error))
            return book, settled

    def forget(self) -> None:
        """Owe nothing: another replica leads, and the store is as it decided."""
        self._owed = Change()
        self._telemetry.state_ok.set(1)

    async def settle(self) -> Correction:
        """Try what is owed again, if anything is."""
        return await self.commit(Change()) if self.owes else Correction()


def _ends(call: Notification | Withdrawal) -> TypeGuard[Notification]:
    if not isinstance(call, Notification):
        return False
    return call.action is Action.RESOLVE or (call.action is Action.EDIT and call.reason is Reason.OVER_BUDGET)
