"""The allowlist, as rows. What an entry says, and which change is allowed, is tocsin.access's to say.

A change is one transaction: the list is locked and read, the change applied to it, entries and audit written. So two
admins who remove each other at once leave one of them, on Postgres as on SQLite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tocsin.access.allowlist import AuditLine, Change, Effect, Entry, Folding, Kind, Listed, Role
from tocsin.access.allowlist.change import apply
from tocsin.access.allowlist.listen import CHANNEL
from tocsin.state import codec
from tocsin.state.rows import chunks, upsert
from tocsin.state.schema import allowlist, allowlist_audit, allowlist_settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tocsin.state.store import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """A line of the audit, as it is kept."""

    seq: int
    line: AuditLine


class AllowlistTable:
    """The allowlist of one state store: a `tocsin.access.allowlist.Shelf`. All methods raise StateError."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def version(self) -> int:
        """Another number after each change."""
        query = sa.select(allowlist_settings.c.value).where(allowlist_settings.c.name == "version")
        async with self._state.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def load(self) -> Listed:
        """The whole list."""
        async with self._state.reading() as connection:
            return await _read(connection)

    async def change(
        self, change: Change, actor: str, now: datetime, *, guarded: bool = True, dry_run: bool = False
    ) -> tuple[AuditLine, ...]:
        """Make a change, or only say what it would do. Raises ChangeRefused; then nothing has changed."""
        if dry_run:
            return apply(change, await self.load(), actor, now, guarded=guarded)[1]
        async with self._state.writing() as connection:
            # SQLite's writers have the lock already; on Postgres this row is it.
            await connection.execute(
                sa.select(allowlist_settings.c.value).where(allowlist_settings.c.name == "version").with_for_update()
            )
            before = await _read(connection)
            after, lines = apply(change, before, actor, now, guarded=guarded)
            await _write(connection, before, after)
            if lines:
                await connection.execute(sa.insert(allowlist_audit), [_audit_row(line) for line in lines])
            return lines

    async def audit(self, *, value: str = "", limit: int = 200, before: int | None = None) -> tuple[Audited, ...]:
        """The newest lines first; of one entry with `value`, older than a `seq` with `before`."""
        query = sa.select(allowlist_audit).order_by(allowlist_audit.c.seq.desc()).limit(limit)
        if value:
            query = query.where(allowlist_audit.c.value == value)
        if before is not None:
            query = query.where(allowlist_audit.c.seq < before)
        async with self._state.reading() as connection:
            return tuple(_audited(row) for row in await connection.execute(query))

    async def seen(self, when: Mapping[str, datetime]) -> None:
        """Note when entries last let somebody in; never back in time."""
        newer = sa.or_(allowlist.c.last_seen_at.is_(None), allowlist.c.last_seen_at < sa.bindparam("at"))
        query = (
            sa.update(allowlist)
            .where(allowlist.c.value == sa.bindparam("which"), newer)
            .values(last_seen_at=sa.bindparam("at"))
        )
        async with self._state.writing() as connection:
            await connection.execute(query, [{"which": value, "at": at} for value, at in when.items()])


async def _read(connection: AsyncConnection) -> Listed:
    # Version first: entries newer than it are read once more, older ones would stay.
    settings = {row.name: row.value for row in await connection.execute(sa.select(allowlist_settings))}
    entries = tuple(_entry(row) for row in await connection.execute(sa.select(allowlist).order_by(allowlist.c.value)))
    folding = settings["folding"].split()
    return Listed(
        entries=entries,
        folding=Folding(plus="plus" in folding, dots="dots" in folding),
        version=int(settings["version"]),
        purges=int(settings.get("purges", "0")),
    )


async def _write(connection: AsyncConnection, before: Listed, after: Listed) -> None:
    old = {entry.value: entry for entry in before.entries}
    new = {entry.value: entry for entry in after.entries}
    changed = [_row(entry) for value, entry in new.items() if old.get(value) != entry]
    await upsert(connection, allowlist, changed)
    for values in chunks(old.keys() - new.keys()):
        await connection.execute(sa.delete(allowlist).where(allowlist.c.value.in_(values)))
    if (before.folding, before.purges) != (after.folding, after.purges):
        # No row of the list tells of these, so its triggers don't.
        words = " ".join(word for word in ("plus", "dots") if getattr(after.folding, word))
        settings = {"folding": words, "purges": str(after.purges), "version": str(before.version + 1)}
        await upsert(connection, allowlist_settings, [{"name": name, "value": text} for name, text in settings.items()])
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "value": entry.value,
        "kind": entry.kind.value,
        "effect": entry.effect.value,
        "role": entry.role.value if entry.role else "",
        "note": entry.note,
        "added_by": entry.added_by,
        "added_at": entry.added_at,
        "expires_at": entry.expires_at,
        "last_seen_at": entry.last_seen_at,
    }


def _entry(row: Any) -> Entry:
    return Entry(
        value=row.value,
        kind=Kind(row.kind),
        effect=Effect(row.effect),
        role=Role(row.role) if row.role else None,
        note=row.note,
        added_by=row.added_by,
        added_at=row.added_at,
        expires_at=row.expires_at,
        last_seen_at=row.last_seen_at,
    )


def _audit_row(line: AuditLine) -> dict[str, Any]:
    return {
        "at": line.at, "actor": line.actor, "action": line.action, "value": line.value,
        "before": _text(line.before), "after": _text(line.after),
    }  # fmt: skip


def _text(document: dict[str, Any] | None) -> str:
    if document is None:
        return ""
    return codec.dump(
        {key: value.isoformat() if isinstance(value, datetime) else value for key, value in document.items()}
    )


def _audited(row: Any) -> Audited:
    line = AuditLine(
        at=row.at,
        actor=row.actor,
        action=row.action,
        value=row.value,
        before=codec.parse(row.before) if row.before else None,
        after=codec.parse(row.after) if row.after else None,
    )
    return Audited(seq=row.seq, line=line)
