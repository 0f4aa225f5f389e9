"""The Postgres collector: a round of readings for each poll, and a watcher between polls.

The round is a task of its own, since a poll may be shorter than what one statement may take: the poll tells what has
been read by its end, and the round goes on under its own deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import psycopg

from collectors.postgres import blocking, declared, doctor
from collectors.postgres.groups import load_groups, statement
from collectors.postgres.link import Link
from collectors.postgres.proof import Proof
from collectors.postgres.reader import Reader, gap_names, refusal
from collectors.postgres.settings import PostgresSettings
from collectors.postgres.slow import SlowQueries
from collectors.postgres.state import State, Unreachable
from collectors.postgres.watcher import Watcher
from tocsin.model import Blind, Labels, Sample, Seconds
from tocsin.ports import CollectorContext
from tocsin.tasks import end_tasks

_FIRST_WITH_WAITSTART: Final = 14
_PROBE_INTERVAL: Final = 300.0
"""Grants and extensions change rarely."""
_GRACE: Final = 0.25
_ROUND_SHARE: Final = 0.5
"""A poll that was poked for sooner than this part of the interval after a round tells what that round read."""


class PostgresCollector:
    """One server. See the package's docstring for what it yields."""

    def __init__(self, settings: PostgresSettings, context: CollectorContext) -> None:
        self._settings = settings
        self._context = context
        self._groups = load_groups()
        self._link = Link(settings, context.folder, None, changed=context.poke)
        self._slow = SlowQueries(threshold=settings.slow_query_seconds, exclude_roles=settings.exclude_roles)
        self._watcher = Watcher(self._link, self._slow, interval=settings.look_interval, poke=context.poke)
        self._reader = Reader(self._link, self._groups)
        per_database = [group for group in self._groups if group.per_database]
        self._others = {
            name: Reader(Link(settings, context.folder, name, changed=lambda: None), per_database, label=name)
            for name in settings.databases
        }
        self._proof = Proof(settings, self._link, self._slow, self._watcher)
        self._round: asyncio.Task[None] | None = None
        self._finished = float("-inf")
        self._opened = 0
        self._facts: doctor.Facts | None = None
        self._facts_due = 0.0
        self._gaps: tuple[doctor.Gap, ...] = ()
        self._in_recovery = False
        self._blocked: tuple[blocking.Session, ...] | None = None
        self._blocked_why = ""
        self._why_unread = ""
        self._why_other: dict[str, str] = {}
        self._last_poll: datetime | None = None
        self._begun: datetime | None = None

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """What is seen at `at`. Ends before the poll's deadline, whatever the server does."""
        self._begun = self._begun or at
        self._watcher.start()
        await self._take_round(at)
        before = self._last_poll or at - timedelta(seconds=self._settings.interval)
        self._last_poll = at
        for told in self._report(at, before):
            yield told

    async def close(self) -> None:
        """End the tasks and the sessions."""
        await self._watcher.stop()
        if self._round is not None:
            await end_tasks(self._round)
        for link in self._links():
            await link.close()

    def _links(self) -> tuple[Link, ...]:
        return (self._link, *(reader.link for reader in self._others.values()))

    # The round -----------------------------------------------------------------------------------------------------

    async def _take_round(self, at: datetime) -> None:
        """Run a round, or wait for the one under way, as long as the poll has time."""
        loop = asyncio.get_running_loop()
        limit = self._settings.time_limit
        self._end_round()
        age = loop.time() - self._finished
        same_session = self._link.is_open and self._opened == self._link.session.opened
        news, self._watcher.news = self._watcher.news, False
        if same_session and news and age < self._settings.interval:
            return  # what we were woken for is known already; the rest is as of the poll before
        if self._round is None:
            if same_session and age < self._settings.interval * _ROUND_SHARE:
                return
            self._round = loop.create_task(self._run_round(at))
        await self._wait_for(self._round, max(limit - min(0.5, limit * 0.15), 0.05))
        self._end_round()

    async def _wait_for(self, round_: asyncio.Task[None], limit: Seconds) -> None:
        """Until the round is over, the poll's time is up, or it is known that there is no server to wait for."""
        gone = asyncio.get_running_loop().create_task(self._link.lost.wait())
        try:
            await asyncio.wait({round_, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not round_.done():
                await asyncio.wait({round_}, timeout=min(_GRACE, limit))  # it may be back this very moment
        finally:
            gone.cancel()

    def _end_round(self) -> None:
        """Take note of a round that is over. Raises what broke it, if anything did."""
        if self._round is not None and self._round.done():
            task, self._round = self._round, None
            self._finished = asyncio.get_running_loop().time()
            task.result()

    async def _run_round(self, at: datetime) -> None:
        try:
            await self._link.ensure(eager=True)
            if self._opened != self._link.session.opened:
                self._begin_session()
            await self._probe()
            await self._read_home(at)
            self._why_unread = ""
        except Unreachable:
            return  # the link knows the state, and the report tells it
        except psycopg.Error as error:
            self._why_unread = refusal(error, "capabilities")
        for name, reader in self._others.items():
            await self._read_other(name, reader, at)

    def _begin_session(self) -> None:
        self._opened = self._link.session.opened
        self._facts_due = 0.0
        self._facts = None
        self._reader.forget()
        self._proof.forget()
        self._blocked = None

    async def _probe(self) -> None:
        """What the role may see. Asked when the session is new, and now and then: grants change."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._facts_due:
            return
        answer = await self._link.fetch("capabilities", statement("capabilities"))
        self._facts = answer.records()[0]
        self._gaps = doctor.gaps(self._facts, self._link.session.version)
        self._facts_due = loop.time() + _PROBE_INTERVAL

    async def _read_home(self, at: datetime) -> None:
        by_name = {group.name: group for group in self._groups}
        server = await self._reader.read(by_name["server"], at)
        self._in_recovery = _value(server.columns, server.rows, "pg_replication_is_replica") == 1
        connections = await self._reader.read(by_name["connections"], at)
        used = _value(connections.columns, connections.rows, "tocsin_pg_connections_used")
        available = _value(connections.columns, connections.rows, "tocsin_pg_connections_available")
        if used is not None and available is not None and used >= available:
            self._link.note(State.SATURATED, f"{used:g} of {available:g} slots for ordinary roles are taken")
        else:
            self._link.note(State.IN_RECOVERY if self._in_recovery else State.UP)
        hidden = gap_names(self._gaps)
        if doctor.ACTIVITY not in hidden:
            await self._watcher.look()
            await self._read_blocking()
        assert self._facts is not None
        if doctor.STATEMENTS not in hidden:
            await self._proof.read_if_due(at, self._facts)
        else:
            self._slow.forget_ended()
        await self._reader.read_due(at, in_recovery=self._in_recovery, hidden=hidden)

    async def _read_blocking(self) -> None:
        waitstart = "min(waitstart)" if self._link.session.version >= _FIRST_WITH_WAITSTART else "null::timestamptz"
        try:
            answer = await self._link.fetch("blocking", statement("blocking").format(waitstart=waitstart))
        except psycopg.Error as error:
            self._blocked, self._blocked_why = None, refusal(error, "blocking")
            return
        self._blocked, self._blocked_why = blocking.sessions(answer.records()), ""

    async def _read_other(self, name: str, reader: Reader, at: datetime) -> None:
        try:
            await reader.link.ensure(eager=True)
            await reader.read_due(at, in_recovery=self._in_recovery)
        except Unreachable as error:
            self._why_other[name] = f"database {name}: {error}"
        else:
            self._why_other.pop(name, None)

    # The report ----------------------------------------------------------------------------------------------------

    def _report(self, at: datetime, before: datetime) -> Iterator[Sample | Blind]:
        yield from self._always(at)
        if not self._link.is_open or self._facts is None:
            why = self._link.why or self._why_unread or "the first round is under way"
            yield Blind(why=f"{self._link.state.value.replace('_', ' ')}: {why}")
            return
        hidden = gap_names(self._gaps)
        yield from doctor.samples(self._gaps, at)
        yield from doctor.blind_spots(self._gaps, self._groups)
        yield from self._own_cost(at)
        if doctor.ACTIVITY not in hidden:
            yield from self._report_sessions(at, before)
        if doctor.STATEMENTS not in hidden:
            yield from self._proof.report(at, before)
        yield from self._reader.report(at, in_recovery=self._in_recovery, hidden=hidden)
        for name, reader in self._others.items():
            if name in self._why_other:
                names = frozenset(metric for group in reader.groups for metric in group.names)
                yield Blind(why=self._why_other[name], metrics=names, labels=Labels(datname=name))
            else:
                yield from reader.report(at, in_recovery=self._in_recovery, hidden=frozenset())

    def _always(self, at: datetime) -> Iterator[Sample]:
        state = self._link.state
        if state is not State.UNKNOWN:
            yield Sample(name=declared.UP.name, value=int(state.serves), at=at)
        for known in State:
            labels = Labels(state=known.value)
            yield Sample(name=declared.STATE.name, labels=labels, value=int(known is state), at=at)
        yield Sample(name=declared.CONNECTED.name, value=int(self._link.is_open), at=at)
        reopened = max(self._link.session.opened - 1, 0)
        yield Sample(name=declared.RECONNECTS.name, value=reopened, at=at, created=self._begun)
        failed = not self._link.is_open or self._reader.failed() or bool(self._blocked_why or self._proof.why)
        yield Sample(name=declared.SCRAPE_ERROR.name, value=int(failed), at=at)

    def _report_sessions(self, at: datetime, before: datetime) -> Iterator[Sample | Blind]:
        assert self._facts is not None
        home = str(self._facts["database"])
        if self._watcher.failure:
            names = frozenset(metric.name for metric in declared.SLOW_METRICS)
            yield Blind(why=f"pg_stat_activity: {self._watcher.failure}", metrics=names)
        else:
            yield from self._slow.samples(at, before, home)
        if self._blocked is None:
            names = frozenset(metric.name for metric in declared.BLOCKING_METRICS)
            yield Blind(why=self._blocked_why or "blocking: not read yet", metrics=names)
        else:
            yield from blocking.samples(self._blocked, home, (), at)

    def _own_cost(self, at: datetime) -> Iterator[Sample]:
        yield Sample(name=declared.POOLED.name, value=int(self._link.session.pooled), at=at)
        for group, micros in self._link.spent.items():
            labels = Labels(group=group)
            yield Sample(
                name=declared.OWN_TIME.name, labels=labels, value=micros / 1_000_000, at=at, created=self._begun
            )
            yield Sample(
                name=declared.OWN_CALLS.name, labels=labels, value=self._link.calls[group], at=at, created=self._begun
            )


def _value(columns: Sequence[str], rows: Sequence[Sequence[object]], name: str) -> Seconds | None:
    """One figure of a one-row answer; None where the group was refused."""
    if not rows or name not in columns:
        return None
    found = rows[0][list(columns).index(name)]
    return float(found) if isinstance(found, (int, float)) else None
