"""Which statements read whole tables for want of an index? Looked up once, by a person, on a connection thrown away.

The costliest statements of pg_stat_statements are planned, not run: EXPLAIN (GENERIC_PLAN), PostgreSQL 16 and newer.
The text is another's: it is asked about only when the extended protocol has parsed it, which refuses a second statement
behind a semicolon; in a session that may not write, with a short statement_timeout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import dict_row

from collectors.postgres.groups import marked
from tocsin.errors import CollectError

OLDEST: Final = 160_000
"""GENERIC_PLAN is of PostgreSQL 16."""
_HIDDEN: Final = "<insufficient privilege>"
"""What stands for the text of each statement of another role, to a role that may not see it."""
SMALL: Final = 1000.0
"""Rows: a smaller table is read whole with good reason."""
_LITERAL: Final = re.compile(r"\b(interval|date|time|timestamp|timestamptz)\s+(\$\d+)", re.IGNORECASE)
"""`interval '1 day'` is kept as `interval $1`, which is no SQL."""
_COMPARED: Final = r"(?<![\w(])\(*{alias}\.([a-z_][a-z0-9_]*)\)?(?:::[a-z ]+)? (=|<=|>=|<|>) "
"""A column of the table beside an operator, which is not an argument of a function."""
_SESSION: Final = {
    "default_transaction_read_only": "on", "statement_timeout": "3s", "lock_timeout": "100ms", "jit": "off",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A table that a statement reads whole, and the index that would spare it."""

    table: str
    """With its schema."""
    columns: tuple[str, ...]
    """Those compared for equality first."""
    rows: float
    """Of the table, about."""

    @property
    def mend(self) -> str:
        """The statement to type."""
        columns = ", ".join(self.columns)
        return f"create index concurrently on {self.table} ({columns});"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One statement."""

    text: str
    calls: int
    seconds: float
    """In sum."""
    advice: tuple[Advice, ...] = ()
    unknown: str = ""
    """Why it could not be planned."""


def planned(conninfo: str, most: int) -> list[Planned]:
    """The `most` costliest statements of the database, with advice. Raises CollectError that says what is missing."""
    try:
        with psycopg.connect(
            conninfo, connect_timeout=5, autocommit=True, application_name="tocsin-doctor", row_factory=dict_row
        ) as connection:
            if connection.info.server_version < OLDEST:
                raise CollectError("statements are planned without their values from PostgreSQL 16 on")
            for name, value in _SESSION.items():
                connection.execute(sql.SQL("set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            tables = {row["name"]: row for row in connection.execute(marked("tables", _TABLES))}
            rows = connection.execute(_costliest(connection), {"most": most}).fetchall()
            return [_planned(connection, row, tables) for row in rows]
    except psycopg.errors.InsufficientPrivilege as error:
        needed = "the role needs select on pg_stat_statements and usage of its schema"
        raise CollectError(f"{_line(error)}; {needed}, and pg_read_all_stats to see what others asked") from None
    except psycopg.Error as error:
        raise CollectError(_line(error)) from None


def _planned(
    connection: psycopg.Connection[Any], row: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]
) -> Planned:
    text = str(row["query"])
    told = Planned(text=" ".join(text.split()), calls=int(row["calls"]), seconds=float(row["seconds"]))
    if text == _HIDDEN:
        role = sql.Identifier(connection.info.user).as_string(connection)
        return replace(
            told, text="statements of other roles", unknown=f"not to be seen; grant pg_read_all_stats to {role}"
        )
    try:
        plan = plan_of(connection, _LITERAL.sub(r"\2::\1", text))
    except psycopg.errors.InsufficientPrivilege as error:
        return replace(told, unknown=f"{_line(error)}; grant pg_read_all_data to the role, or ask as another one")
    except psycopg.Error as error:
        return replace(told, unknown=_line(error))
    return replace(told, advice=tuple(advice_of(plan, tables)))


def plan_of(connection: psycopg.Connection[Any], text: str) -> Any:
    """The plan of `text` whatever its parameters are. Raises psycopg.Error."""
    raw = connection.pgconn
    query = b"explain (generic_plan, verbose, format json) " + text.encode()
    # Parsing alone takes one statement and runs none; what has passed it is one statement by the simple protocol too,
    # where parameters may stay unbound. (Bound to NULL, the plan would be that of a condition that never holds.)
    _checked(raw.prepare(b"", query), raw)
    answer = _checked(raw.exec_(query), raw)
    return json.loads(answer.get_value(0, 0) or b"")


def _checked(result: PGresult, raw: PGconn) -> PGresult:
    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        return result
    raise psycopg.errors.lookup((result.error_field(DiagnosticField.SQLSTATE) or b"XX000").decode())(
        (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or raw.error_message).decode("utf-8", "replace")
    )


def advice_of(plan: Sequence[Mapping[str, Any]], tables: Mapping[str, Mapping[str, Any]]) -> Iterator[Advice]:
    """What a plan's whole reads call for. `tables` by schema.name: `rows` and the columns that `leading` an index."""
    seen: set[Advice] = set()
    for node in _nodes(plan[0]["Plan"]):
        if node.get("Node Type") != "Seq Scan" or "Filter" not in node:
            continue
        name = f"{node.get('Schema', 'public')}.{node['Relation Name']}"
        table = tables.get(name)
        if table is None or table["rows"] < SMALL:
            continue
        columns = _columns(str(node["Filter"]), str(node.get("Alias", "")))
        # An index that begins with one of them is there: the planner has looked at it and does better without.
        if columns and columns[0] not in table["leading"]:
            advice = Advice(table=name, columns=columns, rows=float(table["rows"]))
            if advice not in seen:
                seen.add(advice)
                yield advice


def _columns(condition: str, alias: str) -> tuple[str, ...]:
    """The columns that are compared with a value: all by equality, then the first by range."""
    # A condition with OR is not served by one index; NOT and functions of a column are not by a plain one.
    if re.search(r"\b(?:OR|NOT)\b", condition):
        return ()
    found = re.findall(_COMPARED.format(alias=re.escape(alias)), condition)
    equal = [column for column, sign in found if sign == "="]
    ranges = [column for column, sign in found if sign != "="]
    return tuple(dict.fromkeys(equal + ranges[:1]))


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _costliest(connection: psycopg.Connection[Any]) -> str:
    """The statement that lists them; pg_stat_statements may be in any schema (Supabase: `extensions`)."""
    found = connection.execute(marked("where", _WHERE)).fetchone()
    if found is None:
        raise CollectError("pg_stat_statements is not in this database; `create extension pg_stat_statements`")
    place = sql.Identifier(found["schema"], "pg_stat_statements").as_string(connection)
    return marked("costliest", _COSTLIEST.format(place=place))


def _line(error: psycopg.Error) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


_WHERE: Final = """
select nspname as schema from pg_extension join pg_namespace on pg_namespace.oid = extnamespace
where extname = 'pg_stat_statements'
"""
_COSTLIEST: Final = r"""
select query, sum(calls) as calls, (sum(total_exec_time) / 1000)::float8 as seconds
from {place} join pg_database on pg_database.oid = dbid and datname = current_database()
where query ~* '^\s*(select|with|insert|update|delete)\M' and query !~ 'tocsin' or query = '<insufficient privilege>'
group by query
order by seconds desc
limit %(most)s
"""
_TABLES: Final = """
select format('%s.%s', nspname, relname) as name, greatest(reltuples, 0)::float8 as rows,
       array(select attname::text from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]
             where indrelid = pg_class.oid and indisvalid) as leading
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relkind in ('r', 'p') and nspname not in ('pg_catalog', 'information_schema')
"""
