"""pg_stat_statements between two snapshots: the costliest statements as series, and who may have been slow. Pure.

Series are for the `top` statements that cost most time lately; a statement leaves only for one that costs clearly
more (hysteresis), so that series don't churn at every poll. Everything else is summed per database as `other`. All
counters begin at zero when Tocsin begins to watch them and grow by what was measured in the meantime, each execution
in one series: the sum of their rates is the server's whole work, also while a statement enters or leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from collectors.postgres import declared
from collectors.postgres.moments import ZERO, Bounds, Evidence, Moments, between
from collectors.postgres.slow import Suspect
from tocsin.model import Labels, Sample, Seconds

_DECAY: Final = 0.8
"""Of a statement's recent cost from one snapshot to the next."""
_CLEARLY_MORE: Final = 1.5
OTHER: Final = "other"


class Identity(NamedTuple):
    """What pg_stat_statements keys a row by."""

    userid: int
    dbid: int
    queryid: int
    toplevel: bool | None


class Figures(NamedTuple):
    """What is told of a statement: calls, seconds, rows, and seconds reading and writing blocks."""

    calls: float
    seconds: float
    rows: float
    read: float
    write: float

    def plus(self, other: Figures) -> Figures:
        return Figures(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def since(self, before: Figures) -> Figures:
        """The growth; all of it where the figures went back (reset, or forgotten and begun anew)."""
        if self.calls < before.calls:
            return self
        return Figures(*(max(mine - theirs, 0.0) for mine, theirs in zip(self, before, strict=True)))


_NOTHING: Final = Figures(0, 0, 0, 0, 0)
_TOLD: Final = (
    declared.PGSS_CALLS,
    declared.PGSS_SECONDS,
    declared.PGSS_ROWS,
    declared.PGSS_READ,
    declared.PGSS_WRITE,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of pg_stat_statements."""

    usename: str
    datname: str
    figures: Figures
    moments: Moments


Snapshot = Mapping[Identity, Row]


def snapshot(records: Iterable[Mapping[str, Any]]) -> dict[Identity, Row]:
    """The rows of queries/statements.sql; milliseconds become seconds."""
    return {
        Identity(row["userid"], row["dbid"], row["queryid"], row["toplevel"]): Row(
            usename=row["usename"] or "",
            datname=row["datname"] or "",
            figures=Figures(
                row["calls"],
                row["total_ms"] / 1000,
                row["rows"],
                (row["block_read_ms"] or 0) / 1000,
                (row["block_write_ms"] or 0) / 1000,
            ),
            moments=Moments(
                calls=row["calls"],
                total=row["total_ms"] / 1000,
                mean=row["mean_ms"] / 1000,
                stddev=row["stddev_ms"] / 1000,
                maximum=row["max_ms"] / 1000,
            ),
        )
        for row in records
    }


def suspects(before: Snapshot, after: Snapshot, threshold: Seconds) -> tuple[Suspect, ...]:
    """Every statement that was executed between the two, with the verdict on its longest execution."""
    found = []
    for identity, row in after.items():
        old = before.get(identity)
        if old is not None and old.moments.calls == row.moments.calls:
            continue
        bounds = between(old.moments if old else ZERO, row.moments)
        if bounds is not None:
            found.append(_suspect(identity, row, old, bounds, threshold))
    return tuple(found)


def _suspect(identity: Identity, row: Row, old: Row | None, bounds: Bounds, threshold: Seconds) -> Suspect:
    evidence = bounds.evidence(threshold)
    return Suspect(
        datname=row.datname,
        query_id=identity.queryid,
        usename=row.usename,
        calls=row.moments.calls - (old.moments.calls if old else 0),
        evidence=evidence,
        seconds=bounds.lower if evidence is Evidence.CERTAIN else bounds.upper,
        top_level=identity.toplevel,
    )


@dataclass
class _Member:
    """A statement with series of its own."""

    user: str
    datname: str
    queryid: str
    figures: Figures
    created: datetime


@dataclass
class Costliest:
    """Who has series of their own, and the counters."""

    top: int
    _members: dict[Identity, _Member] = field(default_factory=dict)
    _scores: dict[Identity, float] = field(default_factory=dict)
    _other: dict[str, tuple[Figures, datetime]] = field(default_factory=dict)

    def take(self, before: Snapshot, after: Snapshot, since: datetime) -> None:
        """Count what happened between two snapshots; the first was taken at `since`."""
        grown = {
            identity: row.figures.since(before[identity].figures if identity in before else _NOTHING)
            for identity, row in after.items()
            if identity not in before or before[identity].figures != row.figures
        }
        self._scores = {identity: score * _DECAY for identity, score in self._scores.items() if score > 1e-6}
        for identity, growth in grown.items():
            self._scores[identity] = self._scores.get(identity, 0.0) + growth.seconds
        self._elect(after, since)
        for identity, growth in grown.items():
            if (member := self._members.get(identity)) is not None:
                member.figures = member.figures.plus(growth)
            else:
                datname = after[identity].datname
                figures, created = self._other.get(datname, (_NOTHING, since))
                self._other[datname] = (figures.plus(growth), created)

    def _elect(self, after: Snapshot, since: datetime) -> None:
        for identity in [identity for identity in self._members if identity not in after]:
            self._members.pop(identity)
        outside = sorted(
            (identity for identity in self._scores if identity not in self._members and identity in after),
            key=lambda identity: self._scores[identity],
            reverse=True,
        )
        for candidate in outside[: self.top]:
            if len(self._members) >= self.top:
                weakest = min(self._members, key=lambda identity: self._scores.get(identity, 0.0))
                if self._scores[candidate] <= _CLEARLY_MORE * self._scores.get(weakest, 0.0):
                    return
                del self._members[weakest]
            row = after[candidate]
            self._members[candidate] = _Member(
                user=row.usename, datname=row.datname, queryid=str(candidate.queryid), figures=_NOTHING, created=since
            )

    def samples(self, at: datetime) -> Iterator[Sample]:
        """The series. A statement's rows for nested and top-level executions are one series."""
        merged: dict[tuple[str, str, str], tuple[Figures, datetime]] = {}
        for member in self._members.values():
            key = (member.user, member.datname, member.queryid)
            figures, created = merged.get(key, (_NOTHING, member.created))
            merged[key] = (figures.plus(member.figures), min(created, member.created))
        for datname, (figures, created) in self._other.items():
            merged["", datname, OTHER] = (figures, created)
        for (user, datname, queryid), (figures, created) in merged.items():
            labels = Labels(user=user, datname=datname, queryid=queryid)
            for metric, value in zip(_TOLD, figures, strict=True):
                yield Sample(name=metric.name, labels=labels, value=value, at=at, created=created)


def columns_for(has: Sequence[str], schema: str) -> dict[str, str]:
    """What fills the gaps of queries/statements.sql, from the columns that this version of the extension has."""
    modern = "total_exec_time" in has  # 1.8, with Postgres 13
    reads = [name for name in ("shared_blk_read_time", "local_blk_read_time", "blk_read_time") if name in has]
    writes = [name for name in ("shared_blk_write_time", "local_blk_write_time", "blk_write_time") if name in has]
    return {
        "schema": schema,
        "toplevel": "statement.toplevel" if "toplevel" in has else "null::boolean",
        "total": "total_exec_time" if modern else "total_time",
        "mean": "mean_exec_time" if modern else "mean_time",
        "stddev": "stddev_exec_time" if modern else "stddev_time",
        "maximum": "max_exec_time" if modern else "max_time",
        "block_read": " + ".join(f"statement.{name}" for name in reads) or "null::float8",
        "block_write": " + ".join(f"statement.{name}" for name in writes) or "null::float8",
    }
