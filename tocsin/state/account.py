"""The account: for every incident and destination, what came of telling it. In = out, or something was lost.

What comes in is a pair: an incident, and a destination of its route. Each pair is in exactly one of these:

    delivered     there is a receipt
    folded        a digest or a storm summary tells it
    waiting       a row of the outbox is on its way
    failed_over   its destination refused it, and another took over
    withdrawn     it was taken back before anybody had it
    dead          it was given up: see `tocsin incidents show`
    silence_told  a silence hid it, and when that had ended this was told
    a reason      nothing was to be said: silenced_by, in_window, waits_for_parent, low_severity, ended_untold, ...
    unaccounted   none of them. There is no way to get here but a bug or a store that lost rows

It is counted from what the store holds, not from what the code believes it did: receipts, rows and decisions are looked
for. So it finds a message that was marked as said and never was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from tocsin.incidents.told import Via
from tocsin.model import Action, IncidentState
from tocsin.state.schema import Instant, decisions, hidden, incidents, notifications, receipts, told

if TYPE_CHECKING:
    from tocsin.state.store import State

UNACCOUNTED: Final = "unaccounted"
LOOKS_BACK: Final = timedelta(days=1)
"""Incidents that ended before are not counted again."""
NAMED: Final = 20
"""So many of what is unaccounted for are named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What came of every pair of incident and destination."""

    pairs: int
    outcomes: Mapping[str, int]
    """Outcome → pairs; their sum is `pairs`."""
    lost: tuple[tuple[str, str], ...] = ()
    """(incident, notifier) of what is unaccounted for, NAMED at most."""

    @property
    def balances(self) -> bool:
        return not self.outcomes.get(UNACCOUNTED) and sum(self.outcomes.values()) == self.pairs

    def text(self) -> str:
        """`in 1,204 = out 1,204: 1,101 delivered, 100 folded, 3 silenced_by`."""
        parts = sorted(self.outcomes.items(), key=lambda entry: (-entry[1], entry[0]))
        counted = sum(count for outcome, count in parts if outcome != UNACCOUNTED)
        sign = "=" if self.balances else "≠"
        listed = ", ".join(f"{count:,} {outcome}" for outcome, count in parts)
        return f"in {self.pairs:,} {sign} out {counted:,}" + (f": {listed}" if listed else "")


async def balance(state: State, now: datetime) -> Account:
    """The account of the incidents that are open, or ended within LOOKS_BACK. Raises StateError."""
    since = {"since": now - LOOKS_BACK}
    async with state.reading() as connection:
        found = {str(outcome): int(count) for outcome, count in (await connection.execute(_SUMS, since)).all()}
        lost = await connection.execute(_LOST, since) if UNACCOUNTED in found else ()
        named = [(row.incident, row.notifier) for row in lost]
        pairs = int((await connection.execute(_PAIRS, since)).scalar() or 0)
    return Account(pairs=pairs, outcomes=found, lost=tuple(named))


def _outcome() -> sa.Case[Any]:
    """The first that holds, for a row of `told`."""
    has_receipt = sa.exists().where(receipts.c.incident == told.c.incident, receipts.c.notifier == told.c.notifier)
    said = told.c.via == Via.POST
    return sa.case(
        (told.c.via.in_((Via.DIGEST, Via.STORM)), "folded"),
        (sa.and_(said, has_receipt), "delivered"),
        (sa.and_(said, _has_row("queued", "claimed")), "waiting"),
        (sa.and_(said, _has_row("failed_over")), "failed_over"),
        (sa.and_(said, _has_row("dead")), "dead"),
        (said, UNACCOUNTED),
        (_was_hidden(), sa.func.coalesce(_of_report(), UNACCOUNTED)),
        else_=sa.func.coalesce(_last_hold(), sa.case((_has_row("withdrawn"), "withdrawn")), UNACCOUNTED),
    )


_HID: Final = (
    hidden.c.incident == told.c.incident, hidden.c.notifier == told.c.notifier, hidden.c.told_at.is_not(None)
)  # fmt: skip


def _was_hidden() -> sa.Exists:
    """A silence hid it, and has ended."""
    return sa.exists().where(*_HID)


def _of_report() -> sa.ScalarSelect[Any]:
    """What came of telling what the silence hid: of several, of the last."""
    outcome = sa.case(
        (notifications.c.state == "sent", "silence_told"),
        (notifications.c.state.in_(("queued", "claimed")), "waiting"),
        else_=notifications.c.state,
    )
    query = sa.select(outcome).join(hidden, hidden.c.told_by == notifications.c.id).where(*_HID)
    return query.order_by(hidden.c.told_at.desc()).limit(1).correlate(told).scalar_subquery()


def _has_row(*states: str) -> sa.Exists:
    return sa.exists().where(
        notifications.c.incident == told.c.incident,
        notifications.c.notifier == told.c.notifier,
        notifications.c.state.in_(states),
    )


def _last_hold() -> sa.ScalarSelect[Any]:
    """The reason of the last decision, if that was to say nothing."""
    own = decisions.c.incident == told.c.incident, decisions.c.notifier == told.c.notifier
    later = decisions.alias("later")
    last = sa.select(sa.func.max(later.c.seq)).where(
        later.c.incident == told.c.incident, later.c.notifier == told.c.notifier
    )
    query = sa.select(decisions.c.reason).where(
        *own, decisions.c.action == Action.HOLD, decisions.c.seq == last.correlate(told).scalar_subquery()
    )
    return query.correlate(told).scalar_subquery()


# Built once: the simulation asks thousands of times.
_COUNTED: Final = told.c.incident.in_(
    sa.select(incidents.c.id).where(
        sa.or_(
            incidents.c.state != IncidentState.RESOLVED,
            incidents.c.resolved_at > sa.bindparam("since", type_=Instant()),
        )
    )
)
_OUTCOMES: Final = (
    sa.select(told.c.incident, told.c.notifier, _outcome().label("outcome")).where(_COUNTED).subquery("outcomes")
)
_SUMS: Final = sa.select(_OUTCOMES.c.outcome, sa.func.count()).group_by(_OUTCOMES.c.outcome)
_LOST: Final = (
    sa.select(_OUTCOMES.c.incident, _OUTCOMES.c.notifier).where(_OUTCOMES.c.outcome == UNACCOUNTED).limit(NAMED)
)
_PAIRS: Final = sa.select(sa.func.count()).select_from(told).where(_COUNTED)
