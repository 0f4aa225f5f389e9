"""What the role can see and what it can't, with the command that mends each gap. Pure.

Some gaps raise no error: without pg_read_all_stats other sessions' states are NULL, and sequences without a grant
have no value. A figure that is silently too low is worse than none, so a gap makes the metrics that need it blind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from collectors.postgres import declared
from collectors.postgres.groups import Group
from tocsin.model import Blind, Labels, Sample

ACTIVITY: Final = "activity"
QUERY_IDS: Final = "query_ids"
STATEMENTS: Final = "statements"
WAL_DIRECTORY: Final = "wal_directory"
DATABASE_SIZES: Final = "database_sizes"
SEQUENCES: Final = "sequences"
RESERVED_CONNECTIONS: Final = "reserved_connections"
IO_TIMING: Final = "io_timing"
CAPABILITIES: Final = (
    ACTIVITY, STATEMENTS, WAL_DIRECTORY, DATABASE_SIZES, SEQUENCES, RESERVED_CONNECTIONS, QUERY_IDS, IO_TIMING,
)  # fmt: skip
ADVISABLE: Final = frozenset({RESERVED_CONNECTIONS, QUERY_IDS, IO_TIMING, SEQUENCES})
"""Gaps that leave every declared figure true, or hide single series only."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Something that the role can't see, or a setting without which less is known."""

    capability: str
    what: str
    mend: str
    """The statement to run, as a superuser or the owner."""

    @property
    def blinds(self) -> bool:
        """Whether metrics that need it are missing or would be wrong."""
        return self.capability not in ADVISABLE

    def __str__(self) -> str:
        return f"{self.what}; mend it with: {self.mend}"


Facts = Mapping[str, Any]
"""The row of queries/capabilities.sql."""


def gaps(facts: Facts, version: int) -> tuple[Gap, ...]:
    """What is missing, in the order of CAPABILITIES."""
    return tuple(gap for capability in CAPABILITIES if (gap := _CHECKS[capability](facts, version)) is not None)


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name.islower() else '"' + name.replace('"', '""') + '"'


def _activity(facts: Facts, version: int) -> Gap | None:
    if not facts["activity"]:
        what = "the role sees only its own sessions: states, queries and waits of the others are hidden"
        return Gap(capability=ACTIVITY, what=what, mend=f"GRANT pg_monitor TO {_quoted(facts['role'])};")
    if not facts["track_activities"]:
        mend = "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();"
        return Gap(capability=ACTIVITY, what="track_activities is off: nobody sees what sessions run", mend=mend)
    return None


def _statements(facts: Facts, version: int) -> Gap | None:
    what, mend = "", ""
    if facts["statements_schema"] is None:
        what = f"the extension pg_stat_statements is not installed in database {facts['database']}"
        mend = "CREATE EXTENSION pg_stat_statements;"
        if facts["statements_track"] is None:
            mend = f"{_PRELOAD}, then in {_quoted(facts['database'])}: {mend}"
    elif facts["statements_track"] is None:
        what, mend = "pg_stat_statements is installed but not loaded", _PRELOAD
    elif facts["statements_track"] == "none":
        what = "pg_stat_statements.track is none: it counts nothing"
        mend = "ALTER SYSTEM SET pg_stat_statements.track = 'top'; SELECT pg_reload_conf();"
    elif not facts["statements_usage"]:
        what = f"the role may not use schema {facts['statements_schema']}, which holds pg_stat_statements"
        mend = f"GRANT USAGE ON SCHEMA {facts['statements_schema']} TO {_quoted(facts['role'])};"
    elif not facts["activity"]:
        what = "other roles' statements are hidden in pg_stat_statements"
        mend = f"GRANT pg_monitor TO {_quoted(facts['role'])};"
    return Gap(capability=STATEMENTS, what=what, mend=mend) if what else None


