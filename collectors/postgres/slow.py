"""Which queries are slow: each is found once, by whichever source sees it first. Pure.

Looks at running statements are complete while no gap between them reaches the threshold less the look that is
scheduled for the moment of crossing. pg_stat_statements covers the gaps, and what no look can see: statements run by
background workers. A finding of the one explains the figures of the other, so a query is not counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from collectors.postgres import declared
from collectors.postgres.moments import Evidence
from tocsin.model import Labels, Sample, Seconds

Key = tuple[int, datetime | None, datetime]
"""(pid, backend_start, query_start): one execution, also where a pid is used again."""
_FORGET_EXCLUDED_ABOVE: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Running:
    """A statement that a client runs now."""

    key: Key
    datname: str
    usename: str
    age: Seconds
    query_id: int | None
    backup: bool


def running(records: Iterable[Mapping[str, Any]]) -> tuple[Running, ...]:
    """The rows of queries/activity.sql."""
    return tuple(
        Running(
            key=(row["pid"], row["backend_start"], row["query_start"]),
            datname=row["datname"] or "",
            usename=row["usename"] or "",
            age=max(row["age"], 0.0),
            query_id=row["query_id"],
            backup=bool(row["backup"]),
        )
        for row in records
    )


@dataclass(kw_only=True)
class _Found:
    """A slow execution that a look counted."""

    datname: str
    query_id: int | None
    age: Seconds
    ended: bool = False
    completed: bool = False
    """pg_stat_statements may have counted it."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """What pg_stat_statements' figures say about one statement since the snapshot before."""

    datname: str
    query_id: int
    calls: int
    evidence: Evidence
    seconds: Seconds
    """At least this long was the longest of them (for possible: it may have been)."""
    usename: str
    top_level: bool | None
    """None before extension 1.9, which can't tell."""


