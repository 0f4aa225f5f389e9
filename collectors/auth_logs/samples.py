"""Counts as samples, and times as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from tocsin.model import Labels, Metric, Sample


def counted(metric: Metric, values: tuple[str, ...], count: int, at: datetime, born: datetime | None) -> Sample:
    """A counter that was zero at `born`."""
    return Sample(name=metric.name, labels=labels_of(metric.labels, values), value=float(count), at=at, created=born)


def gauge(metric: Metric, values: tuple[str, ...], value: float, at: datetime) -> Sample:
    return Sample(name=metric.name, labels=labels_of(metric.labels, values), value=float(value), at=at)


def from_zero(
    metric: Metric,
    values: tuple[str, ...],
    count: int,
    at: datetime,
    born: datetime | None,
    polled_before: datetime | None,
) -> Iterator[Sample]:
    """A subject that lost its place and got one again counts from zero in a series that the store knows: the zero is
    said when it is new, or increase() would see only what lies above the old count."""
    if born is not None and born == polled_before and born < at:
        yield counted(metric, values, 0, born, None)
    yield counted(metric, values, count, at, born)


@lru_cache(maxsize=16_384)
def labels_of(names: tuple[str, ...], values: tuple[str, ...]) -> Labels:
    return Labels(dict(zip(names, values, strict=True)))


def iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def time_of(text: str | None) -> datetime | None:
    """What `iso` gave. Raises ValueError or TypeError for anything else."""
    return datetime.fromisoformat(text) if text is not None else None
