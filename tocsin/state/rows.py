"""Reading and writing the rows of each table, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.incidents import Decided, Told
from tocsin.incidents.storms import Storm
from tocsin.incidents.told import Hidden
from tocsin.model import Alert, AlertState, Incident, IncidentState, Silence
from tocsin.state import codec, schema
from tocsin.state.change import Change

Row = Mapping[str, Any]

CHUNK: Final = 500
"""Ids in one statement: SQLite takes 999 parameters at least."""


@lru_cache
def _insert(dialect: str, table: sa.Table) -> Any:
    """An INSERT of the dialect, which both know `on_conflict_*`."""
    kind: Any = sqlite if dialect == "sqlite" else postgresql
    return kind.insert(table)


@lru_cache
def _upsert(dialect: str, table: sa.Table, columns: tuple[str, ...]) -> Any:
    keys = [column.name for column in table.primary_key]
    query = _insert(dialect, table)
    others = {name: query.excluded[name] for name in columns if name not in keys}
    return query.on_conflict_do_update(index_elements=keys, set_=others)


@lru_cache
def _insert_new(dialect: str, table: sa.Table, keys: tuple[str, ...]) -> Any:
    return _insert(dialect, table).on_conflict_do_nothing(index_elements=list(keys))


async def upsert(connection: AsyncConnection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert, or replace what has the same primary key."""
    if rows:
        await connection.execute(_upsert(connection.dialect.name, table, tuple(rows[0])), list(rows))


async def insert_new(connection: AsyncConnection, table: sa.Table, rows: Sequence[Row], *keys: str) -> None:
    """Insert; what has the same keys already stays as it is."""
    if rows:
        await connection.execute(_insert_new(connection.dialect.name, table, keys), list(rows))


def chunks(ids: Iterable[str]) -> Iterable[list[str]]:
    """`ids` in pieces that one statement takes."""
    every = list(ids)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]


_OF_INCIDENTS: Final = (
    schema.members, schema.told, schema.decisions, schema.acks, schema.receipts, schema.notifications, schema.hidden,
)  # fmt: skip


# Writing -------------------------------------------------------------------------------------------------------------


async def write_alerts(connection: AsyncConnection, alerts: Iterable[Alert]) -> None:
    active, gone = [], []
    for alert in alerts:
        if alert.state is AlertState.RESOLVED:
            gone.append(alert.id)
            continue
        active.append({
            "id": alert.id, "rule": codec.printable(alert.rule), "name": codec.printable(alert.name),
            "severity": alert.severity, "state": alert.state, "doc": codec.dump(codec.alert_json(alert)),
        })  # fmt: skip
    await upsert(connection, schema.alerts, active)
    for ids in chunks(gone):
        await connection.execute(sa.delete(schema.alerts).where(schema.alerts.c.id.in_(ids)))


async def write_incidents(connection: AsyncConnection, change: Change) -> None:
    """The incidents, their members and who acked them."""
    rows = [
        {
            "id": incident.id, "route": codec.printable(incident.route), "state": incident.state,
            "severity": incident.severity, "opened_at": incident.opened_at, "updated_at": incident.updated_at,
            "resolved_at": incident.resolved_at, "revision": incident.revision,
            "doc": codec.dump(codec.incident_json(incident, members=False)),
        }
        for incident in change.incidents
    ]  # fmt: skip
    await upsert(connection, schema.incidents, rows)
    members = [
        {
            "incident": incident, "alert": alert.id, "joined_at": alert.fired_at or alert.active_at,
            "state": alert.state, "doc": codec.dump(codec.alert_json(alert)),
        }
        for incident, alert in change.members
    ]  # fmt: skip
    await upsert(connection, schema.members, members)
    if change.dropped:
        query = sa.delete(schema.members).where(
            schema.members.c.incident == sa.bindparam("of"), schema.members.c.alert == sa.bindparam("who")
        )
        await connection.execute(query, [{"of": incident, "who": alert} for incident, alert in change.dropped])
    acks = [
        {"incident": incident.id, "at": incident.acked_at, "by": codec.printable(incident.acked_by)}
        for incident in change.incidents
        if incident.acked_at is not None
    ]
    await insert_new(connection, schema.acks, acks, "incident", "at")


