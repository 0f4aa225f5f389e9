"""Fail-over: the row that says the same to another destination, and what the first one hears of it later."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.incidents import Correction, Told
from tocsin.incidents.calls import thread_of
from tocsin.incidents.told import Via
from tocsin.model import Action, Incident, Notification, Reason, Severity
from tocsin.state import rows, schema
from tocsin.state.claims import Claim, void_followers
from tocsin.state.queueing import queue, waits
from tocsin.state.schema import notifications as outbox
from tocsin.state.schema import receipts

SPEAKS: Final = (Action.POST, Action.BROADCAST, Action.ESCALATE, Action.REMIND)
"""Actions that may wake somebody: those fail over to another destination, by the clock too."""
_PAGE_WAITS: Final = (
    waits(outbox),
    outbox.c.severity == Severity.P0,
    outbox.c.action.in_(SPEAKS),
    outbox.c.failed_over == "",
)
OVERDUE: Final = (
    sa.select(outbox)
    .where(*_PAGE_WAITS, outbox.c.created_at <= sa.bindparam("by", type_=schema.Instant()))
    .order_by(outbox.c.seq)
)
FIRST_PAGE: Final = sa.select(sa.func.min(outbox.c.created_at)).where(*_PAGE_WAITS)


async def tell(connection: AsyncConnection, row: Notification, to: str, why: str, now: datetime) -> tuple[Told, ...]:
    """Queue `row` for `to`: as a reply if that destination has the incident already, else as a first message."""
    if row.action is Action.DIGEST:
        # Its reason says how it reads.
        await queue(connection, [replace(_for(row, to, row.action, row.incidents, why, now), reason=row.reason)])
        return ()
    incident = await rows.read_incident(connection, row.incident.id) or row.incident
    known = await rows.read_told(connection, schema.incidents.c.id == incident.id)
    before = known.get(incident.id, {}).get(to)
    if before is not None and before.via is Via.POST:
        if row.action is not Action.POST:
            await queue(connection, [_for(row, to, row.action, (incident,), why, now)])
        return ()
    post = _for(row, to, Action.POST, (incident,), why, now)
    await queue(connection, [post])
    entry = Told(
        incident=incident.id, notifier=to, via=Via.POST, post=post.id, at=now, revision=incident.revision,
        severity=incident.severity, state=incident.state, delta_at=now, edit_at=now, escalated=99,
    )  # fmt: skip
    await rows.write_told(connection, [entry])
    return (entry,)


def _for(
    row: Notification, to: str, action: Action, incidents: tuple[Incident, ...], why: str, now: datetime
) -> Notification:
    return replace(
        row, id=f"{row.id}>{to}", notifier=to, action=action, incidents=incidents,
        reason=Reason.FAILED_OVER, because=f"{row.because} ({row.notifier}: {why})",
        created_at=now, not_before=now, attempts=0, last_error="",
    )  # fmt: skip


async def storm_elsewhere(
    connection: AsyncConnection, row: Notification, to: str, why: str, now: datetime, *, claim: Claim | None
) -> Correction:
    """A storm's summary goes to `to`: as it is now, and with all that is said of it from now on."""
    storm = next((each for each in await rows.read_storms(connection) if each.id == thread_of(row)), None)
    if row.action is Action.RESOLVE:
        # The end is the end, whatever fires anew.
        await queue(connection, [replace(_for(row, to, row.action, row.incidents, why, now), reason=row.reason)])
        return Correction()
    if storm is None and claim is None:
        # It is over, and its own destination will hear all of it in time: nobody is woken for it elsewhere.
        return Correction()
    ids = [each.id for each in row.incidents] if storm is None else list(storm.incidents)
    by_id = {each.id: each for each in row.incidents}
    by_id |= {each.id: each for each in await rows.read_incidents(connection, schema.incidents.c.id.in_(ids))}
    about = tuple(by_id[id] for id in ids if id in by_id)
    knows = storm is not None and to in storm.tells
    # Somebody who has not heard of it is told the whole; who has needs no second first message.
    action = row.action if knows else Action.POST
    if not (knows and row.action is Action.POST):
        await queue(connection, [replace(_for(row, to, action, about, why, now), reason=Reason.OVER_BUDGET)])
    refused = claim is not None and row.action is Action.POST
    if refused and claim is not None:
        await void_followers(connection, claim, now)
    if storm is None or (knows and not refused):
        return Correction()
    # One that refused hears nothing more of it; one that is only slow goes on being told.
    others = (name for name in storm.tells if name != to and not (refused and name == row.notifier))
    moved = replace(storm, tells=(*others, to))
    await rows.write_storms(connection, [moved], ())
    return Correction(storms=((moved.id, moved.tells),))


async def link(connection: AsyncConnection, row: Notification, to: str, now: datetime) -> list[Notification]:
    """A reply in the thread that says who was told before this destination answered; none where nobody was."""
    queued = sa.select(sa.exists().where(outbox.c.id == f"{row.id}>{to}"))
    if not (await connection.execute(queued)).scalar():
        return []
    query = sa.select(receipts).where(receipts.c.notification == f"{row.id}>{to}")
    found = (await connection.execute(query)).first()
    when = f"told at {found.at:%H:%M:%S}{f' {found.permalink}' if found.permalink else ''}" if found else "being told"
    incident = await rows.read_incident(connection, row.incident.id) or row.incident
    reply = replace(
        row, id=f"{row.id}~link", action=Action.THREAD, incidents=(incident,), reason=Reason.FAILED_OVER, mentions=(),
        because=f"{to} was {when} as well, because there was no receipt from here in time",
        created_at=now, not_before=now, attempts=0, last_error="",
    )  # fmt: skip
    return [reply]
