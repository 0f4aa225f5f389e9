"""What came in, counted; every label is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from collectors.sentry.declarations import ENVELOPES, ERRORS, EVENTS, LAST_EVENT, OCCURRENCES
from collectors.sentry.envelope import FAILURES, Event
from tocsin.model import Labels, Metric, Sample, Seconds

OTHER: Final = "other"
MOST_FINGERPRINTS: Final = 200
MOST_ENVIRONMENTS: Final = 10

_Key = tuple[Metric, Labels]


class Counts:
    """Of one project, since the daemon's start."""

    def __init__(self) -> None:
        self._counts: dict[_Key, int] = {}
        self._since: dict[_Key, datetime] = {}
        """When a series was zero: at the poll before the one that tells it first."""
        self._fingerprints: set[str] = set()
        self._environments: set[str] = set()
        self._last: Seconds | None = None

    def add(self, events: tuple[Event, ...], at: Seconds) -> None:
        """An envelope that could be read."""
        self._rise(ENVELOPES, outcome="event" if events else "other")
        for event in events:
            self._last = at
            environment = _bounded(event.environment, self._environments, MOST_ENVIRONMENTS)
            self._rise(EVENTS, level=event.level, environment=environment)
            if event.level in FAILURES:
                self._rise(ERRORS, category=event.category, environment=environment)
            if event.fingerprint:
                fingerprint = _bounded(event.fingerprint, self._fingerprints, MOST_FINGERPRINTS)
                known = fingerprint != OTHER
                self._rise(
                    OCCURRENCES,
                    category=event.category,
                    fingerprint=fingerprint,
                    type=event.type if known else OTHER,
                    where=event.where if known else OTHER,
                )

    def add_broken(self) -> None:
        """An envelope that could not."""
        self._rise(ENVELOPES, outcome="broken")

    def samples(self, at: datetime, before: datetime) -> Iterator[Sample]:
        """All of them at `at`; what is told for the first time was zero at `before`, the poll before."""
        for key, count in self._counts.items():
            metric, labels = key
            since = self._since.setdefault(key, before)
            yield Sample(name=metric.name, labels=labels, value=float(count), at=at, created=since)
        if self._last is not None:
            yield Sample(name=LAST_EVENT.name, value=self._last, at=at)

    def _rise(self, metric: Metric, **labels: str) -> None:
        key = (metric, Labels(**labels))
        self._counts[key] = self._counts.get(key, 0) + 1


def _bounded(value: str, known: set[str], most: int) -> str:
    if value in known:
        return value
    if len(known) >= most:
        return OTHER
    known.add(value)
    return value
