"""Counters for many subjects (addresses, factors) in few series: the busiest have their own, the rest is one `other`.

Each hit is counted in exactly one series: a sum of increases over all of them is true. A sum of their present values is
not, for who loses a place takes a count along; ask a counter without the subject for that. Who holds a place keeps it
(series that come and go are of no use to increase()): it is freed by `idle` seconds of quiet, or taken by one that has
more than twice the recent hits of the least busy holder. Recent hits halve every ten minutes. A batch is weighed as a
whole before it is counted: a burst by an address that was never seen before has a place from its first hit on, and
whoever loses a place to it has its hits of this batch in `other`.

Learned from Metwally et al., Efficient Computation of Frequent and Top-k Elements (2005); unlike Space-Saving a
newcomer doesn't inherit the count of whom it replaces, for that would be a burst that never was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from tocsin.model import Seconds, since

Labels = tuple[str, ...]
"""Values of the labels next to the subject's."""
OTHER: Final = "other"
HALF_LIFE: Final[Seconds] = 600.0
MARGIN: Final = 2.0
_CANDIDATES: Final = 4096


@dataclass(slots=True)
class _Place:
    score: float = 0.0
    """Recent hits, as of `touched`."""
    touched: datetime | None = None
    counts: dict[Labels, int] = field(default_factory=dict)
    born: dict[Labels, datetime | None] = field(default_factory=dict)
    """When each count was zero; None for history."""

    def score_at(self, now: datetime) -> float:
        if self.touched is None:
            return 0.0
        return float(self.score * 0.5 ** (since(self.touched, now).total_seconds() / HALF_LIFE))

    def hit(self, hits: Mapping[Labels, int], now: datetime) -> None:
        self.score = self.score_at(now) + sum(hits.values())
        self.touched = now

    def count(self, hits: Mapping[Labels, int], born: datetime | None) -> None:
        for labels, count in hits.items():
            self.born.setdefault(labels, born)
            self.counts[labels] = self.counts.get(labels, 0) + count


@dataclass(frozen=True, slots=True)
class Count:
    """One series: `subject` and the other labels' values, its count, and when it was zero."""

    subject: str
    labels: Labels
    count: int
    born: datetime | None


class Top:
    """Counts by subject, `places` of them apart."""

    def __init__(self, places: int, idle: Seconds) -> None:
        self._limit = places
        self._idle = idle
        self._places: dict[str, _Place] = {}
        self._candidates: dict[str, _Place] = {}
        """Whom no place was given, with their scores only."""
        self._other = _Place()

    def take(self, batch: Mapping[str, Mapping[Labels, int]], now: datetime, born: datetime | None) -> None:
        """Count a poll's hits. A label set that is new was zero at `born`."""
        for subject, place in list(self._places.items()):
            quiet = since(place.touched, now).total_seconds() if place.touched else 0.0
            if quiet > self._idle and subject not in batch:
                del self._places[subject]
        for subject in batch.keys() & self._places.keys():
            self._places[subject].hit(batch[subject], now)
        newcomers = sorted(batch.keys() - self._places.keys(), key=lambda subject: (-_total(batch[subject]), subject))
        floor = self._floor(now)
        for subject in newcomers:
            candidate = self._candidates.pop(subject, None) or _Place()
            candidate.hit(batch[subject], now)
            if candidate.score > MARGIN * floor:
                self._admit(subject, candidate, now)
                floor = self._floor(now)
            else:
                self._candidates[subject] = candidate
        # Only now, for a newcomer may have taken the place of one that is in this batch too.
        for subject, hits in batch.items():
            self._places.get(subject, self._other).count(hits, born)
        self._forget(now)

    def __contains__(self, subject: str) -> bool:
        """Whether it has a place."""
        return subject in self._places

    def _floor(self, now: datetime) -> float:
        """The least score that holds a place; 0 while one is free."""
        if len(self._places) < self._limit:
            return 0.0
        return min((place.score_at(now) for place in self._places.values()), default=0.0)

    def _admit(self, subject: str, place: _Place, now: datetime) -> None:
        if len(self._places) >= self._limit:
            del self._places[min(self._places, key=lambda held: self._places[held].score_at(now))]
        self._places[subject] = place

    def _forget(self, now: datetime) -> None:
        if len(self._candidates) > _CANDIDATES:
            best = sorted(self._candidates.items(), key=lambda item: -item[1].score_at(now))[: _CANDIDATES // 2]
            self._candidates = dict(best)

    def __iter__(self) -> Iterator[Count]:
        for subject, place in (*self._places.items(), (OTHER, self._other)):
            for labels, count in place.counts.items():
                yield Count(subject, labels, count, place.born[labels])

    def to_json(self) -> list[Any]:
        """Candidates are left out: a restart costs them their head start, not their counts."""
        return [
            [subject, place.score, _text(place.touched), [[*labels], count, _text(place.born[labels])]]
            for subject, place in (*self._places.items(), (OTHER, self._other))
            for labels, count in place.counts.items()
        ]

    def load(self, rows: list[Any]) -> None:
        """What `to_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        for subject, score, touched, (labels, count, born) in rows:
            if subject == OTHER:
                place = self._other
            elif subject in self._places or len(self._places) < self._limit:
                place = self._places.setdefault(subject, _Place())
            else:
                place = self._other  # top_ips was lowered: what had a place is counted on with the rest
            if place is not self._other:
                place.score, place.touched = float(score), _time(touched)
            key = tuple(str(label) for label in labels)
            place.counts[key] = place.counts.get(key, 0) + int(count)
            place.born[key] = _time(born)


def _total(hits: Mapping[Labels, int]) -> int:
    return sum(hits.values())


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None
