"""What each source shows and what it hides: labels, staleness and blindness of polls.

Every sample gets `job` (the collector's name) and the labels of its settings. A series that a good poll no longer
yields has ended, and is marked stale as Prometheus does after a scrape. A series that a poll could not see has not
ended: it is left alone, and a BlindSpot tells the rules that its absence means nothing. Before a source's first poll
since boot everything it declares is hidden, so that a restart resolves nothing that it has not looked at. So it is
when the last poll is older than it can be while all is well: the machine slept, the process was stopped, or the clock
was set forward, and what the polls before it showed would else count as gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tocsin.model import METRIC_NAME, NO_LABELS, STALE, BlindSpot, Labels, Sample, Seconds
from tocsin.ports import CollectorSettings, CollectorSpec
from tocsin.runtime.polling import Poll

OWN: Final = "tocsin_collector_"
"""What this module itself says of each source begins so."""
NOT_YET: Final = "not polled since the start"
_ABOUT: Final = frozenset(
    f"{OWN}{name}" for name in ("up", "duration_seconds", "samples", "last_success_timestamp_seconds")
)
_GRACE: Final[Seconds] = 10.0
"""How late a poll may be on a busy machine."""

Key = tuple[str, Labels]


@dataclass
class Source:
    """The memory of one collector's polls."""

    name: str
    labels: Labels
    """Added to every series: job, and what the settings say."""
    declared: frozenset[str]
    foreign: frozenset[str]
    """For an open-ended collector: names that rules read and nobody declares; they may be its."""
    patience: Seconds
    """How old its last poll may be: an interval, what a poll may take, and some grace."""
    spots: tuple[BlindSpot, ...] = ()
    seen_at: datetime | None = None
    """When its last poll began; None before the first."""
    alive: set[Key] = field(default_factory=set)
    """Series that the last polls yielded, or may still yield where they could not be seen."""
    _poll: set[Key] = field(default_factory=set)
    """What the running poll has yielded so far."""
    _merged: dict[Labels, Labels] = field(default_factory=dict)

    def remember(self, series: Iterable[Labels]) -> None:
        """Series that were stored before a restart: the first good poll ends those that it no longer yields.

        Without it a failure that was mended while the daemon was down would be believed for another five minutes.
        """
        self.alive.update(
            (labels[METRIC_NAME], labels.without(METRIC_NAME))
            for labels in series
            if not labels[METRIC_NAME].startswith(OWN)
        )

    def take(self, poll: Poll) -> list[Sample]:
        """A poll's samples as they are stored; after its last part also the end of what has vanished."""
        # Not dataclasses.replace, which takes four times as long: this is every sample of every poll.
        samples = [
            Sample(
                name=sample.name, labels=self._labelled(sample.labels), value=sample.value, at=sample.at,
                created=sample.created,
            )
            for sample in poll.samples
        ]  # fmt: skip
        self._poll.update((sample.name, sample.labels) for sample in samples)
        if not poll.last:
            return samples
        self.seen_at = poll.at
        yielded, self._poll = self._poll, set()
        self.spots = self._spots(poll, frozenset(name for name, _ in yielded))
        vanished = self.alive - yielded
        is_hidden = _Hidden(self.spots)
        hidden = {key for key in vanished if is_hidden(key)}
        self.alive = yielded | hidden
        ended = vanished - hidden
        samples.extend(Sample(name=name, labels=labels, value=STALE, at=poll.at) for name, labels in ended)
        samples.extend(self._about(poll, len(yielded)))
        return samples

    def hidden(self, now: datetime) -> tuple[BlindSpot, ...]:
        """What can't be known of it at `now`."""
        if self.seen_at is None or (now - self.seen_at).total_seconds() <= self.patience:
            return self.spots
        metrics = self.declared | self.foreign | _ABOUT | {name for name, _ in self.alive}
        why = f"not polled since {self.seen_at:%Y-%m-%d %H:%M:%S} UTC"
        labels = Labels(job=self.name)
        return *self.spots, BlindSpot(source=self.name, why=why, since=self.seen_at, metrics=metrics, labels=labels)

    def _labelled(self, labels: Labels) -> Labels:
        merged = self._merged.get(labels)
        if merged is None:
            if len(self._merged) > 100_000:  # label sets that come and go for months
                self._merged.clear()
            # What the collector says wins over the settings, and `job` is always ours.
            merged = self._merged[labels] = Labels({**self.labels, **labels, "job": self.labels["job"]})
        return merged

    def _spots(self, poll: Poll, yielded: frozenset[str]) -> tuple[BlindSpot, ...]:
        earlier = {(spot.labels, spot.metrics): spot.since for spot in self.spots}
        first = {spot.labels: spot.since for spot in self.spots if spot.why != NOT_YET}
        known = self.declared | self.foreign | ({name for name, _ in self.alive} if poll.blind else frozenset())
        spots = []
        for blind in poll.blind:
            labels = blind.labels.with_(job=self.name)
            # With labels it is one target of several: the others may well have yielded the same names.
            metrics = blind.metrics or (known if blind.labels else known - yielded)
            began = earlier.get((labels, metrics)) or first.get(labels) or poll.at
            spots.append(BlindSpot(source=self.name, why=blind.why, since=began, metrics=metrics, labels=labels))
        return tuple(spots)

    def _about(self, poll: Poll, count: int) -> Iterable[Sample]:
        labels = self._labelled(NO_LABELS)
        seen = not self.spots
        yield Sample(name="tocsin_collector_up", labels=labels, value=float(seen), at=poll.at)
        yield Sample(name="tocsin_collector_duration_seconds", labels=labels, value=poll.took, at=poll.at)
        yield Sample(name="tocsin_collector_samples", labels=labels, value=float(count), at=poll.at)
        if seen:
            name = "tocsin_collector_last_success_timestamp_seconds"
            yield Sample(name=name, labels=labels, value=poll.at.timestamp(), at=poll.at)


