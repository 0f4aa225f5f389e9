"""What is kept, until when, and what makes it void: what a store must be, and the one in memory. Knows no request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, ClassVar, Final, Protocol

from tocsin.asgi.cache.weight import weight
from tocsin.errors import TocsinError
from tocsin.model import Seconds

Generations = tuple[tuple[str, Any], ...]
"""Tags, each with what it had when the work began: what changes meanwhile voids the result."""


_MOST_TAGS: Final = 10_000
LEFT_AFTER: Final[Seconds] = 2.0
"""What is being made when a cache is closed, and has not ended then, is left behind."""


class Away(TocsinError):
    """The store can't be asked now: work without it."""

    outcome: ClassVar[str] = "unreachable"
    """What is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One answer. Times are monotonic, and of this process."""

    value: Any
    size: int
    """Bytes, about."""
    made: Seconds
    until: Seconds
    """Fresh before."""
    stale_until: Seconds
    """Good enough before, while a new one is made."""
    tags: Generations = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a store says to a question."""

    entry: Entry | None
    generations: Generations
    """Of the tags that were asked about, now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to do the work, in all processes that share the store; `token` is None where nobody gave it."""

    generations: Generations
    token: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """How a value becomes bytes for a store outside of this process. `pack` gives None for what can't be one."""

    pack: Callable[[Any], bytes | None]
    unpack: Callable[[bytes], Any]


class Store(Protocol):
    """Where entries are. Whatever it can't do in time is Away, and soon."""

    async def find(self, key: Hashable, tags: tuple[str, ...], codec: Codec) -> Found:
        """What is kept and neither void nor too old, fresh or stale. Raises Away."""

    async def lead(
        self, key: Hashable, tags: tuple[str, ...], codec: Codec, *, patience: Seconds | None = None
    ) -> Entry | Lease | None:
        """The right to do the work, or what another process made while we waited for it. With `patience` 0 nobody
        waits: None where another is at it. Never raises Away."""

    async def keep(self, key: Hashable, entry: Entry, codec: Codec) -> bool:
        """Keep it, unless it is too large. False where it was made void while it was made. Never raises Away."""

    async def end(self, key: Hashable, lease: Lease) -> None:
        """Give the right back. Never raises Away."""

    def invalidate(self, tags: Iterable[str]) -> Awaitable[None]:
        """What bears one of `tags` is void, what is being made now too; in this process at once, everywhere once it
        was awaited."""

    async def close(self) -> None:
        """End."""


class Changes:
    """Which tags were invalidated here, in what order. Whoever names tags by what changes (`article-7`) makes new ones
    without end: past so many the old ones are forgotten, which voids what bears any of them."""

    def __init__(self, most: int = _MOST_TAGS) -> None:
        self._most, self._count, self._floor = most, 0, 0
        self._last: dict[str, int] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._last)

    def note(self, tag: str) -> None:
        """`tag` changes now; of two threads each counts."""
        with self._lock:
            self._count += 1
            if tag not in self._last and len(self._last) >= self._most:
                self._floor = self._count  # first: who looks meanwhile finds what is void already
                self._last = {}
            self._last[tag] = self._count

    def of(self, tags: Iterable[str]) -> Generations:
        """Each tag's last change."""
        return tuple((tag, self._last.get(tag, self._floor)) for tag in tags)


class Done:
    """An awaitable that is done."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


class Memory:
    """In this process: entries by key, the least asked for last; at most `most_bytes` of them."""

    def __init__(self, most_bytes: int, now: Callable[[], Seconds]) -> None:
        self._most, self._now = most_bytes, now
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._changes = Changes()
        self._lock = Lock()
        self.size = 0
        """Bytes, about."""

    def __len__(self) -> int:
        return len(self._entries)

    def look(self, key: Hashable, tags: tuple[str, ...]) -> Found:
        """What is kept and neither void nor too old; by any thread."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                if self._now() >= entry.stale_until or not self._holds(entry.tags):
                    self._drop(key)
                    entry = None
                else:
                    self._entries.move_to_end(key)
        return Found(entry=entry, generations=self._changes.of(tags))

    def put(self, key: Hashable, entry: Entry) -> bool:
        """Keep it, unless it is larger than a tenth of all; False where it is void. By any thread."""
        # The key too: a path, a query and headers are the asker's to choose.
        entry = replace(entry, size=entry.size + weight(key))
        with self._lock:
            if not self._holds(entry.tags):
                return False
            if entry.size <= self._most // 10:
                self._drop(key)
                self._entries[key] = entry
                self.size += entry.size
                while self.size > self._most:
                    self._drop(next(iter(self._entries)))
        return True

    async def find(self, key: Hashable, tags: tuple[str, ...], codec: Codec) -> Found:
        """See Store."""
        return self.look(key, tags)

    async def lead(
        self, key: Hashable, tags: tuple[str, ...], codec: Codec, *, patience: Seconds | None = None
    ) -> Entry | Lease | None:
        """See Store: within a process who leads is known already."""
        return Lease(generations=self._changes.of(tags))

    async def keep(self, key: Hashable, entry: Entry, codec: Codec) -> bool:
        """See Store."""
        return self.put(key, entry)

    async def end(self, key: Hashable, lease: Lease) -> None:
        """See Store."""

    def invalidate(self, tags: Iterable[str]) -> Awaitable[None]:
        """See Store."""
        for tag in tags:
            self._changes.note(tag)
        return Done()

    async def close(self) -> None:
        """See Store."""

    def _holds(self, tags: Generations) -> bool:
        return self._changes.of(tag for tag, _ in tags) == tags

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry.size
