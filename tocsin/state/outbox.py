"""The outbox as delivery uses it: claim what is due, and say what came of it.

A claim is a compare-and-swap with a lease, and it is durable before anything is sent. From then on the row is in doubt:
whoever finds it again, after a crash or a lapsed lease, reads back before sending. Only a certain failure (`retry` with
`doubt=False`) or a receipt ends the doubt.

Order, per destination: see `queueing.lane`. Per incident: rows go out in the order they were queued, so a thread reply
waits for its post, and the end for what was said before it. Edits wait for all of them, and nothing waits for an edit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.errors import StaleClaim
from tocsin.incidents import Correction, Told
from tocsin.incidents.calls import thread_of
from tocsin.incidents.told import Via
from tocsin.model import Action, Incident, IncidentState, Notification, Reason, Receipt, Seconds, Severity
from tocsin.state import codec, rows, schema
from tocsin.state.queueing import CLAIMED, QUEUED, WAITING, queue, row_of
from tocsin.state.schema import notifications as outbox
from tocsin.state.schema import receipts

if TYPE_CHECKING:
    from tocsin.state.store import State

SPEAKS: Final = (Action.POST, Action.BROADCAST, Action.ESCALATE, Action.REMIND)
"""Actions that may wake somebody: those fail over to another destination, by the clock too."""

_other = outbox.alias("other")
_FREE: Final = ~sa.exists().where(
    _other.c.incident == outbox.c.incident,
    _other.c.notifier == outbox.c.notifier,
    _other.c.state.in_(WAITING),
    _other.c.action != Action.EDIT,
    _other.c.seq < outbox.c.seq,
)
"""Nothing of the same incident, for the same destination, was queued before it and still waits."""

# The statements that are run all the time, built once.
_NOW: Final = sa.bindparam("now", type_=schema.Instant())
_DUE: Final = (
    sa.select(outbox)
    .where(
        outbox.c.notifier == sa.bindparam("to"),
        outbox.c.state.in_(WAITING),
        sa.or_(
            sa.and_(outbox.c.state == QUEUED, outbox.c.not_before <= _NOW),
            sa.and_(outbox.c.state == CLAIMED, outbox.c.lease_until <= _NOW),
        ),
        _FREE,
    )
    .order_by(outbox.c.lane, outbox.c.seq)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_NEXT: Final = (
    sa.select(
        outbox.c.notifier,
        sa.func.min(sa.case((outbox.c.state == CLAIMED, outbox.c.lease_until), else_=outbox.c.not_before)),
    )
    .where(outbox.c.state.in_(WAITING), _FREE)
    .group_by(outbox.c.notifier)
)
_PAGE_WAITS: Final = (
    outbox.c.state.in_(WAITING),
    outbox.c.severity == Severity.P0,
    outbox.c.action.in_(SPEAKS),
    outbox.c.failed_over == "",
)
_OVERDUE: Final = (
    sa.select(outbox)
    .where(*_PAGE_WAITS, outbox.c.created_at <= sa.bindparam("by", type_=schema.Instant()))
    .order_by(outbox.c.seq)
)
_FIRST_PAGE: Final = sa.select(sa.func.min(outbox.c.created_at)).where(*_PAGE_WAITS)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What one destination has in front of it."""

    notifier: str
    count: int
    oldest: datetime | None
    """Since when the oldest that is due, or was tried in vain, waits."""
    dead: int


