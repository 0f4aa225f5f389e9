"""Who blocks whom: the sessions that everybody waits for in the end. Pure.

One alert is wanted for a pile-up, on its root, not one for each victim. A root waits for nobody; where sessions wait
in a ring (a deadlock that is not detected yet) the one with the lowest pid stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from collectors.postgres import declared
from tocsin.model import Labels, Sample, Seconds

_ROOTS: Final = 10
_NOTEWORTHY_SECONDS: Final = 1.0
PREPARED: Final = 0
"""pg_blocking_pids' pid of a prepared transaction."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session that waits, or is waited for."""

    pid: int
    datname: str
    usename: str
    application_name: str
    state: str
    blockers: tuple[int, ...] = ()
    waited: Seconds = 0.0

    @property
    def waits(self) -> bool:
        return bool(self.blockers)


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A root and those who wait for it, directly or not."""

    root: Session
    victims: tuple[Session, ...]

    @property
    def longest(self) -> Seconds:
        return max(victim.waited for victim in self.victims)


def sessions(records: Iterable[Mapping[str, Any]]) -> tuple[Session, ...]:
    """The rows of queries/blocking.sql."""
    return tuple(
        Session(
            pid=row["pid"],
            datname=row["datname"] or "",
            usename=row["usename"] or "",
            application_name=row["application_name"] or "",
            state="prepared transaction" if row["pid"] == PREPARED else row["state"] or "",
            blockers=tuple(dict.fromkeys(row["blockers"])),
            waited=row["waited"] or 0.0 if row["blockers"] else 0.0,
        )
        for row in records
    )


def trees(involved: Iterable[Session]) -> tuple[Tree, ...]:
    """One tree for each root, the most victims first. A victim of two roots is in both."""
    by_pid = {session.pid: session for session in involved}
    victims: dict[int, list[Session]] = {}
    for session in by_pid.values():
        if session.waits:
            for root in _roots_of(session, by_pid):
                victims.setdefault(root, []).append(session)
    found = (Tree(root=by_pid[root], victims=tuple(waiting)) for root, waiting in victims.items())
    return tuple(sorted(found, key=lambda tree: (-len(tree.victims), -tree.longest, tree.root.pid)))


def _roots_of(session: Session, by_pid: Mapping[int, Session]) -> set[int]:
    seen: set[int] = set()
    open_ends = list(session.blockers)
    roots: set[int] = set()
    while open_ends:
        pid = open_ends.pop()
        if pid in seen:
            continue
        seen.add(pid)
        blocker = by_pid.get(pid)
        if blocker is None:
            continue
        if blocker.waits:
            open_ends.extend(blocker.blockers)
        else:
            roots.add(pid)
    ring = {pid for pid in seen if pid in by_pid}
    return roots or ({min(ring)} if ring else set())


def samples(involved: tuple[Session, ...], home: str, databases: Iterable[str], at: datetime) -> Iterator[Sample]:
    """The series; each database known is told of, if only with 0. A prepared root carries its victims' database."""
    waiting = [session for session in involved if session.waits]
    for datname in sorted({home, *databases, *(session.datname for session in waiting)}):
        waits = [session.waited for session in waiting if session.datname == datname]
        labels = Labels(datname=datname)
        yield Sample(name=declared.BLOCKED.name, labels=labels, value=len(waits), at=at)
        yield Sample(name=declared.BLOCKED_MAX.name, labels=labels, value=max(waits, default=0.0), at=at)
    for tree in [tree for tree in trees(involved) if tree.longest >= _NOTEWORTHY_SECONDS][:_ROOTS]:
        labels = Labels(
            datname=tree.root.datname or tree.victims[0].datname,
            pid=str(tree.root.pid),
            usename=tree.root.usename,
            application_name=tree.root.application_name,
            state=tree.root.state,
        )
        yield Sample(name=declared.ROOT_VICTIMS.name, labels=labels, value=len(tree.victims), at=at)
        yield Sample(name=declared.ROOT_SECONDS.name, labels=labels, value=tree.longest, at=at)
