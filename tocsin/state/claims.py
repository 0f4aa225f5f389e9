"""Claims: a row of the outbox that one worker may deliver until its lease ends.

A claim is a compare-and-swap: it takes the row only as it was read. What its holder writes later is written only while
the claim is still its own (`StaleClaim`). The statements are built once: they run for every message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.errors import StaleClaim
from tocsin.incidents.calls import thread_of
from tocsin.model import Action, Notification, Reason, Receipt
from tocsin.state import codec, rows, schema
from tocsin.state.queueing import CLAIMED, QUEUED, waits
from tocsin.state.schema import notifications as outbox
from tocsin.state.schema import receipts

_other = outbox.alias("other")
_FREE: Final = ~sa.exists().where(
    _other.c.incident == outbox.c.incident,
    _other.c.notifier == outbox.c.notifier,
    waits(_other),
    _other.c.action != Action.EDIT,
    _other.c.seq < outbox.c.seq,
)
"""Nothing of the same incident, for the same destination, was queued before it and still waits."""

_NOW: Final = sa.bindparam("now", type_=schema.Instant())
DUE: Final = (
    sa.select(outbox)
    .where(
        outbox.c.notifier == sa.bindparam("to"),
        waits(outbox),
        sa.or_(
            sa.and_(outbox.c.state == QUEUED, outbox.c.not_before <= _NOW),
            sa.and_(outbox.c.state == CLAIMED, outbox.c.lease_until <= _NOW),
        ),
        _FREE,
    )
    .order_by(outbox.c.lane, outbox.c.seq)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
NEXT: Final = (
    sa.select(
        outbox.c.notifier,
        sa.func.min(sa.case((outbox.c.state == CLAIMED, outbox.c.lease_until), else_=outbox.c.not_before)),
    )
    .where(waits(outbox), _FREE)
    .group_by(outbox.c.notifier)
)
_SWAP: Final = (
    sa.update(outbox)
    .where(
        outbox.c.id == sa.bindparam("of"),
        outbox.c.state == sa.bindparam("was"),
        outbox.c.claimed_by == sa.bindparam("held_by"),
        outbox.c.attempts == sa.bindparam("tried"),
    )
    .values(
        state=CLAIMED, claimed_by=sa.bindparam("owner"), lease_until=sa.bindparam("until", type_=schema.Instant()),
        attempts=outbox.c.attempts + 1, doubt=True,
    )
)  # fmt: skip
_PARENT: Final = (
    sa.select(receipts)
    .join(outbox, outbox.c.id == receipts.c.notification)
    .where(
        receipts.c.incident == sa.bindparam("of"), receipts.c.notifier == sa.bindparam("to"),
        receipts.c.action == Action.POST, receipts.c.notification != sa.bindparam("but"),
    )
    .order_by(outbox.c.seq.desc())
    .limit(1)
)  # fmt: skip
_VOID: Final = (
    sa.update(outbox)
    .where(
        outbox.c.incident == sa.bindparam("of"), outbox.c.notifier == sa.bindparam("to"), outbox.c.state == QUEUED
    )
    .values(state="void", ended_at=sa.bindparam("now", type_=schema.Instant()), doc="")
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A row that is ours to deliver until the lease ends."""

    notification: Notification
    owner: str
    parent: Receipt | None
    """The receipt of the incident's first message there."""
    doubt: bool
    """It may have been delivered by an attempt before: read back first."""
    failed_over: str = ""
    """The destination that was told in the meantime."""


async def swap(connection: AsyncConnection, row: Any, owner: str, until: datetime) -> bool:
    """Take the row if it is still as it was read."""
    values = {
        "of": row.id, "was": row.state, "held_by": row.claimed_by, "tried": row.attempts, "owner": owner,
        "until": until,
    }  # fmt: skip
    return (await connection.execute(_SWAP, values)).rowcount == 1


async def set_claimed(connection: AsyncConnection, claim: Claim, **values: Any) -> None:
    """Write to the row while the claim is its owner's. Raises StaleClaim."""
    row = claim.notification
    found = {"of": row.id, "by": claim.owner, "tried": row.attempts, **{f"new_{k}": v for k, v in values.items()}}
    if (await connection.execute(_write_claimed(tuple(values)), found)).rowcount != 1:
        raise StaleClaim(f"{row.id} is another's by now")


@lru_cache
def _write_claimed(columns: tuple[str, ...]) -> sa.Update:
    return (
        sa.update(outbox)
        .where(
            outbox.c.id == sa.bindparam("of"), outbox.c.state == CLAIMED, outbox.c.claimed_by == sa.bindparam("by"),
            outbox.c.attempts == sa.bindparam("tried"),
        )
        .values({name: sa.bindparam(f"new_{name}", type_=outbox.c[name].type) for name in columns})
    )  # fmt: skip


async def void_followers(connection: AsyncConnection, claim: Claim, now: datetime) -> None:
    """What waited behind a first message that nobody got has nothing to follow."""
    row = claim.notification
    await connection.execute(_VOID, {"of": thread_of(row), "to": row.notifier, "now": now})


async def claim_of(connection: AsyncConnection, row: Any, owner: str) -> Claim:
    """The claim on a row that `swap` took."""
    notification = await notification_of(connection, row)
    parent = (await connection.execute(_PARENT, {"of": row.incident, "to": row.notifier, "but": row.id})).first()
    return Claim(
        notification=replace(notification, attempts=row.attempts + 1),
        owner=owner,
        parent=None if parent is None else codec.receipt_of(parent),
        doubt=bool(row.doubt),
        failed_over=row.failed_over,
    )


async def notification_of(connection: AsyncConnection, row: Any) -> Notification:
    """What a row says. An edit shows its incidents as they are now."""
    doc = codec.parse(row.doc)
    if "ids" in doc:
        return codec.notification_of(row, doc, await rows.read_these(connection, doc["ids"]))
    if row.action == Action.EDIT and doc["reason"] != Reason.OVER_BUDGET:
        incident = await rows.read_incident(connection, row.incident)
        return codec.notification_of(row, doc, () if incident is None else (incident,))
    return codec.notification_of(row, doc, tuple(codec.incident_of(entry) for entry in doc["incidents"]))