class Outbox:
    """All methods raise StateError."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def claim_due(
        self, notifier: str, now: datetime, *, owner: str, lease: Seconds, limit: int = 1
    ) -> tuple[Claim, ...]:
        """Claim what `notifier` should get next, the most urgent first."""
        async with self._state.reading() as connection:
            # Most looks find nothing: they must not cost a write.
            found = (await connection.execute(_DUE, {"to": notifier, "now": now, "most": limit})).all()
        if not found:
            return ()
        claims = []
        async with self._state.writing() as connection:
            for row in found:
                if await _swap(connection, row, owner, now + timedelta(seconds=lease)):
                    claim = await _claim(connection, row, owner)
                    claims.append(claim)
        return tuple(claims)

    async def next_due(self, notifier: str) -> datetime | None:
        """When `claim_due` may find something: a row's time, or the end of a lease; None while nothing waits."""
        return (await self.next_dues()).get(notifier)

    async def next_dues(self) -> dict[str, datetime]:
        """The same for every destination that something waits for, by name."""
        async with self._state.reading() as connection:
            found = (await connection.execute(_NEXT)).all()
        dues = {name: _instant(due) for name, due in found}
        return {name: due for name, due in dues.items() if due is not None}

    async def finish(self, claim: Claim, receipt: Receipt, *, threads: bool = False) -> None:
        """It is delivered: a fact, whoever holds the claim by now.

        Where another destination was told in the meantime and this one has `threads`, its thread says so.
        """
        values = {
            "notification": receipt.notification, "notifier": receipt.notifier, "incident": receipt.incident,
            "action": receipt.action, "at": receipt.at, "destination": receipt.destination, "ref": receipt.ref,
            "permalink": receipt.permalink, "degraded": codec.printable(receipt.degraded),
            "extra": codec.dump(dict(receipt.extra)),
        }  # fmt: skip
        async with self._state.writing() as connection:
            await rows.insert_new(connection, receipts, [values], "notification")
            sent = (
                sa.update(outbox)
                .where(outbox.c.id == receipt.notification)
                .values(state="sent", doubt=False, ended_at=receipt.at, last_error="", lease_until=None)
            )
            await connection.execute(sent)
            over = sa.select(outbox.c.failed_over).where(outbox.c.id == receipt.notification)
            if threads and (to := (await connection.execute(over)).scalar()):
                await queue(connection, [await _link(connection, claim.notification, to, receipt.at)])

    async def retry(self, claim: Claim, not_before: datetime, error: str, *, doubt: bool) -> None:
        """Not delivered, or not known to be (`doubt`): again at `not_before`. Raises StaleClaim."""
        async with self._state.writing() as connection:
            await _set_claimed(
                connection, claim, state=QUEUED, not_before=not_before, doubt=doubt, last_error=codec.printable(error),
                claimed_by="", lease_until=None,
            )  # fmt: skip

    async def give_up(self, claim: Claim, error: str, now: datetime) -> Correction:
        """A dead letter, and what waited behind it is void → who knows nothing of it. Raises StaleClaim."""
        row = claim.notification
        async with self._state.writing() as connection:
            await _set_claimed(
                connection, claim, state="dead", last_error=codec.printable(error), ended_at=now, lease_until=None
            )
            if row.action is Action.POST:
                await _void_followers(connection, claim, now)
                gone = ((thread_of(row), row.notifier),)
                await rows.write_told(connection, (), gone)
                return Correction(gone=gone)
        return Correction()

    async def skip(self, claim: Claim, why: str, now: datetime) -> None:
        """It says nothing any more: its message is gone, or was never sent. Raises StaleClaim."""
        async with self._state.writing() as connection:
            await _set_claimed(
                connection, claim, state="void", last_error=codec.printable(why), ended_at=now, lease_until=None, doc=""
            )

    async def repost(self, claim: Claim, why: str, now: datetime) -> None:
        """The message that it was to edit or to follow is gone: a new first message says it. Raises StaleClaim."""
        old = claim.notification
        async with self._state.writing() as connection:
            storm = old.reason is Reason.OVER_BUDGET
            incident = None if storm else await _incident(connection, old.incident.id)
            about = old.incidents if incident is None else (incident,)
            ended = all(each.state is IncidentState.RESOLVED for each in about)
            over = old.action is Action.EDIT and ended
            post = replace(
                old, id=f"{old.id}~again", action=Action.POST, incidents=about,
                reason=Reason.OVER_BUDGET if storm else Reason.MESSAGE_LOST,
                because=f"{old.because} (the message that told it is gone: {why})",
                created_at=now, not_before=now, attempts=0, last_error="",
            )  # fmt: skip
            # In the place of the lost row, so that what waits behind that follows the new message.
            values = {**row_of(post), "claimed_by": "", "lease_until": None}
            if over:
                # Its end was told in the thread, and nobody looks for the message.
                values = {"state": "superseded", "last_error": codec.printable(why), "ended_at": now}
            await _set_claimed(connection, claim, **values)
            if over:
                return
            lost = {
                **row_of(old), "state": "superseded", "attempts": old.attempts, "last_error": codec.printable(why),
                "ended_at": now, "doc": "",
            }  # fmt: skip
            await rows.insert_new(connection, outbox, [lost], "id")
            await connection.execute(
                sa.update(outbox)
                .where(
                    outbox.c.incident == thread_of(old), outbox.c.notifier == old.notifier,
                    outbox.c.state == QUEUED, outbox.c.action == Action.EDIT,
                )
                .values(state="superseded", ended_at=now, doc="")
            )  # fmt: skip

    async def fail_over(
        self, row: Notification, to: str, why: str, now: datetime, *, claim: Claim | None
    ) -> Correction:
        """Tell `to` as well. With `claim`, the row was refused and is over; without, it is still tried.

        → what destinations know now, for `incidents.heard`; none when somebody else was faster. The new message shows
        the incident as it is now. Raises StaleClaim.
        """
        async with self._state.writing() as connection:
            if claim is not None:
                await _set_claimed(
                    connection, claim, state="failed_over", failed_over=to, last_error=codec.printable(why),
                    ended_at=now, lease_until=None,
                )  # fmt: skip
            else:
                mark = (
                    sa.update(outbox)
                    .where(outbox.c.id == row.id, outbox.c.failed_over == "", outbox.c.state.in_(WAITING))
                    .values(failed_over=to)
                )
                if not (await connection.execute(mark)).rowcount:
                    return Correction()
            if row.reason is Reason.OVER_BUDGET:
                return await _storm_elsewhere(connection, row, to, why, now, claim=claim)
            told = await self._tell(connection, row, to, why, now)
            if claim is not None and row.action is Action.POST:
                await _void_followers(connection, claim, now)
                gone = ((row.incident.id, row.notifier),)
                await rows.write_told(connection, (), gone)
                return Correction(told=told, gone=gone)
            return Correction(told=told)

    async def _tell(
        self, connection: AsyncConnection, row: Notification, to: str, why: str, now: datetime
    ) -> tuple[Told, ...]:
        """Queue `row` for `to`: as a reply if that destination has the incident already, else as a first message."""
        if row.action is Action.DIGEST:
            await queue(connection, [_for(row, to, row.action, row.incidents, why, now)])
            return ()
        incident = await _incident(connection, row.incident.id) or row.incident
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

    async def overdue(self, now: datetime, after: Seconds) -> tuple[Notification, ...]:
        """P0 that should have woken somebody, and has no receipt `after` this long; once each."""
        async with self._state.reading() as connection:
            found = (await connection.execute(_OVERDUE, {"by": now - timedelta(seconds=after)})).all()
            return tuple([await _notification(connection, row) for row in found])

    async def next_overdue(self, after: Seconds) -> datetime | None:
        """When `overdue` will find something, if nothing is delivered before."""
        async with self._state.reading() as connection:
            first = (await connection.execute(_FIRST_PAGE)).scalar()
        return None if first is None else first + timedelta(seconds=after)

    async def release_all(self, *, but: str) -> int:
        """Every claim that is not `but`'s is over now; its row is in doubt → how many."""
        query = (
            sa.update(outbox)
            .where(outbox.c.state == CLAIMED, outbox.c.claimed_by != but)
            .values(state=QUEUED, claimed_by="", lease_until=None)
        )
        async with self._state.writing() as connection:
            return (await connection.execute(query)).rowcount

    async def hurry(self, notifiers: Iterable[str], now: datetime) -> int:
        """What waits for a later try is tried now: the configuration was mended → how many."""
        query = (
            sa.update(outbox)
            .where(
                outbox.c.notifier.in_(list(notifiers)), outbox.c.state == QUEUED, outbox.c.attempts > 0,
                outbox.c.not_before > now,
            )
            .values(not_before=now)
        )  # fmt: skip
        async with self._state.writing() as connection:
            return (await connection.execute(query)).rowcount

    async def waiting(self, now: datetime) -> tuple[Waiting, ...]:
        """What is in front of each destination."""
        live = outbox.c.state.in_(WAITING)
        # One that was tried waits for its next try, and is overdue all the while.
        tried = sa.and_(live, outbox.c.attempts > 0)
        since = sa.case((tried, outbox.c.created_at), (sa.and_(live, outbox.c.not_before <= now), outbox.c.not_before))
        query = (
            sa.select(
                outbox.c.notifier,
                sa.func.sum(sa.case((live, 1), else_=0)).label("live"),
                sa.func.min(since).label("oldest"),
                sa.func.sum(sa.case((outbox.c.state == "dead", 1), else_=0)).label("dead"),
            )
            .where(outbox.c.state.in_((*WAITING, "dead")))
            .group_by(outbox.c.notifier)
            .order_by(outbox.c.notifier)
        )
        async with self._state.reading() as connection:
            found = (await connection.execute(query)).all()
        return tuple(
            Waiting(notifier=row.notifier, count=int(row.live), oldest=_instant(row.oldest), dead=int(row.dead))
            for row in found
        )

    async def waiting_for(self) -> frozenset[str]:
        """Every destination that something waits for, configured or not."""
        query = sa.select(outbox.c.notifier).where(outbox.c.state.in_(WAITING)).distinct()
        async with self._state.reading() as connection:
            return frozenset((await connection.execute(query)).scalars())


