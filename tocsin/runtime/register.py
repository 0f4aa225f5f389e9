"""Which sources and targets are configured, and which were: so that what is taken out of config.yaml, or renamed, ends
as that and not as recovered. Kept in the state store, as the daemon may be down while the file is changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import orjson

from tocsin.errors import StateError
from tocsin.model import METRIC_NAME, STALE, Labels, Matcher, MatchOp, Sample, utc
from tocsin.ports import Checkpoint, CollectorSettings
from tocsin.rules import AllRemoved, Removed
from tocsin.series import Store

NAME: Final = "register of sources"
"""Of its checkpoint: no collector can be called so."""
KEPT: Final = timedelta(days=32)
"""Past that no window of a rule holds samples of what was removed."""
LOOKBACK: Final = timedelta(minutes=5)
"""How long PromQL believes a sample that no newer one follows."""


class Register:
    """What the configuration names, and what it named."""

    def __init__(self, checkpoint: Checkpoint, blob: bytes | None) -> None:
        self._checkpoint = checkpoint
        self._configured: frozenset[Labels] = frozenset()
        self._removed: dict[Labels, datetime] = {}
        if blob is not None:
            with suppress(ValueError, TypeError, KeyError):  # it tells why something ends: no reason not to start
                said = orjson.loads(blob)
                self._configured = frozenset(Labels(each) for each in said["configured"])
                self._removed = {Labels(each): utc(at) for each, at in said["removed"]}

    @classmethod
    async def load(cls, checkpoint: Checkpoint) -> Register:
        """As it was left. Raises StateError."""
        return cls(checkpoint, await checkpoint.load())

    def turn_to(self, collectors: Iterable[CollectorSettings], now: datetime) -> None:
        """The configuration as it is from now on."""
        before, self._configured = self._configured, frozenset(_subjects(collectors))
        self._removed |= dict.fromkeys(before - self._configured, now)
        self._removed = {
            labels: at for labels, at in self._removed.items() if labels not in self._configured and now - at < KEPT
        }

    @property
    def removed(self) -> tuple[Removed, ...]:
        """What was configured once and is no more."""
        return tuple(Removed(labels=labels, at=at) for labels, at in self._removed.items())

    async def save(self) -> None:
        """Where it can't be saved, the next start finds the same: it compares with what was saved last."""
        said = {
            "configured": [dict(each) for each in self._configured],
            "removed": [(dict(labels), at.timestamp()) for labels, at in self._removed.items()],
        }
        with suppress(StateError):
            await self._checkpoint.save(orjson.dumps(said))


def _subjects(collectors: Iterable[CollectorSettings]) -> Iterable[Labels]:
    for settings in collectors:
        job = Labels(job=settings.name)
        yield job
        for target in settings.subjects:
            yield job.with_(target)


def stored(store: Store, job: str, recorded: frozenset[str], now: datetime) -> list[Labels]:
    """The series of a source that are believed still, but for those that rules made of them."""
    matcher = Matcher(name="job", op=MatchOp.EQUAL, value=job)
    found = store.series([matcher], after=now - LOOKBACK)
    return [labels for labels in found if labels[METRIC_NAME] not in recorded]


def series_ends(removed: Iterable[Removed], store: Store, recorded: frozenset[str], now: datetime) -> list[Sample]:
    """Markers that end the series of what was removed just now: nobody shall take its last values for today's."""
    fresh = [each for each in removed if now - each.at < LOOKBACK]
    among = AllRemoved(fresh)
    return [
        Sample(name=labels[METRIC_NAME], labels=labels.without(METRIC_NAME), value=STALE, at=now)
        for job in sorted({each.labels["job"] for each in fresh})
        for labels in stored(store, job, recorded, now)
        if among.of(labels)
    ]
