"""What Auth's tables are like and what of them we may see, from the catalog: asked before the tables are.

Three things stand in the way: row security, which hides rows without an error, a column that this version of Auth does
not have, and rights on some columns only. Each is found here, with what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from collectors.auth_logs.database import Database

TABLES: Final = (
    "sessions", "refresh_tokens", "mfa_factors", "mfa_challenges", "users", "identities", "one_time_tokens",
    "flow_state", "audit_log_entries",
)  # fmt: skip
_OFF_BY: Final = 100
"""Rows; a smaller table's estimate may be wrong by half."""
_PROBE: Final = """
select c.relname::text, c.reltuples::bigint, row_security_active(c.oid),
       exists (
         select from pg_policy p
         where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*')
           and (0 = any(p.polroles) or exists (
             select from unnest(p.polroles) r (role) where r.role <> 0 and pg_has_role(r.role, 'usage')))),
       array_agg(a.attname::text),
       coalesce(array_agg(a.attname::text) filter (where has_column_privilege(c.oid, a.attnum, 'select')), '{}')
from pg_class c
join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'auth'
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relname = any(%s) and c.relkind in ('r', 'p', 'v', 'f')
group by c.oid, c.relname, c.reltuples
"""
_WHO: Final = """
select current_user::text, (select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = 'auth')
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One of them."""

    estimate: int
    """Rows, when it was last analyzed; below 0: it never was."""
    secured: bool
    """Row security holds for us."""
    has_policy: bool
    """… and some policy lets us see something."""
    columns: frozenset[str]
    readable: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The schema auth, as our role sees it."""

    role: str
    usable: bool | None
    """Whether we may use the schema; None: there is none."""
    tables: Mapping[str, Table]

    def trouble(self, table: str, columns: Iterable[str]) -> str:
        """Why these columns can't be read, and what to do; empty: nothing is in the way."""
        if self.usable is None:
            return "there is no schema auth: source.sql.dsn must lead to the database of Supabase Auth"
        if not self.usable:
            grant = f'GRANT USAGE ON SCHEMA auth TO "{self.role}"'
            return f'role "{self.role}" may not look into the schema auth; as postgres: {grant}'
        found = self.tables.get(table)
        if found is None:
            return f"there is no table auth.{table}: {_OLD.format(table)}"
        if missing := sorted(set(columns) - found.columns):
            return f"auth.{table} has no column {', '.join(missing)}: {_OLD.format(table)}"
        if denied := sorted(set(columns) - found.readable):
            names = ", ".join(denied)
            return (
                f'role "{self.role}" may not read {names} of auth.{table}; as postgres: '
                f'GRANT SELECT ({names}) ON auth.{table} TO "{self.role}"'
            )
        if found.secured and not found.has_policy:
            held = f"about {found.estimate:,} rows" if found.estimate > 0 else "its rows"
            return f"row security hides {held} of auth.{table}; {self._unhide(table)}"
        return ""

    def hidden(self, table: str, visible: int, *, whole: bool) -> str:
        """Why an answer that saw so many rows can't be all; empty: it can. `whole`: the whole table was counted."""
        found = self.tables[table]
        if not found.secured or found.estimate <= 0:
            return ""
        if visible > 0 and (not whole or found.estimate <= _OFF_BY or visible * 2 >= found.estimate):
            return ""
        return (
            f"row security shows {visible:,} of about {found.estimate:,} rows of auth.{table}; "
            f"{self._unhide(table)}; where rows were deleted just now: ANALYZE auth.{table}"
        )

    def _unhide(self, table: str) -> str:
        return (
            f'as a role that may: ALTER ROLE "{self.role}" BYPASSRLS; where that is refused, as the owner of the '
            f'table: CREATE POLICY tocsin_reads ON auth.{table} FOR SELECT TO "{self.role}" USING (true); or connect '
            "as postgres"
        )


_OLD: Final = "this Auth is too old to have it; upgrade it, or leave {} out of source.sql.tables.include"


async def probe(database: Database) -> Shape:
    """Look at the catalog. Raises Trouble."""
    of, when_slow = "the catalog", "raise source.sql.query_deadline"
    ((role, usable),) = await database.ask(_WHO, (), of=of, when_slow=when_slow)
    rows: Sequence[Any] = await database.ask(_PROBE, ([*TABLES],), of=of, when_slow=when_slow) if usable else ()
    tables = {
        name: Table(
            estimate=estimate, secured=secured, has_policy=policy, columns=frozenset(columns),
            readable=frozenset(readable),
        )
        for name, estimate, secured, policy, columns, readable in rows
    }  # fmt: skip
    return Shape(role=role, usable=usable, tables=tables)