def _instant(value: Any) -> datetime | None:
    # An aggregate over a CASE has lost its type on the way.
    if value is None or isinstance(value, datetime):
        return value
    return schema.Instant().process_result_value(int(value), None)


def _for(
    row: Notification, to: str, action: Action, incidents: tuple[Incident, ...], why: str, now: datetime
) -> Notification:
    return replace(
        row, id=f"{row.id}>{to}", notifier=to, action=action, incidents=incidents,
        reason=Reason.FAILED_OVER, because=f"{row.because} ({row.notifier}: {why})",
        created_at=now, not_before=now, attempts=0, last_error="",
    )  # fmt: skip


async def _storm_elsewhere(
    connection: AsyncConnection, row: Notification, to: str, why: str, now: datetime, *, claim: Claim | None
) -> Correction:
    """A storm's summary goes to `to`: as it is now, and with all that is said of it from now on."""
    storm = next((each for each in await rows.read_storms(connection) if each.id == thread_of(row)), None)
    if row.action is Action.RESOLVE:
        # The end is the end, whatever fires anew.
        await queue(connection, [replace(_for(row, to, row.action, row.incidents, why, now), reason=row.reason)])
        return Correction()
    ids = [each.id for each in row.incidents] if storm is None else list(storm.incidents)
    by_id = {each.id: each for each in row.incidents}
    by_id |= {each.id: each for each in await rows.read_incidents(connection, schema.incidents.c.id.in_(ids))}
    about = tuple(by_id[id] for id in ids if id in by_id)
    knows = storm is not None and to in storm.tells
    # Somebody who has not heard of it is told the whole.
    action = row.action if knows else Action.POST
    await queue(connection, [replace(_for(row, to, action, about, why, now), reason=Reason.OVER_BUDGET)])
    refused = claim is not None and row.action is Action.POST
    if refused and claim is not None:
        await _void_followers(connection, claim, now)
    if storm is None or (knows and not refused):
        return Correction()
    # One that refused hears nothing more of it; one that is only slow goes on being told.
    others = (name for name in storm.tells if name != to and not (refused and name == row.notifier))
    moved = replace(storm, tells=(*others, to))
    await rows.write_storms(connection, [moved], ())
    return Correction(storms=((moved.id, moved.tells),))


