"""What the figures of tocsin.incidents.response are counted from. Bounded: the newest MOST incidents and messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from tocsin.incidents.response import WINDOW, Handled, Said
from tocsin.model import Action, Severity
from tocsin.state import codec
from tocsin.state.schema import acks, incidents, members, notifications, receipts

if TYPE_CHECKING:
    from tocsin.state.store import State

MOST: Final = 2_000
PAGES: Final = (Action.POST, Action.BROADCAST, Action.ESCALATE)
"""What rings."""
PAGING: Final = (Severity.P0, Severity.P1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The arguments of `figures`."""

    handled: tuple[Handled, ...]
    said: tuple[Said, ...]
    rang: tuple[tuple[Severity, datetime], ...]


async def read_response(state: State, now: datetime) -> Record:
    """The incidents that opened within WINDOW, and what was said since. Raises StateError."""
    since = now - WINDOW
    newest = (
        sa.select(incidents.c.id)
        .where(incidents.c.opened_at > since)
        .order_by(incidents.c.opened_at.desc())
        .limit(MOST)
    ).subquery()
    ids = sa.select(newest.c.id)
    docs = sa.select(incidents.c.doc).where(incidents.c.id.in_(ids))
    alerts = (
        sa.select(members.c.incident, sa.func.count()).where(members.c.incident.in_(ids)).group_by(members.c.incident)
    )
    taken = sa.select(acks.c.incident, sa.func.min(acks.c.at)).where(acks.c.incident.in_(ids)).group_by(acks.c.incident)
    spoken = (
        sa.select(receipts.c.incident, receipts.c.action, receipts.c.at, incidents.c.severity)
        .join(incidents, incidents.c.id == receipts.c.incident)
        .where(receipts.c.at > since, receipts.c.action.in_(PAGES))
        .order_by(receipts.c.at.desc())
        .limit(MOST)
    )
    first = (
        sa.select(notifications.c.severity, notifications.c.created_at, receipts.c.at)
        .join(receipts, receipts.c.notification == notifications.c.id)
        .where(receipts.c.at > since, notifications.c.action == Action.POST, notifications.c.severity.in_(PAGING))
        .order_by(receipts.c.at.desc())
        .limit(MOST)
    )
    async with state.reading() as connection:
        found = list((await connection.execute(docs)).scalars())
        counts = {row[0]: int(row[1]) for row in await connection.execute(alerts)}
        acked = {row[0]: row[1] for row in await connection.execute(taken)}
        rows = (await connection.execute(spoken)).all()
        said = (await connection.execute(first)).all()
    return Record(
        # Some megabytes of JSON at worst: not on the loop.
        handled=await asyncio.to_thread(_handled, found, counts, acked, rows),
        said=tuple(Said(severity=Severity(row.severity), decided_at=row.created_at, arrived_at=row.at) for row in said),
        rang=tuple((Severity(row.severity), row.at) for row in rows if row.severity in PAGING),
    )


def _handled(
    docs: Sequence[str], alerts: dict[str, int], acked: dict[str, datetime], rows: Sequence[Any]
) -> tuple[Handled, ...]:
    posts = Counter(row.incident for row in rows if row.action == Action.POST)
    pages = Counter(row.incident for row in rows if row.severity in PAGING)
    found = [codec.incident_of(codec.parse(doc), ()) for doc in docs]
    return tuple(
        Handled(
            incident=incident, alerts=alerts.get(incident.id, 0), acked_at=acked.get(incident.id),
            pages=pages[incident.id], posts=posts[incident.id],
        )
        for incident in found
    )  # fmt: skip