async def write_told(connection: AsyncConnection, told: Iterable[Told], untold: Iterable[tuple[str, str]] = ()) -> None:
    rows = [
        {
            "incident": entry.incident, "notifier": entry.notifier, "via": entry.via, "ended": entry.ended,
            "doc": codec.dump(codec.told_json(entry)),
        }
        for entry in told
    ]  # fmt: skip
    await upsert(connection, schema.told, rows)
    gone = [{"of": incident, "who": notifier} for incident, notifier in untold]
    if gone:
        query = sa.delete(schema.told).where(
            schema.told.c.incident == sa.bindparam("of"), schema.told.c.notifier == sa.bindparam("who")
        )
        await connection.execute(query, gone)


async def write_decisions(connection: AsyncConnection, decisions: Iterable[Decided]) -> None:
    rows = [
        {
            "incident": entry.incident, "notifier": entry.notifier, "at": entry.at, "action": entry.decision.action,
            "reason": entry.decision.reason, "because": codec.printable(entry.decision.because),
            "until": entry.decision.until,
        }
        for entry in decisions
    ]  # fmt: skip
    if rows:
        await connection.execute(sa.insert(schema.decisions), rows)


async def write_silences(connection: AsyncConnection, silences: Iterable[Silence]) -> None:
    rows = [
        {
            "id": silence.id, "matchers": codec.dump(codec.matchers_json(silence)), "starts_at": silence.starts_at,
            "ends_at": silence.ends_at, "created_by": codec.printable(silence.created_by),
            "why": codec.printable(silence.why),
        }
        for silence in silences
    ]  # fmt: skip
    await upsert(connection, schema.silences, rows)


async def write_storms(connection: AsyncConnection, storms: Iterable[Storm], calmed: Iterable[str]) -> None:
    values = [
        {"id": storm.id, "notifier": storm.notifier, "doc": codec.dump(codec.storm_json(storm))} for storm in storms
    ]
    await upsert(connection, schema.storms, values)
    for ids in chunks(calmed):
        await connection.execute(sa.delete(schema.storms).where(schema.storms.c.id.in_(ids)))


async def write_hidden(connection: AsyncConnection, hidden: Iterable[Hidden]) -> None:
    """What silences hid, or that it was told."""
    values = [
        {
            "silence": entry.silence, "incident": entry.incident, "notifier": entry.notifier, "at": entry.at,
            "told_at": entry.told_at, "told_by": entry.told_by,
        }
        for entry in hidden
    ]  # fmt: skip
    await upsert(connection, schema.hidden, values)


async def prune(connection: AsyncConnection, before: datetime) -> int:
    """Forget what ended before a time. What is still owed to somebody stays."""
    owed = sa.exists().where(
        schema.notifications.c.incident == schema.incidents.c.id,
        schema.notifications.c.state.in_(("queued", "claimed")),
    )
    untold = sa.exists().where(schema.hidden.c.incident == schema.incidents.c.id, schema.hidden.c.told_at.is_(None))
    query = sa.select(schema.incidents.c.id).where(
        schema.incidents.c.state == IncidentState.RESOLVED, schema.incidents.c.resolved_at < before, ~owed, ~untold
    )
    gone = list((await connection.execute(query)).scalars())
    for ids in chunks(gone):
        for table in _OF_INCIDENTS:
            await connection.execute(sa.delete(table).where(table.c.incident.in_(ids)))
        await connection.execute(sa.delete(schema.incidents).where(schema.incidents.c.id.in_(ids)))
    # Of incidents that go on: edits that were replaced before they went out. And digests, which belong to no incident.
    rows = schema.notifications
    idle = sa.or_(rows.c.state.in_(("superseded", "void")), rows.c.incident.not_in(sa.select(schema.incidents.c.id)))
    await connection.execute(sa.delete(rows).where(rows.c.ended_at < before, idle))
    hides = sa.exists().where(schema.hidden.c.silence == schema.silences.c.id, schema.hidden.c.told_at.is_(None))
    await connection.execute(sa.delete(schema.silences).where(schema.silences.c.ends_at < before, ~hides))
    await connection.execute(sa.delete(schema.hidden).where(schema.hidden.c.told_at < before))
    return len(gone)


# Reading -------------------------------------------------------------------------------------------------------------


async def read_incidents(
    connection: AsyncConnection, wanted: sa.ColumnElement[bool], values: Row | None = None
) -> tuple[Incident, ...]:
    """Incidents with their members, in the order they opened. `values` are those of `wanted`'s parameters."""
    return await _incidents(connection, *_asks(wanted), values or {})


async def read_incident(connection: AsyncConnection, id: str) -> Incident | None:
    """One of them; None where there is none."""
    found = await _incidents(connection, *_ONE, {"of": id})
    return found[0] if found else None