@dataclass
class SlowQueries:
    """The memory of what was found, and the counters."""

    threshold: Seconds
    exclude_roles: Collection[str] = ()
    _found: dict[Key, _Found] = field(default_factory=dict)
    _counts: Counter[tuple[str, Evidence, str]] = field(default_factory=Counter)
    _failed: Counter[str] = field(default_factory=Counter)
    _created: dict[tuple[str, ...], datetime] = field(default_factory=dict)
    _longest_found: dict[str, Seconds] = field(default_factory=dict)
    _now: tuple[Running, ...] = ()
    _excluded_ids: dict[int, None] = field(default_factory=dict)
    _databases: set[str] = field(default_factory=set)
    looks: int = 0

    # Looking at what runs ------------------------------------------------------------------------------------------

    def look(self, statements: Sequence[Running]) -> tuple[int, Seconds | None]:
        """Take note of what runs now: how many were newly found slow, and in how many seconds the next would be."""
        self.looks += 1
        watched = tuple(statement for statement in statements if not self._is_excluded(statement))
        self._now = watched
        fresh, crossing = 0, None
        for statement in watched:
            if statement.age < self.threshold:
                left = self.threshold - statement.age
                crossing = left if crossing is None else min(crossing, left)
                continue
            known = self._found.get(statement.key)
            if known is None:
                fresh += 1
                known = self._found[statement.key] = _Found(
                    datname=statement.datname, query_id=statement.query_id, age=statement.age
                )
                self._counts[statement.datname, Evidence.CERTAIN, "activity"] += 1
            known.age = statement.age
            self._note(statement.datname, statement.age)
        alive = {statement.key for statement in watched}
        for key, found in self._found.items():
            found.ended = found.ended or key not in alive
        return fresh, crossing

    def forget_ended(self) -> None:
        """Where there is no pg_stat_statements to compare with, an ended execution is done with."""
        self._found = {key: found for key, found in self._found.items() if not found.ended}

    def _is_excluded(self, statement: Running) -> bool:
        excluded = statement.backup or statement.usename in self.exclude_roles
        if excluded and statement.query_id is not None:
            if len(self._excluded_ids) > _FORGET_EXCLUDED_ABOVE:
                self._excluded_ids.pop(next(iter(self._excluded_ids)))
            self._excluded_ids[statement.query_id] = None
        return excluded

    def _note(self, datname: str, seconds: Seconds) -> None:
        self._longest_found[datname] = max(self._longest_found.get(datname, 0.0), seconds)

    # Comparing with pg_stat_statements -----------------------------------------------------------------------------

    def ended(self) -> frozenset[Key]:
        """Slow executions that are over. Taken before a snapshot is asked for: it knows all of these."""
        return frozenset(key for key, found in self._found.items() if found.ended)

    def compare(
        self, suspects: Sequence[Suspect], *, ended: Collection[Key], gapless: bool, is_tracked: Callable[[int], bool]
    ) -> tuple[Suspect, ...]:
        """What the figures prove beyond what was seen running; the caller vets these and `count`s them.

        `ended`: from before the snapshot. `gapless`: no two looks since the snapshot before were the threshold apart,
        so whatever a client ran that long was seen. `is_tracked`: whether a statement of this id is in the snapshot,
        or would be had it completed.
        """
        moved = {(suspect.datname, suspect.query_id) for suspect in suspects}
        unnamed = {found.datname for found in self._found.values() if found.query_id is None}
        explained = {(found.datname, found.query_id) for found in self._found.values()}
        for key, found in list(self._found.items()):
            done = found.query_id is None or (found.datname, found.query_id) in moved
            found.completed = found.completed or done
            if key in ended:
                if not found.completed and found.query_id is not None and is_tracked(found.query_id):
                    self._failed[found.datname] += 1
                del self._found[key]
        return tuple(
            suspect
            for suspect in suspects
            if self._is_news(suspect, gapless)
            and (suspect.datname, suspect.query_id) not in explained
            and suspect.datname not in unnamed
        )

    def _is_news(self, suspect: Suspect, gapless: bool) -> bool:
        if suspect.evidence is Evidence.NONE or suspect.query_id in self._excluded_ids:
            return False
        if suspect.top_level is False or suspect.usename in self.exclude_roles:
            return False  # what a function ran is in the figures of its caller
        # Only what no look can see (a background worker's) is news without a gap, and then only when proved.
        return not gapless or (suspect.evidence is Evidence.CERTAIN and suspect.top_level is True)

    def count(self, suspect: Suspect) -> None:
        """Count an execution that only pg_stat_statements knows of."""
        self._counts[suspect.datname, suspect.evidence, "statements"] += 1
        if suspect.evidence is Evidence.CERTAIN:
            self._note(suspect.datname, suspect.seconds)

    # Telling -------------------------------------------------------------------------------------------------------

    def samples(self, at: datetime, before: datetime, home: str) -> Iterator[Sample]:
        """The series. `before` is the poll before: a count that is new was zero then. `home` is the database that is
        always told of, if only with zeros.
        """
        self._counts[home, Evidence.CERTAIN, "activity"] += 0
        self._databases.update({home, *(statement.datname for statement in self._now)})
        for (datname, evidence, source), count in self._counts.items():
            self._databases.add(datname)
            labels = Labels(datname=datname, evidence=evidence.value, source=source)
            created = self._created.setdefault((datname, evidence.value, source), before)
            yield Sample(name=declared.SLOW.name, labels=labels, value=count, at=at, created=created)
        yield Sample(name=declared.LOOKS.name, value=self.looks, at=at)
        for datname in sorted(self._databases):
            ages = [statement.age for statement in self._now if statement.datname == datname]
            for metric, value in (
                (declared.LONGEST, max(ages, default=0.0)),
                (declared.SLOW_RUNNING, sum(age >= self.threshold for age in ages)),
                (declared.SLOW_MAX, self._longest_found.get(datname, 0.0)),
            ):
                yield Sample(name=metric.name, labels=Labels(datname=datname), value=value, at=at)
        self._longest_found.clear()

    def failed_samples(self, at: datetime, before: datetime) -> Iterator[Sample]:
        """The series that need pg_stat_statements."""
        for datname in sorted(self._databases):
            created = self._created.setdefault(("failed", datname), before)
            labels = Labels(datname=datname)
            yield Sample(
                name=declared.SLOW_FAILED.name, labels=labels, value=self._failed[datname], at=at, created=created
            )
