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

from tocsin.incidents import Correction
from tocsin.incidents.calls import thread_of
from tocsin.model import Action, IncidentState, Notification, Reason, Receipt, Seconds
from tocsin.state import codec, rows, schema
from tocsin.state.claims import DUE, NEXT, Claim, claim_of, notification_of, set_claimed, swap, void_followers
from tocsin.state.elsewhere import FIRST_PAGE, OVERDUE, link, storm_elsewhere, tell
from tocsin.state.queueing import CLAIMED, QUEUED, WAITING, queue, row_of
from tocsin.state.schema import notifications as outbox
from tocsin.state.schema import receipts

if TYPE_CHECKING:
    from tocsin.state.store import State

_SENT: Final = (
    sa.update(outbox)
    .where(outbox.c.id == sa.bindparam("of"))
    .values(
        state="sent", doubt=False, ended_at=sa.bindparam("now", type_=schema.Instant()), last_error="",
        lease_until=None,
    )
)  # fmt: skip
_reply = outbox.alias("reply")
_END_WAS_HEARD: Final = sa.exists().where(
    _reply.c.incident == outbox.c.incident, _reply.c.notifier == outbox.c.notifier, _reply.c.action == Action.RESOLVE,
    _reply.c.state == "sent",
)  # fmt: skip
_FAILED_OVER_TO: Final = sa.select(outbox.c.failed_over).where(outbox.c.id == sa.bindparam("of"))


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
            found = (await connection.execute(DUE, {"to": notifier, "now": now, "most": limit})).all()
        if not found:
            return ()
        claims = []
        async with self._state.deciding() as connection:
            for row in found:
                if await swap(connection, row, owner, now + timedelta(seconds=lease)):
                    claim = await claim_of(connection, row, owner)
                    claims.append(claim)
        return tuple(claims)

    async def next_due(self, notifier: str) -> datetime | None:
        """When `claim_due` may find something: a row's time, or the end of a lease; None while nothing waits."""
        return (await self.next_dues()).get(notifier)

    async def next_dues(self) -> dict[str, datetime]:
        """The same for every destination that something waits for, by name."""
        async with self._state.reading() as connection:
            found = (await connection.execute(NEXT)).all()
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
        async with self._state.deciding() as connection:
            await rows.insert_new(connection, receipts, [values], "notification")
            await connection.execute(_SENT, {"of": receipt.notification, "now": receipt.at})
            over = await connection.execute(_FAILED_OVER_TO, {"of": receipt.notification})
            if threads and (to := over.scalar()):
                await queue(connection, await link(connection, claim.notification, to, receipt.at))

    async def retry(self, claim: Claim, not_before: datetime, error: str, *, doubt: bool) -> None:
        """Not delivered, or not known to be (`doubt`): again at `not_before`. Raises StaleClaim."""
        async with self._state.deciding() as connection:
            await set_claimed(
                connection, claim, state=QUEUED, not_before=not_before, doubt=doubt, last_error=codec.printable(error),
                claimed_by="", lease_until=None,
            )  # fmt: skip

    async def give_up(self, claim: Claim, error: str, now: datetime) -> Correction:
        """A dead letter, and what waited behind it is void → who knows nothing of it. Raises StaleClaim."""
        row = claim.notification
        async with self._state.deciding() as connection:
            await set_claimed(
                connection, claim, state="dead", last_error=codec.printable(error), ended_at=now, lease_until=None
            )
            if row.action is Action.POST:
                await void_followers(connection, claim, now)
                gone = ((thread_of(row), row.notifier),)
                await rows.write_told(connection, (), gone)
                return Correction(gone=gone)
        return Correction()

    async def skip(self, claim: Claim, why: str, now: datetime) -> None:
        """It says nothing any more: its message is gone, or was never sent. Raises StaleClaim."""
        async with self._state.deciding() as connection:
            await set_claimed(
                connection, claim, state="void", last_error=codec.printable(why), ended_at=now, lease_until=None, doc=""
            )

    async def repost(self, claim: Claim, why: str, now: datetime) -> None:
        """The message that it was to edit or to follow is gone: a new first message says it. Raises StaleClaim."""
        old = claim.notification
        async with self._state.deciding() as connection:
            storm = old.reason is Reason.OVER_BUDGET
            incident = None if storm else await rows.read_incident(connection, old.incident.id)
            # An end is told as it was: what has begun again since is told by what was queued for that.
            about = old.incidents if incident is None or old.action is Action.RESOLVE else (incident,)
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
            await set_claimed(connection, claim, **values)
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
        async with self._state.deciding() as connection:
            if claim is not None:
                await set_claimed(
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
                return await storm_elsewhere(connection, row, to, why, now, claim=claim)
            told = await tell(connection, row, to, why, now)
            if claim is not None and row.action is Action.POST:
                await void_followers(connection, claim, now)
                gone = ((row.incident.id, row.notifier),)
                await rows.write_told(connection, (), gone)
                return Correction(told=told, gone=gone)
            return Correction(told=told)

    async def overdue(self, now: datetime, after: Seconds) -> tuple[Notification, ...]:
        """P0 that should have woken somebody, and has no receipt `after` this long; once each."""
        async with self._state.reading() as connection:
            found = (await connection.execute(OVERDUE, {"by": now - timedelta(seconds=after)})).all()
            return tuple([await notification_of(connection, row) for row in found])

    async def next_overdue(self, after: Seconds) -> datetime | None:
        """When `overdue` will find something, if nothing is delivered before."""
        async with self._state.reading() as connection:
            first = (await connection.execute(FIRST_PAGE)).scalar()
        return None if first is None else first + timedelta(seconds=after)

    async def unheard(self, notifiers: Iterable[str]) -> frozenset[tuple[str, str]]:
        """(incident or storm, notifier) of those that were told that it fires, and for whom its end still waits.

        A storm's summary tells the end of one of its incidents by an edit, until the reply that the storm is over was
        delivered. Where the message is lost, a new first message tells the end.
        """
        of_storm = outbox.c.incident.not_in(sa.select(schema.incidents.c.id))
        ends = sa.or_(
            outbox.c.action.in_((Action.RESOLVE, Action.POST)),
            sa.and_(outbox.c.action == Action.EDIT, of_storm, ~_END_WAS_HEARD),
        )
        # A first message in doubt may have arrived, though there is no receipt.
        knows = sa.or_(
            sa.exists().where(receipts.c.incident == outbox.c.incident, receipts.c.notifier == outbox.c.notifier),
            sa.and_(outbox.c.action == Action.POST, outbox.c.doubt),
        )
        query = sa.select(outbox.c.incident, outbox.c.notifier).where(
            outbox.c.notifier.in_(list(notifiers)), outbox.c.state.in_(WAITING), ends, knows
        )
        async with self._state.reading() as connection:
            return frozenset((row.incident, row.notifier) for row in await connection.execute(query))

    async def release_all(self, *, not_before: datetime) -> int:
        """Every claim is over; its row is in doubt, and due at `not_before` → how many."""
        query = (
            sa.update(outbox)
            .where(outbox.c.state == CLAIMED)
            .values(state=QUEUED, claimed_by="", lease_until=None, not_before=not_before)
        )
        async with self._state.deciding() as connection:
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
        async with self._state.deciding() as connection:
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
