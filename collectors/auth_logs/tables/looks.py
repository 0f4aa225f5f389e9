"""What is asked of each table, and what its answer means. Pure.

A look names the columns that it needs, and for those that old versions of Auth lack what holds there instead: an Auth
that knows no bans has banned nobody. Nothing secret is asked for (no password, token or secret), so that a role with
rights on single columns will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from collectors.auth_logs import declarations as are
from collectors.auth_logs.naming import hashed
from collectors.auth_logs.tables.shape import Shape
from tocsin.model import Metric

Value = tuple[Metric, tuple[str, ...], float]
"""Metric, label values in the order of its declaration, value."""
_PROVIDERS: Final = 30
_USER_STATES: Final = ("confirmed", "unconfirmed", "anonymous", "banned", "deleted")


@dataclass(frozen=True, kw_only=True)
class Look:
    """One question."""

    table: str
    needs: tuple[str, ...]
    spare: Mapping[str, str] = field(default_factory=dict)
    """Columns that old versions lack, and what stands there then."""
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further tables, and the columns it needs of them."""
    wants: Mapping[str, str] = field(default_factory=dict)
    """Metrics that are told only where a column of `spare` is there, with its name."""
    sql: str
    """With {column} for those of `spare`."""
    metrics: tuple[Metric, ...]
    read: Callable[[Sequence[Any]], tuple[int | None, Iterable[Value]]]
    """Rows → (rows of the table that it saw; None: it does not say, values)."""
    params: tuple[Any, ...] = ()
    whole: bool = True
    """It saw the whole table; else only whether it holds any row."""

    def trouble(self, shape: Shape) -> str:
        """Why it can't be asked; empty: it can."""
        there = shape.tables.get(self.table)
        spare = [name for name in self.spare if there is not None and name in there.columns]
        for table, columns in ((self.table, (*self.needs, *spare)), *self.also.items()):
            if why := shape.trouble(table, columns):
                return why
        return ""

    def text(self, shape: Shape) -> str:
        """The statement, for the columns that are there."""
        columns = shape.tables[self.table].columns
        return self.sql.format(**{name: name if name in columns else other for name, other in self.spare.items()})

    def untold(self, shape: Shape) -> Mapping[str, str]:
        """The metrics that can't be told, and the column that is missing for them."""
        columns = shape.tables[self.table].columns
        return {metric: column for metric, column in self.wants.items() if column not in columns}


def _sessions(rows: Sequence[Any]) -> tuple[int, Iterable[Value]]:
    live = {"aal1": 0, "aal2": 0}
    live.update({aal: count for aal, _, count, _, _ in rows})
    return sum(row[1] for row in rows), (
        *((are.SESSIONS, (aal,), count) for aal, count in live.items()),
        (are.SESSIONS_ACTIVE, (), sum(row[3] for row in rows)),
        (are.SESSIONS_THIRD_PARTY, (), sum(row[4] for row in rows)),
    )


def _tokens(rows: Sequence[Any]) -> tuple[int, Iterable[Value]]:
    ((seen, issued, revoked),) = rows
    return int(seen), ((are.TOKENS, ("issued",), issued), (are.TOKENS, ("revoked",), revoked))


def _factors(rows: Sequence[Any]) -> tuple[int, Iterable[Value]]:
    kinds = {("verified", "totp"): 0, ("unverified", "totp"): 0}
    kinds.update({(status, kind): count for status, kind, count in rows if status})
    users = next(count for status, _, count in rows if not status)
    return sum(kinds.values()), (
        *((are.FACTORS, kind, count) for kind, count in kinds.items()),
        (are.USERS_WITH_FACTOR, (), users),
    )


def _challenges(rows: Sequence[Any]) -> tuple[int, Iterable[Value]]:
    ((seen, open_, verified),) = rows
    return int(seen), ((are.CHALLENGES, ("open",), open_), (are.CHALLENGES, ("verified",), verified))


def _users(rows: Sequence[Any]) -> tuple[int, Iterable[Value]]:
    ((total, *rest),) = rows
    states, windows = rest[:5], rest[5:]
    return total, (
        *((are.USERS, (state,), count) for state, count in zip(_USER_STATES, states, strict=True)),
        *((are.USERS_CREATED, (window,), count) for window, count in zip(("1h", "1d"), windows[:2], strict=True)),
        *((are.USERS_SIGNED_IN, (window,), count) for window, count in zip(("1h", "1d"), windows[2:], strict=True)),
    )


def _identities(rows: Sequence[Any]) -> tuple[int, Iterable[Value]]:
    # Everybody's own SAML provider is a provider of its own: few have more than thirty.
    apart, rest = rows[:_PROVIDERS], rows[_PROVIDERS:]
    values: list[Value] = [(are.IDENTITIES, (provider,), count) for provider, count in apart]
    if rest:
        values.append((are.IDENTITIES, ("other",), sum(count for _, count in rest)))
    return sum(count for _, count in rows), values


def _one_time(rows: Sequence[Any]) -> tuple[int, Iterable[Value]]:
    return sum(count for _, count in rows), [(are.ONE_TIME_TOKENS, (kind,), count) for kind, count in rows]