async def _link(connection: AsyncConnection, row: Notification, to: str, now: datetime) -> Notification:
    """A reply in the thread that says who was told before this destination answered."""
    query = sa.select(receipts).where(receipts.c.notification == f"{row.id}>{to}")
    found = (await connection.execute(query)).first()
    when = f"told at {found.at:%H:%M:%S}{f' {found.permalink}' if found.permalink else ''}" if found else "being told"
    incident = await _incident(connection, row.incident.id) or row.incident
    return replace(
        row, id=f"{row.id}~link", action=Action.THREAD, incidents=(incident,), reason=Reason.FAILED_OVER, mentions=(),
        because=f"{to} was {when} as well, because there was no receipt from here in time",
        created_at=now, not_before=now, attempts=0, last_error="",
    )  # fmt: skip


async def _swap(connection: AsyncConnection, row: Any, owner: str, until: datetime) -> bool:
    """Take the row if it is still as it was read."""
    query = (
        sa.update(outbox)
        .where(
            outbox.c.id == row.id, outbox.c.state == row.state, outbox.c.claimed_by == row.claimed_by,
            outbox.c.attempts == row.attempts,
        )
        .values(state=CLAIMED, claimed_by=owner, lease_until=until, attempts=row.attempts + 1, doubt=True)
    )  # fmt: skip
    return (await connection.execute(query)).rowcount == 1


