"""The cache itself, and functions behind it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tocsin.asgi.cache.responses import Responses, Rule
from tocsin.asgi.cache.store import Entry, Store
from tocsin.asgi.call import App
from tocsin.asgi.measures import Measures, measures_of
from tocsin.model import Seconds

if TYPE_CHECKING:
    from tocsin.asgi.mount import Layer, Parts

P = ParamSpec("P")
T = TypeVar("T")


class Cache:
    """One for a process, or one for each thing that is to have memory of its own."""

    def __init__(
        self,
        *,
        most_bytes: int = 64 << 20,
        now: Callable[[], Seconds] = time.monotonic,
        measures: Measures | None = None,
    ) -> None:
        """`most_bytes` is of all that is kept together; one answer may have a tenth of it, 1 MiB at most."""
        if most_bytes < 1 << 16:
            raise ValueError("a cache has 64 KiB at least: most_bytes")
        self.store = Store(most_bytes)
        self.most_of_one = min(1 << 20, most_bytes // 10)
        self.now = now
        self._measures = measures
        self._flights: dict[Hashable, asyncio.Task[Any]] = {}

    def responses(self, rules: Mapping[str, Rule]) -> Layer:
        """The layer for `protect(cache=…)`."""

        def layer(app: App, parts: Parts) -> App:
            self._measures = self._measures or parts.measures
            return Responses(app, self, rules, self._count)

        return layer

    def cached(
        self,
        *,
        ttl: Seconds,
        stale: Seconds = 0.0,
        missing: Seconds = 0.0,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Keep an async function's results by its arguments, which must be hashable. An exception is not kept."""
        rule = Rule(ttl=ttl, stale=stale, missing=missing)

        def wrap(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
            name = f"{function.__module__}.{function.__qualname__}"

            @wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> T:
                key = (function, args, tuple(sorted(kwargs.items())))
                borne = tuple(tags(*args, **kwargs) if callable(tags) else tags)
                found: T = await self._through(name, key, lambda: function(*args, **kwargs), rule, borne)
                return found

            return call

        return wrap

    def invalidate(self, *tags: str) -> None:
        """What bears one of `tags` is void from now on, also what is being made."""
        self.store.invalidate(tags)

    def refresh_failed(self, error: BaseException) -> None:
        """A stale answer could not be made anew."""
        self._count("refresh", "failed")

    async def _through(
        self, name: str, key: Hashable, make: Callable[[], Awaitable[Any]], rule: Rule, tags: tuple[str, ...]
    ) -> Any:
        entry = self.store.find(key, self.now())
        if entry is not None and self.now() < entry.until:
            self._count(name, "hit")
            return entry.value
        # A flight that began before the tags changed is not this caller's.
        flight_key = (key, self.store.generations(tags))
        flight = self._flights.get(flight_key)
        began = flight is None
        if flight is None:
            # A task of its own: a caller that is cancelled takes nobody's result away.
            flight = asyncio.create_task(self._make(key, make, rule, tags), name=f"tocsin.cache:{name}")
            self._flights[flight_key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(flight_key, None))
        if entry is not None:
            self._count(name, "stale")
            flight.add_done_callback(self._noticed)
            return entry.value
        self._count(name, "miss" if began else "joined")
        return await asyncio.shield(flight)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Any]], rule: Rule, tags: tuple[str, ...]) -> Any:
        generations = self.store.generations(tags)
        value = await make()
        lasts = rule.ttl if value is not None else rule.missing
        if lasts > 0:
            now = self.now()
            self.store.keep(
                key,
                Entry(
                    value=value,
                    size=sys.getsizeof(value) + sys.getsizeof(key) + 200,
                    made=now,
                    until=now + lasts,
                    stale_until=now + lasts + (rule.stale if value is not None else 0),
                    tags=generations,
                ),
            )
        return value

    def _noticed(self, flight: asyncio.Task[Any]) -> None:
        """A refresh that failed is counted, and its exception is nobody's."""
        if not flight.cancelled() and (error := flight.exception()) is not None:
            self.refresh_failed(error)

    def _count(self, name: str, outcome: str) -> None:
        (self._measures or measures_of()).cache.labels(name, outcome).inc()
