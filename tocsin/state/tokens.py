"""Service tokens, as rows. What a token is and when it is valid is tocsin.access's to say."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tocsin.access.tokens import Scope, ServiceToken
from tocsin.state.rows import upsert
from tocsin.state.schema import service_tokens

if TYPE_CHECKING:
    from tocsin.state.store import State


class Tokens:
    """The table of service tokens. All methods raise StateError."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def put(self, token: ServiceToken) -> None:
        """Store a token, new or changed."""
        row = {
            "id": token.id,
            "digest": token.digest,
            "scopes": " ".join(sorted(token.scopes)),
            "note": token.note,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
            "last_used_at": token.last_used_at,
        }
        async with self._state.writing() as connection:
            await upsert(connection, service_tokens, [row])

    async def get(self, id: str) -> ServiceToken | None:
        """The token of that id."""
        return next(iter(await self._select(service_tokens.c.id == id)), None)

    async def list(self) -> tuple[ServiceToken, ...]:
        """All of them, the oldest first."""
        return await self._select(sa.true())

    async def _select(self, wanted: sa.ColumnElement[bool]) -> tuple[ServiceToken, ...]:
        query = sa.select(service_tokens).where(wanted).order_by(service_tokens.c.created_at, service_tokens.c.id)
        async with self._state.reading() as connection:
            return tuple(_token(row) for row in await connection.execute(query))

    async def revoke(self, id: str, now: datetime) -> bool:
        """Never valid again → False when there is none of that id."""
        return await self._set(id, revoked_at=now)

    async def used(self, id: str, now: datetime) -> None:
        """Note that it was shown."""
        await self._set(id, last_used_at=now)

    async def _set(self, id: str, **values: datetime) -> bool:
        async with self._state.writing() as connection:
            query = sa.update(service_tokens).where(service_tokens.c.id == id).values(**values)
            return (await connection.execute(query)).rowcount > 0


def _token(row: Any) -> ServiceToken:
    return ServiceToken(
        id=row.id,
        digest=row.digest,
        scopes=frozenset(Scope(scope) for scope in row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        note=row.note,
    )
