"""What is kept, until when, and what makes it void. Told the time; knows no request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from tocsin.model import Seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One answer. Times are monotonic."""

    value: Any
    size: int
    """Bytes, about."""
    made: Seconds
    until: Seconds
    """Fresh before."""
    stale_until: Seconds
    """Good enough before, while a new one is made."""
    tags: tuple[tuple[str, int], ...] = ()
    """With the generation that each had when the work began."""


class Store:
    """Entries by key, the least asked for last; at most `most_bytes` of them."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._generations: dict[str, int] = {}
        self.size = 0
        """Bytes, about."""

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Hashable, now: Seconds) -> Entry | None:
        """What is kept and neither void nor too old, fresh or stale."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.stale_until or not self._holds(entry.tags):
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def generations(self, tags: Iterable[str]) -> tuple[tuple[str, int], ...]:
        """The tags as they are now: asked before the work begins, so that what changes meanwhile voids its result."""
        return tuple((tag, self._generations.get(tag, 0)) for tag in tags)

    def keep(self, key: Hashable, entry: Entry) -> None:
        """Unless it was made void while it was made, or is larger than a tenth of all."""
        if entry.size > self._most // 10 or not self._holds(entry.tags):
            return
        self._drop(key)
        self._entries[key] = entry
        self.size += entry.size
        while self.size > self._most:
            self._drop(next(iter(self._entries)))

    def invalidate(self, tags: Iterable[str]) -> None:
        """What bears one of `tags` is void, what is being made now too."""
        for tag in tags:
            self._generations[tag] = self._generations.get(tag, 0) + 1

    def clear(self) -> None:
        """Forget everything that is kept."""
        self._entries.clear()
        self.size = 0

    def _holds(self, tags: tuple[tuple[str, int], ...]) -> bool:
        return all(self._generations.get(tag, 0) == generation for tag, generation in tags)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry.size
