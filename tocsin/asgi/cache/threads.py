"""Functions that are no coroutines: of equal calls in many threads one works, in its own, and the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextvars import copy_context
from dataclasses import dataclass, field
from inspect import isawaitable, iscoroutine
from typing import Any, Final, Protocol

from tocsin.asgi.cache.question import Question
from tocsin.asgi.cache.store import Changes, Found, Generations, Memory
from tocsin.model import Seconds

_REFRESHES: Final = 8
"""Threads that make stale results anew, at most: of a thousand that grow stale at once the others wait for their next
caller."""


class Told(Protocol):
    """The cache that a call belongs to."""

    now: Callable[[], Seconds]
    patience: Seconds
    changes: Changes

    def count(self, name: str, outcome: str) -> None:
        """What became of a question."""

    def refresh_failed(self, name: str, error: BaseException | str) -> None:
        """A stale result could not be made anew."""


@dataclass(slots=True)
class _Flight:
    place: Hashable
    began: Seconds
    thread: int = field(default_factory=threading.get_ident)
    ended: threading.Event = field(default_factory=threading.Event)
    result: tuple[Any, Exception | None] | None = None
    """None once it has ended: it was broken off, and the next one leads."""


class Threads:
    """Calls of any thread, an event loop's too: it waits like others."""

    def __init__(self, cache: Told, memory: Memory) -> None:
        self._cache, self._memory = cache, memory
        self._flights: dict[Hashable, _Flight] = {}
        self._lock = threading.Lock()
        self._refreshing = 0

    def through(self, question: Question) -> Any:
        """The result: kept, another's or our own. Raises what the function raises, and TypeError where it gives
        something to await."""
        cache, name = self._cache, question.name
        while True:
            found, flight, leads = self._looked(question)
            if found.entry is not None:
                cache.count(name, "hit" if flight is None else "stale")
                if flight is not None and leads:
                    self._refresh(question, found, flight)
                return found.entry.value
            assert flight is not None, "what is not fresh is made by somebody"
            if leads:
                cache.count(name, "miss")
                return self._led(question, found.generations, flight)
            # A function that calls itself with what it was called with would wait for itself.
            left = 0.0 if flight.thread == threading.get_ident() else cache.patience - (cache.now() - flight.began)
            if not flight.ended.wait(max(0.0, left)):
                cache.count(name, "miss")
                return self._made(question, found.generations)
            if flight.result is not None:
                cache.count(name, "joined")
                value, error = flight.result
                if error is not None:
                    raise error
                return value

    def _looked(self, question: Question) -> tuple[Found, _Flight | None, bool]:
        """What is kept; where that is not fresh the flight that makes it, and whether it is this caller's."""
        found = self._memory.look(question.key, question.tags)
        if self._is_fresh(found):
            return found, None, False
        with self._lock:
            found = self._memory.look(question.key, question.tags)  # what ended a moment ago
            if self._is_fresh(found):
                return found, None, False
            # A flight that began before the tags changed is not this caller's.
            place = (question.key, self._cache.changes.of(question.tags), found.entry is not None)
            flight, now = self._flights.get(place), self._cache.now()
            if flight is not None and now - flight.began <= self._cache.patience:
                return found, flight, False
            self._flights[place] = flight = _Flight(place, now)
            return found, flight, True

    def _is_fresh(self, found: Found) -> bool:
        return found.entry is not None and self._cache.now() < found.entry.until

    def _led(self, question: Question, generations: Generations, flight: _Flight) -> Any:
        try:
            value = self._made(question, generations)
            flight.result = (value, None)
            return value
        except Exception as error:
            flight.result = (None, error)
            raise
        finally:
            self._gone(flight)
            flight.ended.set()

    def _gone(self, flight: _Flight) -> None:
        with self._lock:
            if self._flights.get(flight.place) is flight:
                del self._flights[flight.place]

    def _made(self, question: Question, generations: Generations) -> Any:
        value = question.make()
        if isawaitable(value):
            if iscoroutine(value):
                value.close()
            raise TypeError(f"{question.name} gives something to await: make it `async def`, and it is cached as one")
        entry = question.entry(value, self._cache.now(), generations)
        if entry is not None:
            self._memory.put(question.key, entry)
        return value

    def _refresh(self, question: Question, found: Found, flight: _Flight) -> None:
        """In a thread that ends with the process: its caller has their answer."""
        with self._lock:
            starts = self._refreshing < _REFRESHES
            self._refreshing += starts
        if not starts:
            self._gone(flight)
            return

        def refreshed() -> None:
            flight.thread = threading.get_ident()
            try:
                self._led(question, found.generations, flight)
            except Exception as error:  # noqa: BLE001 (nobody waits for it: it is told)
                self._cache.refresh_failed(question.name, error)
            finally:
                with self._lock:
                    self._refreshing -= 1

        name, context = f"tocsin.cache:{question.name}", copy_context()
        threading.Thread(target=context.run, args=(refreshed,), name=name, daemon=True).start()
