"""Bugs that the simulation must find: each breaks one promise, and `make mutants` shows which seed finds it.

    with mutant(MUTANTS[0]):
        run = await simulate(seed, folder)     # some seed violates an invariant

A simulation that no bug disturbs proves nothing. Each is a few lines that somebody might write, put in the place of the
real ones while the context lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from unittest import mock

import sqlalchemy as sa

from tocsin.incidents import Book, Correction, Outcome, desk, policy
from tocsin.incidents.context import Context
from tocsin.model import Action, Decision, Incident, Reason, Transition
from tocsin.runtime.courier import Courier
from tocsin.state import Change, Claim, Outbox, State, claims, outbox, queueing
from tocsin.state.schema import notifications
from tocsin.testing import world
from tocsin.testing.watched import ended

Patches = Iterable[tuple[Any, str, Any]]
"""(object, attribute, what stands there instead)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One bug."""

    name: str
    breaks: str
    """What the code does wrong, in words."""
    seed: int
    """A seed that finds it, which a test runs."""
    patches: Callable[[], Patches]


def _sent_before_the_receipt() -> Patches:
    claim_due = Outbox.claim_due

    async def marks(self: Outbox, *args: Any, **named: Any) -> tuple[Claim, ...]:
        found = await claim_due(self, *args, **named)
        async with self._state.writing() as connection:
            for claim in found:
                mark = sa.update(notifications).where(notifications.c.id == claim.notification.id)
                await connection.execute(mark.values(state="sent"))
        return found

    yield Outbox, "claim_due", marks


def _no_compare_and_swap() -> Patches:
    async def takes(connection: Any, row: Any, owner: str, until: datetime) -> bool:
        take = sa.update(notifications).where(notifications.c.id == row.id)
        values = {"state": "claimed", "claimed_by": owner, "lease_until": until, "attempts": row.attempts + 1}
        await connection.execute(take.values(doubt=True, **values))
        return True

    yield outbox, "swap", takes


def _no_read_back() -> Patches:
    async def nothing(self: Courier, claim: Claim) -> None:
        return None

    yield Courier, "_read_back", nothing


def _no_doubt() -> Patches:
    yield claims, "_SWAP", claims._SWAP.values(doubt=False)


def _silence_eats_the_end() -> Patches:
    real = policy.resolution_debt

    def forgets(incident: Incident, context: Context, now: datetime) -> Decision | None:
        if context.mute is not None:
            return Decision(action=Action.HOLD, reason=context.mute.reason, because=context.mute.because)
        return real(incident, context, now)

    yield policy, "RULES", tuple(forgets if rule is real else rule for rule in policy.RULES)


def _first_come_first_served() -> Patches:
    yield outbox, "DUE", claims.DUE.order_by(None).order_by(notifications.c.seq)


def _outbox_apart() -> Patches:
    commit = State.commit

    async def twice(self: State, change: Change) -> Correction:
        await commit(self, replace(change, calls=()))
        return await commit(self, Change(calls=change.calls))

    yield State, "commit", twice


def _unknown_is_ok() -> Patches:
    real = desk.react

    def ends(book: Book, transitions: Iterable[Transition], now: datetime) -> Outcome:
        seen = [
            each if each.alert.frozen_since is None else replace(each, alert=ended(each.alert, now))
            for each in transitions
        ]
        return real(book, seen, now)

    yield world, "react", ends


def _rule_goes_quietly() -> Patches:
    def nothing(book: Book, *_: Any) -> Outcome:
        return Outcome(book=book)

    yield world, "retire", nothing


def _no_heir() -> Patches:
    real = desk.reconfigure

    def forgets(book: Book, plan: Any, now: datetime, _: Any = ()) -> Outcome:
        gone = set(book.plan.destinations) - set(plan.destinations)
        files = {
            id: replace(file, told={name: told for name, told in file.told.items() if name not in gone})
            for id, file in book.files.items()
        }
        return real(replace(book, files=files), plan, now)

    yield world, "reconfigure", forgets


def _taken_back_too_late() -> Patches:
    async def takes(connection: Any, posts: Iterable[str]) -> set[str]:
        ids = list(posts)
        take = sa.update(notifications).where(notifications.c.id.in_(ids), notifications.c.state == "queued")
        await connection.execute(take.values(state="withdrawn", ended_at=notifications.c.not_before))
        found = sa.select(notifications.c.id).where(
            notifications.c.id.in_(ids), notifications.c.state == "withdrawn"
        )  # fmt: skip
        return set((await connection.execute(found)).scalars())

    yield queueing, "_take_back", takes


def _budget_drops() -> Patches:
    real = policy.over_budget

    def drops(incident: Incident, context: Context, now: datetime) -> Decision | None:
        found = real(incident, context, now)
        return None if found is None else replace(found, reason=Reason.NOTHING_NEW)

    yield policy, "RULES", tuple(drops if rule is real else rule for rule in policy.RULES)


MUTANTS: Final = tuple(
    Mutant(name=patches.__name__.strip("_").replace("_", "-"), breaks=breaks, seed=seed, patches=patches)
    for patches, breaks, seed in (
        (_sent_before_the_receipt, "a row is marked sent when it is claimed, before there is a receipt", 0),
        (_no_compare_and_swap, "a claim takes the row even if somebody else has it by now", 48),
        (_no_read_back, "what may have been delivered is sent again without a look", 5),
        (_no_doubt, "a claim does not say that its row may have been delivered", 9),
        (_silence_eats_the_end, "the end is not told while a silence, a window or a parent mutes the incident", 91),
        (_first_come_first_served, "rows are claimed in the order they were queued, whatever their severity", 0),
        (_outbox_apart, "the transition and its messages are two transactions", 11),
        (_unknown_is_ok, "an alert that can't be seen is taken to have ended", 4),
        (_rule_goes_quietly, "a reload without a rule forgets that its alerts fired", 4),
        (_no_heir, "what was told by a notifier that is gone is forgotten", 7),
        (_taken_back_too_late, "a first message that may have been delivered is taken back all the same", 11),
        (_budget_drops, "what is over the budget is held and in no summary", 21),
    )
)


@contextmanager
def mutant(which: Mutant) -> Iterator[None]:
    """The code with that bug, while it lasts."""
    with ExitStack() as stack:
        for where, name, what in which.patches():
            stack.enter_context(mock.patch.object(where, name, what))
        yield
