"""The dependencies collector: scans in the background, and repeats the last scan at every poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

from pydantic import BaseModel, ValidationError

from collectors.dependencies.declarations import UP
from collectors.dependencies.report import Report, samples_of
from collectors.dependencies.scan import Scanner
from collectors.dependencies.settings import DependenciesSettings
from tocsin.errors import CollectError
from tocsin.model import Blind, Labels, Sample, Seconds
from tocsin.ports import CollectorContext
from tocsin.tasks import end_tasks


class _Memory(BaseModel):
    """What is kept across restarts: the last report of each source."""

    reports: dict[str, Report] = {}


class DependenciesCollector:
    """Scans `settings.sources`, one at a time: an audit is no reason to take a second core."""

    def __init__(self, settings: DependenciesSettings, context: CollectorContext) -> None:
        self._settings = settings
        self._context = context
        self._scanner = Scanner(osv_url=settings.osv_url, deadline=settings.scan_deadline, folder=context.folder)
        self._memory: _Memory | None = None
        self._failed: dict[str, tuple[Seconds, str]] = {}
        """When the last try failed, and why; gone when one succeeds."""
        self._scan: asyncio.Task[None] | None = None

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """The last scan of each source; a scan that is due begins in the background."""
        memory = await self._remembered()
        self._begin(memory, at.timestamp())
        for source in self._settings.sources:
            report, failed = memory.reports.get(source.name), self._failed.get(source.name)
            labels = Labels(source=source.name)
            if failed is not None:
                yield Sample(name=UP.name, labels=labels, value=0.0, at=at)
            elif report is not None:
                yield Sample(name=UP.name, labels=labels, value=1.0, at=at)
            if report is None and failed is not None:
                # With an older report its findings stand, with their date: only a source never scanned is unseen.
                yield Blind(why=failed[1], labels=labels)
            elif report is not None:
                for sample in samples_of(source.name, report, at, self._settings.max_findings):
                    yield sample

    async def _remembered(self) -> _Memory:
        if self._memory is None:
            blob = await self._context.checkpoint.load()
            self._memory = _Memory()
            # What another version wrote and this one can't read is scanned anew.
            with suppress(ValidationError):
                self._memory = _Memory.model_validate_json(blob) if blob else _Memory()
        return self._memory

    def _begin(self, memory: _Memory, now: Seconds) -> None:
        if self._scan is not None and not self._scan.done():
            return
        for source in self._settings.sources:
            if now >= self._due(memory, source.name, now):
                self._scan = asyncio.create_task(self._scanned(memory, source.name, now))
                return

    def _due(self, memory: _Memory, name: str, now: Seconds) -> Seconds:
        if name in self._failed:
            return self._failed[name][0] + self._settings.retry
        report = memory.reports.get(name)
        # A report from the future (the clock was set back) is none to wait for.
        return report.as_of + self._settings.every if report is not None and report.as_of <= now else now

    async def _scanned(self, memory: _Memory, name: str, now: Seconds) -> None:
        source = next(source for source in self._settings.sources if source.name == name)
        try:
            report = await self._scanner.scan(source, now)
        except CollectError as error:
            self._failed[name] = (now, str(error))
        except Exception as error:  # noqa: BLE001 (an auditor that changed its report must not end all scans in silence)
            self._failed[name] = (now, f"{name}: {type(error).__name__}: {error}")
        else:
            self._failed.pop(name, None)
            memory.reports[name] = report
            await self._context.checkpoint.save(memory.model_dump_json().encode())
        self._context.poke()

    async def close(self) -> None:
        """End a scan that runs, and its process."""
        if self._scan is not None:
            await end_tasks(self._scan)
            self._scan = None
