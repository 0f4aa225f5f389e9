"""What the stand-in holds in memory, in a real Postgres too: schema auth, as the real server's database has it.

Whoever reads those tables can be tried out against them. After each request, and before its answer, what changed is
written in one transaction; the memory stays what decides. It begins with tables that nobody's users are in: a database
that holds any is refused and left alone.

Source: supabase/auth, internal/models.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

import psycopg
from psycopg import sql

from tocsin.testing.supabase.accounts import Accounts, RefreshToken, Session, User
from tocsin.testing.supabase.journal import NIL
from tocsin.testing.supabase.schema import SCHEMA
from tocsin.testing.supabase.ways import CODE_LIFE, FLOW_LIFE, Ways

Row = tuple[Any, ...]
_BANNED: Final = 876_000 * 3600.0
"""A hundred years: what the dashboard means by "banned"."""
_COLUMNS: Final[dict[str, Sequence[str]]] = {
    "users": (
        "id", "instance_id", "aud", "role", "email", "email_confirmed_at", "last_sign_in_at", "raw_app_meta_data",
        "raw_user_meta_data", "created_at", "updated_at", "banned_until",
    ),
    "identities": (
        "id", "provider_id", "user_id", "identity_data", "provider", "last_sign_in_at", "created_at", "updated_at",
    ),
    "sessions": (
        "id", "user_id", "created_at", "updated_at", "factor_id", "aal", "refreshed_at", "user_agent", "ip",
    ),
    "mfa_amr_claims": ("id", "session_id", "created_at", "updated_at", "authentication_method"),
    "refresh_tokens": (
        "id", "instance_id", "token", "user_id", "revoked", "created_at", "updated_at", "parent", "session_id",
    ),
    "mfa_factors": (
        "id", "user_id", "friendly_name", "factor_type", "status", "created_at", "updated_at", "secret",
        "last_challenged_at",
    ),
    "mfa_challenges": ("id", "factor_id", "created_at", "verified_at", "ip_address"),
    "one_time_tokens": ("id", "user_id", "token_type", "token_hash", "relates_to", "created_at", "updated_at"),
    "flow_state": (
        "id", "user_id", "auth_code", "code_challenge_method", "code_challenge", "provider_type", "created_at",
        "updated_at", "authentication_method",
    ),
}  # fmt: skip
"""Written in this order, deleted in the opposite one; the first column is the key."""


class Tables:
    """The tables in one database."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._written: dict[str, dict[Any, Row]] = {table: {} for table in _COLUMNS}
        self._audits: list[Row] = []
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """Make the tables where there are none. Raises psycopg.Error, and ValueError for a database with users."""
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, application_name="stand-in Auth")
        try:
            (there,) = await _one(connection, "select to_regclass('auth.users') is not null")
            if there:
                (held,) = await _one(connection, "select count(*) from auth.users")
                if held:
                    raise ValueError(
                        f"the database holds {held} users of an Auth: the stand-in writes only where there are none; "
                        "name an empty database, or, if they are a stand-in's: drop schema auth cascade"
                    )
            else:
                async with connection.transaction():
                    for statement in SCHEMA:
                        await connection.execute(statement.encode())
        except BaseException:
            await connection.close()
            raise
        return cls(connection)

    async def close(self) -> None:
        """The rows stay."""
        await self._connection.close()

    def audit(self, id: str, event: Mapping[str, Any], address: str, now: float) -> None:
        """An audit event, to be written with what the request changed."""
        self._audits.append((id, NIL, json.dumps(event), _at(now), address))

    async def write(self, accounts: Accounts, ways: Ways) -> None:
        """What changed since the last time. Raises psycopg.Error; it is tried again the next time then."""
        async with self._turn:
            wanted = {table: {row[0]: row for row in rows} for table, rows in _rows(accounts, ways).items()}
            audits, self._audits = self._audits, []
            try:
                async with self._connection.transaction(), self._connection.cursor() as cursor:
                    for table in reversed(_COLUMNS):
                        gone = [key for key in self._written[table] if key not in wanted[table]]
                        if gone:
                            await cursor.executemany(_delete(table), [[key] for key in gone])
                    for table in _COLUMNS:
                        before = self._written[table]
                        changed = [row for key, row in wanted[table].items() if before.get(key) != row]
                        if changed:
                            await cursor.executemany(_upsert(table), changed)
                    if audits:
                        await cursor.executemany(_AUDIT, audits)
            except BaseException:
                self._audits = audits + self._audits
                raise
            self._written = wanted


