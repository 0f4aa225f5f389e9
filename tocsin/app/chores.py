"""What is done every second: what time brings, what people asked for, and what waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tocsin.errors import StateError
from tocsin.model import Seconds
from tocsin.ports import Clock, Inlet
from tocsin.runtime.external import TooMany, posted_of
from tocsin.runtime.pipeline import Pipeline
from tocsin.runtime.response import RESPONSE_EVERY, measure_response
from tocsin.state import State
from tocsin.state.account import UNACCOUNTED, balance
from tocsin.state.allowlist import AllowlistTable
from tocsin.state.inbox import Inbox
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

OUTBOX_EVERY: Final = 5
ACCOUNT_EVERY: Final = 60
"""Ticks between two looks at what waits in the outbox, for the gauges."""
PRUNE_EVERY: Final = 3600


@dataclass(kw_only=True)
class Chores:
    """Call `tick` once a second."""

    state: State
    pipeline: Pipeline
    inbox: Inbox
    clock: Clock
    telemetry: Telemetry
    history: Callable[[], Seconds]
    """How long what has ended is kept."""
    inlets: Callable[[], Mapping[str, Inlet]] = dict
    """Where events are pushed to collectors, by the collector's name."""
    _ticks: int = 0
    _state_seen: int = field(default=0)

    async def tick(self) -> None:
        """Nothing that the state store says ends it."""
        await self.pipeline.tick()
        self._ticks += 1
        try:
            if self.pipeline.leads and self._may_have_been_asked():
                await self.inbox.serve(self.pipeline.act, self.clock.now(), receive=self._receive, push=self._push)
            if self._ticks % OUTBOX_EVERY == 0:
                await self._measure_outbox()
            if self._ticks % ACCOUNT_EVERY == OUTBOX_EVERY:
                await self._measure_account()
                await self._measure_audit()
            if self._ticks % RESPONSE_EVERY == OUTBOX_EVERY:
                await measure_response(self.state, self.pipeline.book, self.telemetry, self.clock.now())
            if self.pipeline.leads and self._ticks % PRUNE_EVERY == ACCOUNT_EVERY:
                await self._prune()
        except StateError as error:
            logger().warning("state.not_asked", error=str(error))

    async def _prune(self) -> None:
        before = self.clock.now() - timedelta(seconds=self.history())
        gone = await self.state.prune(before)
        if gone:
            logger().info("state.pruned", incidents=gone, before=before.isoformat())

    async def _receive(self, documents: Sequence[Mapping[str, Any]]) -> None:
        try:
            await self.pipeline.receive([posted_of(each) for each in documents])
        except TooMany as error:
            logger().error("alerts.not_taken", alerts=len(documents), error=str(error))

    async def _push(self, collector: str, body: bytes) -> None:
        inlet = self.inlets().get(collector)
        try:
            if inlet is None:
                raise ValueError("there is no such collector here")
            await inlet.take(body)
        except (ValueError, OSError) as error:
            logger().error("events.not_taken", collector=collector, bytes=len(body), error=str(error))

    def _may_have_been_asked(self) -> bool:
        """False when nobody has written to SQLite's files since the last look: idle, a look costs one stat."""
        if (file := self.state.file) is None:
            return True
        seen, self._state_seen = self._state_seen, _touched(file.with_name(file.name + "-wal"))
        return seen != self._state_seen or not seen

    async def _measure_outbox(self) -> None:
        for entry in await self.state.outbox.waiting(self.clock.now()):
            oldest = (self.clock.now() - entry.oldest).total_seconds() if entry.oldest is not None else 0.0
            self.telemetry.outbox.labels(entry.notifier).set(entry.count)
            self.telemetry.outbox_age.labels(entry.notifier).set(max(0.0, oldest))
            self.telemetry.dead_letters.labels(entry.notifier).set(entry.dead)

    async def _measure_account(self) -> None:
        account = await balance(self.state, self.clock.now())
        self.telemetry.account.clear()
        for outcome, pairs in account.outcomes.items():
            self.telemetry.account.labels(outcome).set(pairs)
        self.telemetry.unaccounted.set(account.outcomes.get(UNACCOUNTED, 0))
        if not account.balances:
            logger().error("account.unbalanced", account=account.text(), lost=[f"{i} at {n}" for i, n in account.lost])

    async def _measure_audit(self) -> None:
        newest = await AllowlistTable(self.state).audit(limit=1)
        self.telemetry.audit_entries.labels("allowlist").set(newest[0].seq if newest else 0)


def _touched(file: Path) -> int:
    """When the file was written last, in nanoseconds; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
