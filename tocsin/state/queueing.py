"""Putting calls into the outbox: once each, in order, and only those that still matter.

- The same id is queued once.
- An edit replaces the edit of the same message that has not gone out: only the newest state is shown.
- A row that waits in front of a more urgent one of the same incident becomes as urgent.
- A withdrawal takes an incident's first message back if it certainly has not gone out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.incidents import Correction, Told
from tocsin.incidents.calls import Withdrawal, thread_of
from tocsin.incidents.context import PAGE
from tocsin.model import Action, Notification, Severity
from tocsin.state import codec
from tocsin.state.rows import chunks, insert_new, write_told
from tocsin.state.schema import notifications as outbox

QUEUED: Final = "queued"
CLAIMED: Final = "claimed"
WAITING: Final = (QUEUED, CLAIMED)


def waits(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Queued or claimed. In the statement itself: a list of parameters is written into it anew at each execution."""
    return table.c.state.in_([sa.literal_column(f"'{state}'") for state in WAITING])


def lane(severity: Severity, action: Action) -> int:
    """The order in which a destination is served: what is said about pages, then their edits, then the rest.

    Within a lane the oldest goes first. So nothing of P0 or P1 ever waits for P2 or P3, and a new page doesn't wait
    for the edits of those before it.
    """
    edit = action is Action.EDIT
    if action is Action.DIGEST:
        return 4  # it wakes nobody, whatever it lists
    if severity is Severity.P0:
        return 2 if edit else 0
    if severity.rank <= PAGE.rank:
        return 3 if edit else 1
    return 5 if edit else 4


def row_of(notification: Notification) -> dict[str, Any]:
    """A new outbox row."""
    return {
        "id": notification.id,
        "incident": thread_of(notification),
        "notifier": notification.notifier,
        "action": notification.action,
        "severity": notification.severity,
        "lane": lane(notification.severity, notification.action),
        "state": QUEUED,
        "created_at": notification.created_at,
        "not_before": notification.not_before,
        "attempts": 0,
        "doubt": False,
        "claimed_by": "",
        "lease_until": None,
        "failed_over": "",
        "last_error": "",
        "ended_at": None,
        "doc": codec.dump(codec.notification_json(notification)),
    }


_SAME: Final = (
    outbox.c.incident == sa.bindparam("of"), outbox.c.notifier == sa.bindparam("to"), outbox.c.state == QUEUED,
)  # fmt: skip
_REPLACED: Final = (
    sa.update(outbox)
    .where(*_SAME, outbox.c.action == Action.EDIT, outbox.c.id != sa.bindparam("by"))
    .values(state="superseded", ended_at=sa.bindparam("now", type_=outbox.c.ended_at.type), doc="")
)
_HURRIED: Final = (
    sa.update(outbox)
    .where(*_SAME, outbox.c.action != Action.EDIT, outbox.c.lane > sa.bindparam("at"))
    .values(lane=sa.bindparam("at"))
)


async def put_in_outbox(connection: AsyncConnection, calls: Sequence[Notification | Withdrawal]) -> Correction:
    """Queue `calls` in their order → what destinations know otherwise: nothing, where a first message was withdrawn."""
    corrected: dict[tuple[str, str], Told] = {}
    for kind, run in groupby(calls, key=type):
        # What was decided later, while the store took nothing, follows a message that is not there any more. Whoever
        # decided it hears so by the correction, and decides anew.
        follow = [call for call in run if _pair(call) not in corrected]
        if kind is Notification:
            await queue(connection, [call for call in follow if isinstance(call, Notification)])
        else:
            back = await _withdraw(connection, [call for call in follow if isinstance(call, Withdrawal)])
            corrected |= {(told.incident, told.notifier): told for told in back}
    await write_told(connection, corrected.values())
    return Correction(told=tuple(corrected.values()))


def _pair(call: Notification | Withdrawal) -> tuple[str, str]:
    return (call.incident, call.notifier) if isinstance(call, Withdrawal) else (thread_of(call), call.notifier)


async def queue(connection: AsyncConnection, notifications: Iterable[Notification]) -> None:
    """Insert rows; what is queued, sent or given up already under the same id stays as it is."""
    rows = [row_of(notification) for notification in notifications]
    edits = {(row["incident"], row["notifier"]): row for row in rows if row["action"] is Action.EDIT}
    # Of several edits of one message only the newest is shown.
    rows = [row for row in rows if row["action"] is not Action.EDIT or edits[row["incident"], row["notifier"]] is row]
    if edits:
        values = [
            {"of": row["incident"], "to": row["notifier"], "by": row["id"], "now": row["created_at"]}
            for row in edits.values()
        ]
        await connection.execute(_REPLACED, values)
    await insert_new(connection, outbox, rows, "id")
    urgent = [row for row in rows if row["action"] not in (Action.EDIT, Action.POST, Action.DIGEST)]
    if urgent:
        values = [{"of": row["incident"], "to": row["notifier"], "at": row["lane"]} for row in urgent]
        await connection.execute(_HURRIED, values)


async def _withdraw(connection: AsyncConnection, withdrawals: Sequence[Withdrawal]) -> list[Told]:
    """Take back what certainly has not gone out; queue the end for the rest."""
    taken = await _take_back(connection, [withdrawal.post for withdrawal in withdrawals])
    back = [withdrawal for withdrawal in withdrawals if withdrawal.post in taken]
    followers = [{"of": w.incident, "to": w.notifier, "post": w.post} for w in back]
    if followers:
        # What waited behind the first message has nothing to follow any more.
        await connection.execute(
            sa.update(outbox)
            .where(
                outbox.c.incident == sa.bindparam("of"), outbox.c.notifier == sa.bindparam("to"),
                outbox.c.state == QUEUED, outbox.c.id != sa.bindparam("post"),
            )
            .values(state="void", ended_at=outbox.c.not_before, doc=""),
            followers,
        )  # fmt: skip
    instead = [
        {"post": withdrawal.post, "said": codec.dump(codec.notification_json(withdrawal.instead))}
        for withdrawal in back
        if withdrawal.instead is not None
    ]
    if instead:
        again = (
            sa.update(outbox)
            .where(outbox.c.id == sa.bindparam("post"))
            .values(state=QUEUED, ended_at=None, claimed_by="", doc=sa.bindparam("said"))
        )
        await connection.execute(again, instead)
    await queue(connection, [call for w in withdrawals if w.post not in taken for call in w.otherwise])
    return [Told(incident=w.incident, notifier=w.notifier) for w in back if w.instead is None]


async def _take_back(connection: AsyncConnection, posts: Iterable[str]) -> set[str]:
    """Withdraw those of `posts` that wait and were certainly not delivered → their ids."""
    mark = f"withdrawn {secrets.token_hex(8)}"
    for ids in chunks(posts):
        await connection.execute(
            sa.update(outbox)
            .where(outbox.c.id.in_(ids), outbox.c.state == QUEUED, ~outbox.c.doubt)
            .values(state="withdrawn", claimed_by=mark, ended_at=outbox.c.not_before)
        )
    found = await connection.execute(sa.select(outbox.c.id).where(outbox.c.claimed_by == mark))
    return set(found.scalars())