def _rows(accounts: Accounts, ways: Ways) -> dict[str, list[Row]]:
    """What the tables should hold."""
    users, sessions = list(accounts), list(accounts.sessions())
    return {
        "users": [_user(user) for user in users],
        "identities": [row for user in users for row in _identities(user)],
        "sessions": [_session(session) for session in sessions],
        "mfa_amr_claims": [row for session in sessions for row in _claims(session)],
        "refresh_tokens": [_token(token) for token in accounts.tokens()],
        "mfa_factors": [_factor(user) for user in users if user.totp],
        "mfa_challenges": [
            (id, asked.factor, _at(asked.until - FLOW_LIFE), _at(asked.verified_at), asked.address or "0.0.0.0")
            for id, asked in ways.challenges.items()
            if asked.user.totp and asked.user.factor_id == asked.factor and accounts.by_email(asked.user.email)
        ],
        "one_time_tokens": [
            (
                code.id, code.user.id,
                "recovery_token" if code.user.confirmed_at is not None else "confirmation_token",
                hashlib.sha224((email + code.text).encode()).hexdigest(), email,
                _naive(code.until - CODE_LIFE), _naive(code.until - CODE_LIFE),
            )
            for email, code in ways.codes.items()
            if accounts.by_email(email)
        ],
        "flow_state": [
            (
                flow.id, flow.user.id, code, "s256", flow.challenge, "github", _at(flow.until - FLOW_LIFE),
                _at(flow.until - FLOW_LIFE), "oauth",
            )
            for code, flow in ways.flows.items()
        ],
    }  # fmt: skip


def _user(user: User) -> Row:
    updated = _at(user.last_sign_in_at) or _at(user.created_at)
    about = json.dumps({"provider": "email", "providers": [*user.identities]})
    return (
        user.id, NIL, "authenticated", "authenticated", user.email, _at(user.confirmed_at), _at(user.last_sign_in_at),
        about, json.dumps(user.metadata), _at(user.created_at), updated,
        _at(user.created_at + _BANNED) if user.banned else None,
    )  # fmt: skip


def _identities(user: User) -> Iterator[Row]:
    data = json.dumps({"sub": user.id, "email": user.email})
    for provider, id in user.identities.items():
        yield (
            id, user.id, user.id, data, provider, _at(user.last_sign_in_at), _at(user.created_at),
            _at(user.created_at),
        )  # fmt: skip


def _session(session: Session) -> Row:
    factor = session.user.factor_id if session.factor_at is not None else None
    return (
        session.id, session.user.id, _at(session.created_at), _at(session.created_at), factor,
        "aal1" if session.factor_at is None else "aal2", _naive(session.refreshed_at), session.device.agent or None,
        session.device.address or None,
    )  # fmt: skip


def _claims(session: Session) -> Iterator[Row]:
    for method, at in ((session.method, session.created_at), ("totp", session.factor_at)):
        if at is not None:
            yield (str(uuid.uuid5(uuid.UUID(session.id), method)), session.id, _at(at), _at(at), method)


def _token(token: RefreshToken) -> Row:
    revoked = token.revoked_at is not None
    return (
        token.number, NIL, token.text, token.session.user.id, revoked, _at(token.created_at),
        _at(token.revoked_at if revoked else token.created_at), token.parent, token.session.id,
    )  # fmt: skip


def _factor(user: User) -> Row:
    return (
        user.factor_id, user.id, "", "totp", "verified" if user.factor_verified else "unverified",
        _at(user.created_at), _at(user.created_at), user.totp, _at(user.challenged_at),
    )  # fmt: skip


def _at(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def _naive(seconds: float | None) -> datetime | None:
    """For columns without a time zone: UTC."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) if seconds is not None else None


_AUDIT: Final = b"""insert into auth.audit_log_entries (id, instance_id, payload, created_at, ip_address)
values (%s, %s, %s, %s, %s)"""


def _upsert(table: str) -> sql.Composed:
    key, *rest = _COLUMNS[table]
    return sql.SQL("insert into {} ({}) values ({}) on conflict ({}) do update set {}").format(
        sql.Identifier("auth", table),
        sql.SQL(", ").join(map(sql.Identifier, (key, *rest))),
        sql.SQL(", ").join(sql.Placeholder() for _ in (key, *rest)),
        sql.Identifier(key),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in rest),
    )


def _delete(table: str) -> sql.Composed:
    key = _COLUMNS[table][0]
    return sql.SQL("delete from {} where {} = %s").format(sql.Identifier("auth", table), sql.Identifier(key))


async def _one(connection: psycopg.AsyncConnection[Any], text: str) -> Row:
    found = await (await connection.execute(text.encode())).fetchone()
    assert found is not None
    return tuple(found)
