"""What was read of a target as samples, and what is remembered of it from scrape to scrape. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from collectors.scrape.parse import Exposition, Known, Parser
from collectors.scrape.settings import Target
from tocsin.model import Labels, Sample, Seconds, utc

_FUTURE: Final = timedelta(minutes=10)
"""A timestamp later than this would keep every later sample of its series out. Source: prometheus scrape.go."""


class TargetState:
    """What is remembered of a target from scrape to scrape."""

    def __init__(self, target: Target, from_zero: bool) -> None:
        self.target = target
        self.parser = Parser(self._stored)
        self.names: set[str] = set()
        """Metrics of the last good scrape."""
        self.dropped = 0
        self._from_zero = from_zero
        self._scrapes = 0
        """Good ones."""
        self._last: datetime | None = None
        self._announced: set[str] = set()
        self._own = {**target.labels, "instance": target.instance}

    def samples(self, exposition: Exposition, at: datetime) -> Iterator[Sample]:
        """A good scrape as samples. Finish it: what is new in the next scrape is told by this one."""
        created = {known.group: value for known, value, _ in exposition.rows if known.tells_created}
        self._scrapes += 1
        self.dropped = 0
        names: set[str] = set()
        for known, value, stamp in exposition.rows:
            if known.tells_created:
                continue
            names.add(known.name)
            if known.rises:
                self._note_birth(known, created, at)
            known.seen = self._scrapes
            when = self._time(stamp, at)
            if when is None:
                self.dropped += 1
            else:
                yield Sample(name=known.name, labels=known.labels, value=value, at=when, created=known.born)
        self.names, self._last, self._announced = names, at, exposition.announced
        self.parser.forget(self._scrapes)

    def _note_birth(self, known: Known, created: Mapping[tuple[str, Labels], Seconds], at: datetime) -> None:
        if (told := created.get(known.group)) is not None:
            known.born = _moment(told, at)
        elif known.seen == 0 and self._from_zero and known.family in self._announced:
            # A label set that the last good scrape did not show was at zero then. A metric that is new as a whole is
            # not: an exporter that could not reach its source shows nothing, and then totals of years.
            known.born = self._last

    def _time(self, stamp: Seconds | None, at: datetime) -> datetime | None:
        if stamp is None or not self.target.honor_timestamps:
            return at
        return _moment(stamp, at + _FUTURE)

    def _stored(self, exposed: Mapping[str, str]) -> Labels:
        """The target's labels and the exposed ones. Prometheus' rule: the loser of a clash is kept as `exported_…`.

        `job` is always the collector's: its polls, and what is blind of them, are told apart by it.
        """
        stored = dict(exposed)
        for name in sorted(exposed):
            if name == "job" or (name in self._own and not self.target.honor_labels):
                renamed = f"exported_{name}"
                while renamed in stored or renamed in self._own:
                    renamed = f"exported_{renamed}"
                stored[renamed] = stored.pop(name)
        return Labels({**self._own, **stored})

    def report(self, at: datetime, *, up: bool, took: Seconds, scraped: int = 0) -> Iterator[Sample]:
        """The series that Prometheus adds to every scrape."""
        yield self.sample("up", 1.0 if up else 0.0, at)
        yield self.sample("scrape_duration_seconds", took, at)
        yield self.sample("scrape_samples_scraped", float(scraped), at)

    def sample(self, name: str, value: float, at: datetime) -> Sample:
        return Sample(name=name, labels=Labels(self._own), value=value, at=at)


def _moment(seconds: Seconds, latest: datetime) -> datetime | None:
    """A time a target told; None for one that lies after `latest` or in no calendar."""
    try:
        when = utc(seconds)
    except (ValueError, OverflowError, OSError):
        return None
    return when if when <= latest else None