async def read_these(connection: AsyncConnection, ids: Sequence[str]) -> tuple[Incident, ...]:
    """Those of `ids` that there are, in their order."""
    found: dict[str, Incident] = {}
    for some in chunks(ids):
        asked = {"some": some}
        found |= {incident.id: incident for incident in await _incidents(connection, *_SOME, asked)}
    return tuple(found[id] for id in ids if id in found)


@lru_cache(maxsize=4)
def _asks(wanted: sa.ColumnElement[bool]) -> tuple[sa.Select[Any], sa.Select[Any]]:
    members = (
        sa.select(schema.members.c.incident, schema.members.c.doc)
        .where(schema.members.c.incident.in_(sa.select(schema.incidents.c.id).where(wanted)))
        .order_by(schema.members.c.joined_at, schema.members.c.alert)
    )
    docs = sa.select(schema.incidents.c.doc).where(wanted).order_by(schema.incidents.c.opened_at, schema.incidents.c.id)
    return members, docs


_ONE: Final = _asks(schema.incidents.c.id == sa.bindparam("of"))
_SOME: Final = _asks(schema.incidents.c.id.in_(sa.bindparam("some", expanding=True)))


async def _incidents(
    connection: AsyncConnection, members: sa.Select[Any], docs: sa.Select[Any], values: Row
) -> tuple[Incident, ...]:
    found: dict[str, list[Alert]] = {}
    for incident, doc in await connection.execute(members, values):
        found.setdefault(incident, []).append(codec.alert_of(codec.parse(doc)))
    parsed = [codec.parse(doc) for doc in (await connection.execute(docs, values)).scalars()]
    return tuple(codec.incident_of(doc, tuple(found.get(doc["id"], ()))) for doc in parsed)


async def read_told(
    connection: AsyncConnection, wanted: sa.ColumnElement[bool], values: Row | None = None
) -> dict[str, dict[str, Told]]:
    """What each destination knows of the incidents that are `wanted`, by incident and notifier."""
    found: dict[str, dict[str, Told]] = {}
    for row in await connection.execute(_asks_told(wanted), values or {}):
        entry = codec.told_of(row.incident, row.notifier, row.via, codec.parse(row.doc))
        found.setdefault(row.incident, {})[row.notifier] = entry
    return found


@lru_cache(maxsize=4)
def _asks_told(wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(schema.told)
        .where(schema.told.c.incident.in_(sa.select(schema.incidents.c.id).where(wanted)))
        .order_by(schema.told.c.incident, schema.told.c.notifier)
    )


async def read_silences(connection: AsyncConnection, wanted: sa.ColumnElement[bool]) -> tuple[Silence, ...]:
    query = sa.select(schema.silences).where(wanted).order_by(schema.silences.c.ends_at, schema.silences.c.id)
    return tuple(codec.silence_of(row) for row in await connection.execute(query))


async def read_hidden(connection: AsyncConnection, wanted: sa.ColumnElement[bool]) -> tuple[Hidden, ...]:
    """What silences hid, in the order that they did."""
    table = schema.hidden
    query = sa.select(table).where(wanted).order_by(table.c.at, table.c.incident, table.c.notifier)
    return tuple(
        Hidden(
            silence=row.silence, incident=row.incident, notifier=row.notifier, at=row.at, told_at=row.told_at,
            told_by=row.told_by,
        )
        for row in await connection.execute(query)
    )  # fmt: skip


async def read_storms(connection: AsyncConnection) -> tuple[Storm, ...]:
    """Those that are not over, the oldest first."""
    found = [
        codec.storm_of(row.id, row.notifier, codec.parse(row.doc))
        for row in await connection.execute(sa.select(schema.storms))
    ]
    return tuple(sorted(found, key=lambda storm: (storm.opened_at, storm.id)))


async def inconsistencies(connection: AsyncConnection) -> list[str]:
    """What contradicts itself: there is none unless somebody else wrote to the store."""
    found = []
    owned = ((schema.members, "members"), (schema.told, "rows of what was told"), (schema.hidden, "hidden beginnings"))
    for table, what in owned:
        lost = table.c.incident.not_in(sa.select(schema.incidents.c.id))
        if count := (await connection.execute(sa.select(sa.func.count()).select_from(table).where(lost))).scalar():
            found.append(f"{count} {what} belong to no incident")
    unsent = (
        sa.select(sa.func.count())
        .select_from(schema.notifications)
        .where(
            schema.notifications.c.state == "sent",
            schema.notifications.c.id.not_in(sa.select(schema.receipts.c.notification)),
        )
    )
    if count := (await connection.execute(unsent)).scalar():
        found.append(f"{count} notifications are marked sent and have no receipt")
    return found
