"""Asks pg_stat_statements, every `statements_interval`, what it proves about slow queries and what costs most."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import psycopg

from collectors.postgres import declared
from collectors.postgres.doctor import Facts
from collectors.postgres.groups import OUR_MARK, statement
from collectors.postgres.link import Link
from collectors.postgres.reader import refusal
from collectors.postgres.settings import PostgresSettings
from collectors.postgres.slow import Key, SlowQueries, Suspect
from collectors.postgres.statements import Costliest, Snapshot, columns_for, snapshot, suspects
from collectors.postgres.watcher import Watcher
from tocsin.model import Blind, Sample

GROUP: Final = "statements"
_NO_QUERY: Final = ("copy", "vacuum", "analyze", "create index", "reindex", "cluster", "refresh materialized")
"""Maintenance and backups, which a background worker or pg_dump runs: long by nature."""
_FIRST_WITH_DEALLOC: Final = 14


class Proof:
    """The snapshots, and the verdicts between two of them."""

    def __init__(self, settings: PostgresSettings, link: Link, slow: SlowQueries, watcher: Watcher) -> None:
        self._settings = settings
        self._link = link
        self._slow = slow
        self._watcher = watcher
        self._costliest = Costliest(top=settings.statements_top)
        self._before: Snapshot | None = None
        self._before_at: datetime | None = None
        self._due = 0.0
        self._columns: dict[str, str] = {}
        self._vetted: dict[int, bool] = {}
        self._dealloc: int | None = None
        self.why = ""
        """Why it could not be read; empty when it could."""

    def forget(self) -> None:
        """A new session: probe anew, for another version may answer. The snapshot stays: its figures only grow."""
        self._columns = {}
        self._due = 0.0

    async def read_if_due(self, at: datetime, facts: Facts) -> None:
        """Take a snapshot and judge what happened since the one before. Raises Unreachable."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._due:
            return
        self._due = loop.time() + self._settings.statements_interval * 0.9
        try:
            await self._read(at, facts)
            self.why = ""
        except psycopg.Error as error:
            self.why = refusal(error, GROUP)
            self._columns = {}

    async def _read(self, at: datetime, facts: Facts) -> None:
        schema = facts["statements_schema"]
        if not self._columns:
            literal = "'" + schema.replace("'", "''") + "'"
            probe = await self._link.fetch(GROUP, statement("statements_columns").format(schema_literal=literal))
            self._columns = columns_for([row[0] for row in probe.rows], schema)
        ended = self._slow.ended()
        gapless = self._watcher.take_longest_gap() < self._slow.threshold
        answer = await self._link.fetch(GROUP, statement("statements").format(**self._columns))
        taken = snapshot(answer.records())
        if self._before is not None and self._before_at is not None:
            await self._judge(self._before, taken, gapless=gapless, ended=ended, facts=facts)
            self._costliest.take(self._before, taken, self._before_at)
        self._before, self._before_at = taken, at
        if self._link.session.version >= _FIRST_WITH_DEALLOC:
            info = await self._link.fetch(GROUP, statement("statements_dealloc").format(schema=schema))
            self._dealloc = info.rows[0][0]

    async def _judge(
        self, before: Snapshot, after: Snapshot, *, gapless: bool, ended: frozenset[Key], facts: Facts
    ) -> None:
        known = {identity.queryid for identity in after}
        everything = facts["statements_utility"] and facts["statements_track"] in ("top", "all")
        news = self._slow.compare(
            suspects(before, after, self._settings.slow_query_seconds),
            ended=ended,
            gapless=gapless,
            is_tracked=lambda query_id: everything or query_id in known,
        )
        for suspect in news:
            if await self._is_query(suspect):
                self._slow.count(suspect)

    async def _is_query(self, suspect: Suspect) -> bool:
        """Whether it is a query of the application: neither ours nor maintenance. Its text tells; it is read once."""
        if suspect.query_id not in self._vetted:
            sql = statement("statement_text").format(schema=self._columns["schema"])
            answer = await self._link.fetch(GROUP, sql, (OUR_MARK, suspect.query_id))
            beginning, ours = answer.rows[0] if answer.rows else ("", False)
            maintenance = str(beginning or "").lstrip().lower().startswith(_NO_QUERY)
            self._vetted[suspect.query_id] = not (ours or maintenance)
        return self._vetted[suspect.query_id]

    def report(self, at: datetime, before: datetime) -> Iterator[Sample | Blind]:
        """The series, or why there are none."""
        names = frozenset(metric.name for metric in declared.STATEMENT_METRICS)
        if self.why:
            yield Blind(why=self.why, metrics=names)
            return
        if self._before is None:
            yield Blind(why=f"{GROUP}: not read yet", metrics=names)
            return
        yield Sample(name=declared.PGSS_TRACKED.name, value=len(self._before), at=at)
        if self._dealloc is not None:
            yield Sample(name=declared.PGSS_DEALLOC.name, value=self._dealloc, at=at)
        yield from self._slow.failed_samples(at, before)
        yield from self._costliest.samples(at)
