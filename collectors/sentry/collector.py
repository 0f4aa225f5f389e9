"""The sentry collector: tells at each poll what came in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from collectors.sentry.inlet import counts_of
from collectors.sentry.settings import SentrySettings
from tocsin.model import Blind, Sample
from tocsin.ports import CollectorContext


class SentryCollector:
    """Reads the counts of the inlet of its name."""

    def __init__(self, settings: SentrySettings, context: CollectorContext) -> None:
        self._counts = counts_of(settings, context.folder)
        self._interval = timedelta(seconds=settings.interval)
        self._before: datetime | None = None

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """Every count at `at`."""
        before = self._before or at - self._interval
        self._before = at
        for sample in self._counts.samples(at, before):
            yield sample

    async def close(self) -> None:
        """There is nothing to close."""
