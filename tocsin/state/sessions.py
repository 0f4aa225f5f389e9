"""Sessions of the console and one-time links, as rows. What a session may do is tocsin.web's to say.

A cookie's value and a link's code are stored as their SHA-256: who reads the store can't come in with what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tocsin.state.schema import console_links, console_sessions

if TYPE_CHECKING:
    from tocsin.state.store import State


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSession:
    """A browser that signed in, or is half-way there."""

    digest: str
    """SHA-256 of the cookie's value, hexadecimal."""
    id: str
    """What people call it by, when they list and revoke."""
    stage: str
    """`open`; `mfa` while a second factor is asked for, which lets in nobody."""
    via: str
    """How it was opened: password, otp, oauth:NAME, link."""
    email: str
    auth_session: str
    """Supabase's id of the session; empty for a link's."""
    sealed: bytes
    """The tokens, encrypted; empty for a link's."""
    revision: int = 0
    """One more at each change of the tokens: of two who refresh at once, one stores."""
    created_at: datetime
    seen_at: datetime
    """To the minute."""
    expires_at: datetime
    """When it ends, however busy it is."""
    client: str
    """The browser's own name for itself, shortened."""


class SessionTable:
    """The sessions of one state store. All methods raise StateError."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def put(self, session: StoredSession, *, instead_of: Sequence[str] = ()) -> None:
        """Store a new one; `instead_of` names the digests that end with it, so that no id outlives a sign-in."""
        async with self._state.writing() as connection:
            if instead_of:
                await connection.execute(sa.delete(console_sessions).where(console_sessions.c.digest.in_(instead_of)))
            await connection.execute(sa.insert(console_sessions), [_row(session)])

    async def get(self, digest: str) -> StoredSession | None:
        """The session of that cookie."""
        query = sa.select(console_sessions).where(console_sessions.c.digest == digest)
        async with self._state.reading() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else _session(row)

    async def list(self, now: datetime) -> tuple[StoredSession, ...]:
        """Those that have not ended, the newest first."""
        columns = console_sessions.c
        query = sa.select(console_sessions).where(columns.expires_at > now).order_by(columns.created_at.desc())
        async with self._state.reading() as connection:
            return tuple(_session(row) for row in await connection.execute(query))

    async def reseal(self, session: StoredSession, sealed: bytes) -> StoredSession | None:
        """Store new tokens → the session as it is now; None where another process was first, or it has ended."""
        query = (
            sa.update(console_sessions)
            .where(console_sessions.c.digest == session.digest, console_sessions.c.revision == session.revision)
            .values(sealed=sealed, revision=session.revision + 1)
        )
        async with self._state.writing() as connection:
            done = (await connection.execute(query)).rowcount > 0
        return replace(session, sealed=sealed, revision=session.revision + 1) if done else None

    async def seen(self, digest: str, now: datetime) -> None:
        """Note that it was used."""
        query = sa.update(console_sessions).where(console_sessions.c.digest == digest).values(seen_at=now)
        async with self._state.writing() as connection:
            await connection.execute(query)

    async def end(self, digest: str) -> bool:
        """Forget it, by its cookie's digest → False when there is none."""
        return await self._delete(console_sessions.c.digest == digest)

    async def revoke(self, id: str) -> bool:
        """Forget it, by the id that people see → False when there is none."""
        return await self._delete(console_sessions.c.id == id)

    async def prune(self, now: datetime, idle_before: datetime) -> None:
        """Forget those that have ended, and links that nobody used."""
        ended = sa.or_(console_sessions.c.expires_at <= now, console_sessions.c.seen_at <= idle_before)
        async with self._state.writing() as connection:
            await connection.execute(sa.delete(console_sessions).where(ended))
            await connection.execute(sa.delete(console_links).where(console_links.c.expires_at <= now))

    async def put_link(self, digest: str, expires_at: datetime) -> None:
        """A link that may be used once until then."""
        async with self._state.writing() as connection:
            await connection.execute(sa.insert(console_links), [{"digest": digest, "expires_at": expires_at}])

    async def use_link(self, digest: str, now: datetime) -> bool:
        """True for one of all who show it, in whatever process."""
        columns = console_links.c
        query = sa.delete(console_links).where(columns.digest == digest, columns.expires_at > now)
        async with self._state.writing() as connection:
            return (await connection.execute(query)).rowcount > 0

    async def _delete(self, wanted: sa.ColumnElement[bool]) -> bool:
        async with self._state.writing() as connection:
            return (await connection.execute(sa.delete(console_sessions).where(wanted))).rowcount > 0


def _row(session: StoredSession) -> dict[str, Any]:
    return {name: getattr(session, name) for name in StoredSession.__slots__}


def _session(row: Any) -> StoredSession:
    return StoredSession(**{name: getattr(row, name) for name in StoredSession.__slots__})
