"""A poll's samples, sorted out for the tables that take them: by metric and time, those of new series apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.model import Labels, Sample

Key = tuple[str, Labels]
"""A metric and the labels of one of its series."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """Times are in milliseconds."""

    batches: defaultdict[tuple[str, int], tuple[list[int], list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: ([], []))
    )
    """By metric and time: the columns of series that are known, and their values."""
    new: defaultdict[tuple[str, int, int | None], dict[Labels, float]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By metric, time, and the time of a synthetic zero: the first values of new series."""
    later: list[tuple[Key, int, float]] = field(default_factory=list)
    """What comes after those: series, time, value."""
    excess: Counter[str] = field(default_factory=Counter)
    """What there is no room for, by metric."""


def sorted_out(
    samples: Iterable[Sample],
    places: Mapping[Key, int],
    room: int,
    zero_time: Callable[[Sample, int], int | None],
) -> Sorted:
    """What to write where. Nothing is changed: who asks begins the new series.

    `places`: the columns of known series; `room`: how many new ones there may be; `zero_time`: when a new series stood
    at zero, told its first sample and that one's time; None where that is not known.
    """
    found = Sorted()
    batches, new = found.batches, found.new
    pending: set[Key] = set()
    # Samples of a poll mostly come metric by metric and at one time: what is looked up once serves the next.
    when: datetime | None = None
    at = 0
    batch_name: str | None = None
    columns: list[int] = []
    values: list[float] = []
    for sample in samples:
        if sample.at is not when:
            when, batch_name = sample.at, None
            at = round(when.timestamp() * 1000)
        name = sample.name
        key = (name, sample.labels)
        column = places.get(key)
        if column is not None:
            if name != batch_name:
                batch_name = name
                columns, values = batches[name, at]
            columns.append(column)
            values.append(sample.value)
        elif key in pending:
            found.later.append((key, at, sample.value))
        elif len(pending) >= room:
            found.excess[name] += 1
        else:
            pending.add(key)
            new[name, at, zero_time(sample, at)][sample.labels] = sample.value
    return found