_PRELOAD: Final = (
    "add pg_stat_statements to shared_preload_libraries (SHOW shared_preload_libraries; ALTER SYSTEM SET "
    "shared_preload_libraries = …) and restart the server"
)


def _wal_directory(facts: Facts, version: int) -> Gap | None:
    if facts["wal_directory"]:
        return None
    mend = f"GRANT pg_monitor TO {_quoted(facts['role'])};"
    return Gap(capability=WAL_DIRECTORY, what="the role may not list pg_wal", mend=mend)


def _database_sizes(facts: Facts, version: int) -> Gap | None:
    if facts["database_sizes"]:
        return None
    mend = f"GRANT pg_monitor TO {_quoted(facts['role'])};"
    return Gap(capability=DATABASE_SIZES, what="the role may not see the size of every database", mend=mend)


def _sequences(facts: Facts, version: int) -> Gap | None:
    hidden = facts["hidden_sequences"]
    if not hidden:
        return None
    what = f"{hidden} sequences of database {facts['database']} can't be read (pg_monitor does not include them)"
    mend = f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {_quoted(facts['role'])}; -- and in each other schema"
    return Gap(capability=SEQUENCES, what=what, mend=mend)


def _reserved_connections(facts: Facts, version: int) -> Gap | None:
    if facts["reserved_connections"] or version < 16:
        return None
    mend = (
        "ALTER SYSTEM SET reserved_connections = 3; -- and restart\n"
        f"GRANT pg_use_reserved_connections TO {_quoted(facts['role'])};"
    )
    return Gap(
        capability=RESERVED_CONNECTIONS,
        what="no slot is reserved for the role: it can't connect anew while the server is saturated",
        mend=mend,
    )


def _query_ids(facts: Facts, version: int) -> Gap | None:
    if facts["query_ids"] or version < 14:
        return None
    mend = "ALTER SYSTEM SET compute_query_id = auto; SELECT pg_reload_conf();"
    return Gap(capability=QUERY_IDS, what="compute_query_id is off: running queries carry no id", mend=mend)


def _io_timing(facts: Facts, version: int) -> Gap | None:
    if facts["io_timing"]:
        return None
    mend = "ALTER SYSTEM SET track_io_timing = on; SELECT pg_reload_conf();"
    return Gap(capability=IO_TIMING, what="track_io_timing is off: times of reads and writes are 0", mend=mend)


_CHECKS: Final = {
    ACTIVITY: _activity,
    STATEMENTS: _statements,
    WAL_DIRECTORY: _wal_directory,
    DATABASE_SIZES: _database_sizes,
    SEQUENCES: _sequences,
    RESERVED_CONNECTIONS: _reserved_connections,
    QUERY_IDS: _query_ids,
    IO_TIMING: _io_timing,
}
_COMPUTED_NEED: Final = {
    ACTIVITY: frozenset(
        metric.name for metric in (*declared.SLOW_METRICS, *declared.BLOCKING_METRICS) if metric is not declared.LOOKS
    ),
    STATEMENTS: frozenset(metric.name for metric in declared.STATEMENT_METRICS),
}


def blind_spots(found: Iterable[Gap], groups: Iterable[Group]) -> Iterator[Blind]:
    """What each gap hides."""
    by_capability: dict[str, set[str]] = {name: set(names) for name, names in _COMPUTED_NEED.items()}
    for group in groups:
        if group.capability:
            by_capability.setdefault(group.capability, set()).update(group.names)
    for gap in found:
        metrics = frozenset(by_capability.get(gap.capability, ()))
        if gap.blinds and metrics:
            yield Blind(why=str(gap), metrics=metrics)


def samples(found: Iterable[Gap], at: datetime) -> Iterator[Sample]:
    """A 0/1 for each capability."""
    missing = {gap.capability for gap in found}
    for capability in CAPABILITIES:
        yield Sample(
            name=declared.CAPABILITY.name,
            labels=Labels(capability=capability),
            value=0 if capability in missing else 1,
            at=at,
        )
