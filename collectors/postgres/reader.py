"""Reads the metric groups of one database, each when it is due, and keeps what it read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from collectors.postgres import declared
from collectors.postgres.doctor import Gap
from collectors.postgres.groups import Group
from collectors.postgres.link import Link
from collectors.postgres.state import one_line
from tocsin.model import Blind, Labels, Sample, Seconds

_COST_SHARE: Final = 50
"""A group that is slow to read is read less often: all in all it takes a fiftieth of one backend's time at most."""
_EARLY: Final = 0.1
"""Part of its interval by which a group may be read early, so that jitter of the polls does not skip every second."""


_NOTICEABLE: Final = 0.005
"""Below this a group's cost is the round trip's, which says nothing about the server."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What one reading of a group gave: an answer, or why there is none."""

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    why: str = ""
    at: datetime
    taken: float
    """By the loop's clock."""
    seconds: Seconds


def refusal(error: psycopg.Error, group: str) -> str:
    """Why a statement was refused, and what to do about it."""
    text = one_line(str(error))
    advice = {
        "42501": "; mend it with: GRANT pg_monitor TO the role",
        "57014": "; it took longer than query_deadline",
        "55P03": "; it would have had to wait for a lock, which we never do",
    }
    return f"{group}: {text}{advice.get(error.sqlstate or '', '')}"


class Reader:
    """The groups of one database, and what was read of them last."""

    def __init__(self, link: Link, groups: Iterable[Group], *, label: str = "") -> None:
        self.link = link
        self.groups = tuple(groups)
        self._label = label
        self._reads: dict[str, Read] = {}

    def forget(self) -> None:
        """A new session: nothing read in the one before is told again."""
        self._reads.clear()

    def applicable(self, *, in_recovery: bool) -> tuple[Group, ...]:
        version = self.link.session.version
        return tuple(group for group in self.groups if group.runs_on(version, in_recovery=in_recovery))

    async def read_due(self, at: datetime, *, in_recovery: bool, hidden: frozenset[str] = frozenset()) -> None:
        """Read what is due; groups of a `hidden` capability are not asked. Raises Unreachable."""
        for group in self.applicable(in_recovery=in_recovery):
            if group.capability not in hidden and self._is_due(group):
                await self.read(group, at)

    async def read(self, group: Group, at: datetime) -> Read:
        """Read one group now; a refusal is a result. Raises Unreachable."""
        started = asyncio.get_running_loop().time()
        columns: tuple[str, ...] = ()
        rows: Sequence[Sequence[Any]] = ()
        why = ""
        try:
            answer = await self.link.fetch(group.name, group.sql)
            columns, rows = answer.columns, answer.rows
        except psycopg.Error as error:
            why = refusal(error, group.name)
        taken = asyncio.get_running_loop().time()
        read = Read(columns=columns, rows=rows, why=why, at=at, taken=taken, seconds=taken - started)
        self._reads[group.name] = read
        return read

    def _is_due(self, group: Group) -> bool:
        read = self._reads.get(group.name)
        if read is None:
            return True
        age = asyncio.get_running_loop().time() - read.taken
        rest = read.seconds * _COST_SHARE if read.seconds > _NOTICEABLE else 0.0
        return age >= max(group.interval * (1 - _EARLY), rest)

    def failed(self) -> bool:
        """Whether any group's last reading was refused."""
        return any(read.why for read in self._reads.values())

    def report(self, at: datetime, *, in_recovery: bool, hidden: frozenset[str]) -> Iterator[Sample | Blind]:
        """What was read last, as of `at`, and what could not be."""
        narrowed = Labels(datname=self._label) if self._label else Labels()
        for group in self.applicable(in_recovery=in_recovery):
            if group.capability in hidden:
                continue
            read = self._reads.get(group.name)
            if read is None:
                yield Blind(why=f"{group.name}: not read yet", metrics=group.names, labels=narrowed)
            elif read.why:
                yield Blind(why=read.why, metrics=group.names, labels=narrowed)
            else:
                yield from group.samples(read.columns, read.rows, at)
                if not self._label:
                    yield Sample(
                        name=declared.GROUP_AT.name,
                        labels=Labels(group=group.name),
                        value=read.at.timestamp(),
                        at=at,
                    )


def gap_names(gaps: Iterable[Gap]) -> frozenset[str]:
    """The capabilities whose groups are not asked."""
    return frozenset(gap.capability for gap in gaps if gap.blinds)