def new_source(settings: CollectorSettings, spec: CollectorSpec, *, foreign: frozenset[str], now: datetime) -> Source:
    """A source that has not been polled yet: all it declares is hidden."""
    declared = frozenset(name for metric in spec.metrics for name in metric.series_names())
    labels = Labels({**settings.labels, "job": settings.name})
    source = Source(
        name=settings.name, labels=labels, declared=declared, foreign=foreign if spec.open_ended else frozenset(),
        patience=settings.interval + settings.time_limit + _GRACE,
    )  # fmt: skip
    hidden = declared | source.foreign
    source.spots = (
        BlindSpot(source=settings.name, why=NOT_YET, since=now, metrics=hidden, labels=Labels(job=settings.name)),
    )
    return source


class _Hidden:
    """Whether a series is one that could not be seen. Looked up by the labels of the spots: a thousand targets may be
    out of sight at once, and have series by the ten thousand."""

    def __init__(self, spots: Iterable[BlindSpot]) -> None:
        self._by: dict[tuple[str, ...], dict[tuple[str | None, ...], list[BlindSpot]]] = {}
        """The names of a spot's labels → their values → the spots with them."""
        for spot in spots:
            self._by.setdefault(tuple(spot.labels), {}).setdefault(tuple(spot.labels.values()), []).append(spot)

    def __call__(self, key: Key) -> bool:
        name, labels = key
        for names, spots in self._by.items():
            values = tuple(labels.get(each) for each in names)
            # A series without such a label may be the spot's, whatever value it has there.
            near = spots.get(values, ()) if None not in values else [one for many in spots.values() for one in many]
            if any(name in spot.metrics and spot.may_concern(labels) for spot in near):
                return True
        return False


def blind_spots(sources: Mapping[str, Source], now: datetime) -> tuple[BlindSpot, ...]:
    """Everything that is hidden at `now`."""
    return tuple(spot for source in sources.values() for spot in source.hidden(now))