async def _set_claimed(connection: AsyncConnection, claim: Claim, **values: Any) -> None:
    query = (
        sa.update(outbox)
        .where(
            outbox.c.id == claim.notification.id, outbox.c.state == CLAIMED, outbox.c.claimed_by == claim.owner,
            outbox.c.attempts == claim.notification.attempts,
        )
        .values(**values)
    )  # fmt: skip
    if (await connection.execute(query)).rowcount != 1:
        raise StaleClaim(f"{claim.notification.id} is another's by now")


async def _void_followers(connection: AsyncConnection, claim: Claim, now: datetime) -> None:
    row = claim.notification
    await connection.execute(
        sa.update(outbox)
        .where(outbox.c.incident == thread_of(row), outbox.c.notifier == row.notifier, outbox.c.state == QUEUED)
        .values(state="void", ended_at=now, doc="")
    )


async def _claim(connection: AsyncConnection, row: Any, owner: str) -> Claim:
    notification = await _notification(connection, row)
    first = (
        sa.select(receipts)
        .join(outbox, outbox.c.id == receipts.c.notification)
        .where(
            receipts.c.incident == row.incident, receipts.c.notifier == row.notifier,
            receipts.c.action == Action.POST, receipts.c.notification != row.id,
        )
        .order_by(outbox.c.seq.desc())
        .limit(1)
    )  # fmt: skip
    parent = (await connection.execute(first)).first()
    return Claim(
        notification=replace(notification, attempts=row.attempts + 1),
        owner=owner,
        parent=None if parent is None else codec.receipt_of(parent),
        doubt=bool(row.doubt),
        failed_over=row.failed_over,
    )


async def _notification(connection: AsyncConnection, row: Any) -> Notification:
    doc = codec.parse(row.doc)
    if row.action == Action.EDIT and doc["reason"] != Reason.OVER_BUDGET:
        incident = await _incident(connection, row.incident)
        return codec.notification_of(row, doc, () if incident is None else (incident,))
    return codec.notification_of(row, doc, tuple(codec.incident_of(entry) for entry in doc["incidents"]))


async def _incident(connection: AsyncConnection, id: str) -> Incident | None:
    found = await rows.read_incidents(connection, schema.incidents.c.id == id)
    return found[0] if found else None
