"""What the console and the command line list: incidents, what was decided about them and said of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tocsin.incidents import Decided, Told
from tocsin.incidents.told import Hidden
from tocsin.model import Action, Decision, Incident, IncidentState, Reason, Receipt, Silence
from tocsin.state import codec, rows, schema
from tocsin.state.schema import decisions, incidents, notifications, receipts

if TYPE_CHECKING:
    from tocsin.state.store import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """An outbox row, as a listing shows it."""

    id: str
    notifier: str
    action: Action
    state: str
    """queued, claimed, sent, withdrawn, superseded, void, failed_over or dead."""
    created_at: datetime
    not_before: datetime
    attempts: int
    failed_over: str
    last_error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """One incident with all that was decided and said."""

    incident: Incident
    told: tuple[Told, ...]
    decisions: tuple[Decided, ...]
    calls: tuple[Call, ...]
    receipts: tuple[Receipt, ...]
    hidden: tuple[Hidden, ...] = ()
    """Which silences kept its beginning from whom."""


class History:
    """All methods raise StateError."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def incidents(self, *, open_only: bool = False, limit: int = 100) -> tuple[Incident, ...]:
        """The newest first."""
        wanted = incidents.c.state != IncidentState.RESOLVED if open_only else sa.true()
        newest = (
            sa.select(incidents.c.id).where(wanted).order_by(incidents.c.opened_at.desc(), incidents.c.id).limit(limit)
        )
        async with self._state.reading() as connection:
            ids = list((await connection.execute(newest)).scalars())
            found = await rows.read_incidents(connection, incidents.c.id.in_(ids))
        return tuple(reversed(found))

    async def worst(self, *, open_only: bool = False, limit: int = 100) -> tuple[Incident, ...]:
        """Open ones first, by severity and then the newest; after them those that have ended, the newest first."""
        ended = incidents.c.state == IncidentState.RESOLVED
        wanted = ~ended if open_only else sa.true()
        rank = sa.case((ended, ""), else_=incidents.c.severity)
        query = (
            sa.select(incidents.c.id).where(wanted).order_by(ended, rank, incidents.c.opened_at.desc(), incidents.c.id)
        )
        async with self._state.reading() as connection:
            ids = list((await connection.execute(query.limit(limit))).scalars())
            return await rows.read_these(connection, ids)

    async def story(self, incident: str) -> Story | None:
        """Everything about one incident; None when there is none of that id."""
        async with self._state.reading() as connection:
            found = await rows.read_incidents(connection, incidents.c.id == incident)
            if not found:
                return None
            told = await rows.read_told(connection, incidents.c.id == incident)
            decided = await connection.execute(
                sa.select(decisions).where(decisions.c.incident == incident).order_by(decisions.c.seq)
            )
            calls = await connection.execute(
                sa.select(notifications).where(notifications.c.incident == incident).order_by(notifications.c.seq)
            )
            got = await connection.execute(
                sa.select(receipts).where(receipts.c.incident == incident).order_by(receipts.c.at)
            )
            hidden = await rows.read_hidden(connection, schema.hidden.c.incident == incident)
            return Story(
                incident=found[0],
                told=tuple(told.get(incident, {}).values()),
                decisions=tuple(_decided(row) for row in decided),
                calls=tuple(_call(row) for row in calls),
                receipts=tuple(codec.receipt_of(row) for row in got),
                hidden=hidden,
            )

    async def receipts(self, incident: str) -> tuple[Receipt, ...]:
        """Where an incident's messages landed, the oldest first."""
        query = sa.select(receipts).where(receipts.c.incident == incident).order_by(receipts.c.at)
        async with self._state.reading() as connection:
            return tuple(codec.receipt_of(row) for row in await connection.execute(query))

    async def dead_letters(self, limit: int = 100) -> tuple[Call, ...]:
        """What was given up, the newest first."""
        query = (
            sa.select(notifications)
            .where(notifications.c.state == "dead")
            .order_by(notifications.c.seq.desc())
            .limit(limit)
        )
        async with self._state.reading() as connection:
            return tuple(_call(row) for row in await connection.execute(query))

    async def silences(self, after: datetime) -> tuple[Silence, ...]:
        """Those that end after a time."""
        async with self._state.reading() as connection:
            return await rows.read_silences(connection, schema.silences.c.ends_at > after)

    async def silence(self, id: str) -> Silence | None:
        """One of them, however long ago it ended; None when there is none of that id."""
        async with self._state.reading() as connection:
            return next(iter(await rows.read_silences(connection, schema.silences.c.id == id)), None)

    async def hidden(self, after: datetime) -> dict[str, tuple[Hidden, ...]]:
        """What the silences that end after a time hid, by their ids."""
        of = sa.select(schema.silences.c.id).where(schema.silences.c.ends_at > after)
        async with self._state.reading() as connection:
            found = await rows.read_hidden(connection, schema.hidden.c.silence.in_(of))
        by_silence: dict[str, tuple[Hidden, ...]] = {}
        for entry in found:
            by_silence[entry.silence] = (*by_silence.get(entry.silence, ()), entry)
        return by_silence

    async def hidden_by(self, silence: str) -> tuple[tuple[Hidden, Incident], ...]:
        """What one silence hid, with the incidents as they are now."""
        async with self._state.reading() as connection:
            entries = await rows.read_hidden(connection, schema.hidden.c.silence == silence)
            found = await rows.read_these(connection, list(dict.fromkeys(entry.incident for entry in entries)))
        by_id = {incident.id: incident for incident in found}
        return tuple((entry, by_id[entry.incident]) for entry in entries if entry.incident in by_id)


def _decided(row: sa.Row[tuple[object, ...]]) -> Decided:
    return Decided(
        incident=row.incident,
        notifier=row.notifier,
        at=row.at,
        decision=Decision(action=Action(row.action), reason=Reason(row.reason), because=row.because, until=row.until),
    )


def _call(row: sa.Row[tuple[object, ...]]) -> Call:
    return Call(
        id=row.id,
        notifier=row.notifier,
        action=Action(row.action),
        state=row.state,
        created_at=row.created_at,
        not_before=row.not_before,
        attempts=row.attempts,
        failed_over=row.failed_over,
        last_error=row.last_error,
    )