LOOKS: Final[Mapping[str, Look]] = {
    "sessions": Look(
        table="sessions",
        needs=("created_at",),
        spare={
            "aal": "null",
            "not_after": "null::timestamptz",
            "refreshed_at": "null::timestamp",
            "oauth_client_id": "null",
        },
        wants={are.SESSIONS_ACTIVE.name: "refreshed_at"},
        sql="""
        select coalesce(aal, 'aal1'), count(*), count(*) filter (where live),
               count(*) filter (where live and touched > now() - interval '1 hour'),
               count(*) filter (where live and is_client)
        from (
          select {aal}::text as aal, {not_after} is null or {not_after} > now() as live,
                 coalesce({refreshed_at} at time zone 'UTC', created_at) as touched,
                 {oauth_client_id} is not null as is_client
          from auth.sessions) s
        group by 1
        """,
        metrics=(are.SESSIONS, are.SESSIONS_ACTIVE, are.SESSIONS_THIRD_PARTY),
        read=_sessions,
    ),
    "refresh_tokens": Look(
        # The largest table of all where Auth's clean-up is off: by the index on updated_at, the last hour alone.
        table="refresh_tokens",
        needs=("created_at", "updated_at", "revoked"),
        sql="""
        select exists (select from auth.refresh_tokens),
               count(*) filter (where created_at > now() - interval '1 hour'), count(*) filter (where revoked)
        from auth.refresh_tokens where updated_at > now() - interval '1 hour'
        """,
        metrics=(are.TOKENS,),
        read=_tokens,
        whole=False,
    ),
    "mfa_factors": Look(
        table="mfa_factors",
        needs=("status", "factor_type", "user_id"),
        sql="""
        select status::text, factor_type::text, count(*) from auth.mfa_factors group by 1, 2
        union all
        select '', '', count(distinct user_id) from auth.mfa_factors where status = 'verified'
        """,
        metrics=(are.FACTORS, are.USERS_WITH_FACTOR),
        read=_factors,
    ),
    "mfa_challenges": Look(
        table="mfa_challenges",
        needs=("created_at", "verified_at"),
        sql="""
        select exists (select from auth.mfa_challenges), count(*) filter (where verified_at is null), count(verified_at)
        from auth.mfa_challenges where created_at > now() - interval '1 hour'
        """,
        metrics=(are.CHALLENGES,),
        read=_challenges,
        whole=False,
    ),
    "users": Look(
        table="users",
        needs=("created_at", "last_sign_in_at", "confirmed_at"),
        spare={"deleted_at": "null::timestamptz", "banned_until": "null::timestamptz", "is_anonymous": "false"},
        sql="""
        select count(*), count(*) filter (where state = 'confirmed'), count(*) filter (where state = 'unconfirmed'),
               count(*) filter (where state = 'anonymous'), count(*) filter (where state = 'banned'),
               count(*) filter (where state = 'deleted'),
               count(*) filter (where created_at > now() - interval '1 hour'),
               count(*) filter (where created_at > now() - interval '1 day'),
               count(*) filter (where last_sign_in_at > now() - interval '1 hour'),
               count(*) filter (where last_sign_in_at > now() - interval '1 day')
        from (
          select created_at, last_sign_in_at,
                 case when {deleted_at} is not null then 'deleted' when {banned_until} > now() then 'banned'
                      when {is_anonymous} then 'anonymous' when confirmed_at is null then 'unconfirmed'
                      else 'confirmed' end as state
          from auth.users) u
        """,
        metrics=(are.USERS, are.USERS_CREATED, are.USERS_SIGNED_IN),
        read=_users,
    ),
    "identities": Look(
        table="identities",
        needs=("provider",),
        sql="select provider, count(*) from auth.identities group by 1 order by 2 desc, 1",
        metrics=(are.IDENTITIES,),
        read=_identities,
    ),
    "one_time_tokens": Look(
        table="one_time_tokens",
        needs=("token_type",),
        sql="select token_type::text, count(*) from auth.one_time_tokens group by 1 order by 1",
        metrics=(are.ONE_TIME_TOKENS,),
        read=_one_time,
    ),
}
"""By the name that source.sql.tables.include has for it."""


def admins_of(emails: Sequence[str], salt: bytes) -> Look:
    """Whether each of these users has a second factor."""

    def read(rows: Sequence[Any]) -> tuple[None, Iterable[Value]]:
        return None, [(are.ADMIN_FACTOR, (hashed(salt, "user", user),), float(has)) for user, has in rows]

    return Look(
        table="users",
        needs=("id", "email"),
        spare={"deleted_at": "null::timestamptz"},
        also={"mfa_factors": ("user_id", "status")},
        sql="""
        select u.id::text, exists (
          select from auth.mfa_factors f where f.user_id = u.id and f.status = 'verified')
        from auth.users u where lower(u.email) = any(%s) and {deleted_at} is null
        """,
        params=([email.lower() for email in emails],),
        metrics=(are.ADMIN_FACTOR,),
        read=read,
    )
