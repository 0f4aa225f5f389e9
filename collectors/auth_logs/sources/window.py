"""Events that are asked for by time, each taken once: what comes late is seen again and known by its id. Pure.

Each question begins `overlap` before the newest event that is known, for events become visible in another order than
their times have. Ids of that stretch are remembered. So every answer holds at least the newest known event, and an
answer without any is wrong, or events are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from collectors.auth_logs.sources.spool import digest

Microseconds = int
"""Since the epoch."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
REMEMBERED: Final = 50_000
"""Ids; where `overlap` holds more events than that, it shrinks."""


class Row(NamedTuple):
    """An event as it was answered."""

    id: str
    at: Microseconds
    line: bytes


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a page of answers holds that had not come otherwise."""

    missing: Mapping[bytes, tuple[bytes, Microseconds]]
    """Lines that had not come, by the hash of their id, and when they were logged."""
    gaps: int
    next: Microseconds | None
    """Where the next page begins; None: this was the last."""
    end: Microseconds

    @property
    def lines(self) -> Sequence[bytes]:
        return [line for line, _ in self.missing.values()]


class Window:
    """Where reading stands in time."""

    def __init__(self, *, floor: Microseconds, overlap: Microseconds, saved: Any = None) -> None:
        """`floor`: what is older was there before the first look, and is not taken. `saved`: what `to_json` gave;
        raises ValueError, TypeError or KeyError for anything else."""
        self._overlap = overlap
        self.floor = floor if saved is None else int(saved["floor"])
        self.newest: Microseconds | None = None
        """The newest event that is known."""
        self._seen: dict[str, Microseconds] = {}
        if saved is not None:
            self.newest = int(saved["newest"]) if saved["newest"] is not None else None
            self._seen = {str(id): int(at) for id, at in saved["seen"]}

    @property
    def begin(self) -> Microseconds:
        """From when on to ask."""
        return self.floor if self.newest is None else self.newest - self._overlap

    def sift(self, rows: Sequence[Row]) -> list[Row]:
        """Those that were not taken yet, each once. Changes nothing."""
        fresh: dict[str, Row] = {}
        for row in rows:
            id = digest(row.id).decode()
            if row.at >= self.floor and id not in self._seen:
                fresh.setdefault(id, row)
        return list(fresh.values())

    def take(self, rows: Iterable[Row]) -> None:
        """These are known from now on, whether they were counted or are older than the first look."""
        for row in rows:
            self._seen[digest(row.id).decode()] = row.at
            self.newest = row.at if self.newest is None else max(self.newest, row.at)
        if self.newest is None:
            return
        # What is older is not asked for again; came it still, it could not be told from one that was counted.
        self.floor = max(self.floor, self.newest - self._overlap)
        if len(self._seen) > REMEMBERED:
            self.floor = max(self.floor, sorted(self._seen.values())[-REMEMBERED] + 1)
        self._seen = {id: at for id, at in self._seen.items() if at >= self.floor or at == self.newest}

    def to_json(self) -> dict[str, Any]:
        return {"floor": self.floor, "newest": self.newest, "seen": [[id, at] for id, at in self._seen.items()]}


def microseconds(at: datetime) -> Microseconds:
    """Since the epoch."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def iso(at: Microseconds) -> str:
    """As the API takes it."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
