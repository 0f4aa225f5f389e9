"""The cache itself, and functions behind it."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast

from tocsin.asgi.cache.question import JSON, Asking, Question, Tags
from tocsin.asgi.cache.responses import Responses
from tocsin.asgi.cache.rules import Rule
from tocsin.asgi.cache.store import LEFT_AFTER, Away, Changes, Codec, Lease, Memory, Store
from tocsin.asgi.cache.threads import Threads
from tocsin.asgi.call import App
from tocsin.asgi.errors.scrub import scrubbed
from tocsin.asgi.errors.storm import Storms
from tocsin.asgi.measures import Measures, measures_of
from tocsin.model import Seconds
from tocsin.tasks import end_tasks, within

if TYPE_CHECKING:
    from tocsin.asgi.mount import Layer, Parts

P = ParamSpec("P")
T = TypeVar("T")
Flights = dict[Hashable, tuple[asyncio.Task[Any], Seconds]]
"""What is being made, and since when."""
_MOST_OF_ONE: Final = 1 << 20
_MOST_STACK: Final = 16_384
log: Final = logging.getLogger("tocsin.cache")


class Cached(Protocol):
    """A decorator that leaves a function's signature as it is."""

    def __call__(self, function: Callable[P, T], /) -> Callable[P, T]:
        """The function, its results kept."""


class Cache:
    """One for a process, or one for each thing that is to have memory of its own."""

    def __init__(
        self,
        *,
        most_bytes: int = 64 << 20,
        store: Store | None = None,
        patience: Seconds = 5.0,
        now: Callable[[], Seconds] = time.monotonic,
        measures: Measures | None = None,
    ) -> None:
        """In memory: `most_bytes` is of all that is kept together; one answer may have a tenth of it, 1 MiB at most.
        `store`: elsewhere (see shared). `patience`: how long anybody waits for work that another has begun, before
        they do it themselves: what hangs for one must not hang for all."""
        if most_bytes < 1 << 16:
            raise ValueError("a cache has 64 KiB at least: most_bytes")
        self.store: Store = store if store is not None else Memory(most_bytes, lambda: self.now())
        self.most_of_one = min(_MOST_OF_ONE, most_bytes // 10)
        self.now = now
        self.patience = patience
        self.changes = Changes()
        """What was invalidated here: who asks after that waits for no work that began before, also where the store
        can't be asked."""
        self._measures = measures
        self._missed: set[str] = set()
        """Who missed before: `cached` of the series."""
        self._storms = Storms()
        self._flights: dict[asyncio.AbstractEventLoop, Flights] = {}
        self._threads = Threads(self, self.store) if isinstance(self.store, Memory) else None

    def responses(self, rules: Mapping[str, Rule]) -> Layer:
        """The layer for `protect(cache=…)`."""

        def layer(app: App, parts: Parts) -> App:
            self._measures = self._measures or parts.measures
            return Responses(app, self, rules, self.count)

        return layer

    def cached(
        self,
        *,
        ttl: Seconds,
        stale: Seconds = 0.0,
        missing: Seconds = 0.0,
        tags: Tags = (),
        codec: Codec | None = None,
    ) -> Cached:
        """Keep a function's results by its arguments, which must be hashable: all that the result depends on, so also
        whose it is. An exception is not kept. `codec` is for a shared store; without it what JSON brings back
        unchanged is kept there, and nothing else.

        A function that is no `async def` may be called by many threads: of equal calls one works, in its own thread,
        and the others stand still until it has the result. A stale result is made anew in another thread. Only the
        memory keeps those. Raises TypeError for one with a shared store, and for a generator."""
        rule = Rule(ttl=ttl, stale=stale, missing=missing)

        def wrap(function: Callable[P, T]) -> Callable[P, T]:
            asking = Asking(function, rule, tags, codec or JSON)
            if asking.is_async:

                @wraps(function)
                async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
                    return await self._through(asking.question(args, kwargs))

                return cast("Callable[P, T]", later)
            if self._threads is None:
                raise TypeError(
                    f"{asking.name} is no async function, and a store that processes share is asked by asyncio alone:"
                    " make it `async def`, or give it a Cache() in memory"
                )
            through = self._threads.through

            @wraps(function)
            def now(*args: P.args, **kwargs: P.kwargs) -> T:
                found: T = through(asking.question(args, kwargs))
                return found

            return now

        return wrap

    def invalidate(self, *tags: str) -> Awaitable[None]:
        """What bears one of `tags` is void, also what is being made: in this process from now on, in those that share
        a store once this was awaited."""
        for tag in tags:
            self.changes.note(tag)
        return self.store.invalidate(tags)

    def refresh_failed(self, name: str, error: BaseException | str) -> None:
        """A stale answer could not be made anew: nobody waited for it, so that it is told here or nowhere."""
        self.count("refresh", "failed")
        kind = error if isinstance(error, str) else type(error).__name__
        if self._storms.ended(time.monotonic()):
            list(self._storms.repeats())  # those are in the count
        if self._storms.is_full(f"{name} {kind}", time.monotonic()):
            stack = "" if isinstance(error, str) else "".join(traceback.format_exception(error))
            log.error("%s could not be made anew: %s\n%s", name, kind, scrubbed(stack[-_MOST_STACK:]))

    def count(self, name: str, outcome: str) -> None:
        """What became of a question."""
        counters = (self._measures or measures_of()).cache
        if outcome == "miss" and name not in self._missed:
            # Nought hits is a figure too: of a cache that a deployment broke, the alert would see nothing.
            self._missed.add(name)
            counters.labels(name, "hit")
        counters.labels(name, outcome).inc()

    async def close(self) -> None:
        """End what is being made in this event loop, and the store's connections of it."""
        flights = [flight for flight, _ in self._flights_here().values()]
        await within(LEFT_AFTER, end_tasks(*flights))
        await self.store.close()

    def _flights_here(self) -> Flights:
        """Of the running loop: nobody can await another's. One that was closed takes what flew along."""
        loop = asyncio.get_running_loop()
        found = self._flights.get(loop)
        if found is None:
            for closed in [one for one in tuple(self._flights) if one.is_closed()]:
                self._flights.pop(closed, None)
            found = self._flights[loop] = {}
        return found

    async def _through(self, question: Question) -> Any:
        name, missed = question.name, "miss"
        flights = self._flights_here()
        entry, generations = None, None
        try:
            found = await self.store.find(question.key, question.tags, question.codec)
            entry, generations = found.entry, found.generations
        except Away as away:
            missed = away.outcome
        if entry is not None and self.now() < entry.until:
            self.count(name, "hit")
            return entry.value
        # A flight that began before the tags changed is not this caller's, nor a refresh that another process may do.
        flight_key = (question.key, self.changes.of(question.tags), generations, entry is not None)
        flight, since = flights.get(flight_key, (None, 0.0))
        began = flight is None or self.now() - since > self.patience
        if flight is None or began:
            # A task of its own: a caller that is cancelled takes nobody's result away.
            patience = 0.0 if entry is not None else None
            flight = asyncio.create_task(self._made(question, patience), name=f"tocsin.cache:{name}")
            flights[flight_key] = (flight, self.now())
            flight.add_done_callback(lambda ended: _landed(flights, flight_key, ended))
        if entry is not None:
            self.count(name, "stale")
            if began:
                flight.add_done_callback(lambda ended: self._noticed(name, ended))
            return entry.value
        self.count(name, missed if began else "joined")
        return await asyncio.shield(flight)

    async def _made(self, question: Question, patience: Seconds | None) -> Any:
        """The value: by us, or by another process while we waited."""
        led = await self.store.lead(question.key, question.tags, question.codec, patience=patience)
        if not isinstance(led, Lease):
            return led.value if led is not None else None  # None: it is being made anew elsewhere, and nobody waits
        try:
            value = await question.make()
            entry = question.entry(value, self.now(), led.generations)
            if entry is not None:
                await self.store.keep(question.key, entry, question.codec)
            return value
        finally:
            await self.store.end(question.key, led)

    def _noticed(self, name: str, flight: asyncio.Task[Any]) -> None:
        """A refresh that failed is counted and told, and its exception is nobody's."""
        if not flight.cancelled() and (error := flight.exception()) is not None:
            self.refresh_failed(name, error)


def _landed(flights: Flights, flight_key: Hashable, ended: asyncio.Task[Any]) -> None:
    if flights.get(flight_key, (None, 0.0))[0] is ended:
        del flights[flight_key]
    if not ended.cancelled():
        ended.exception()  # seen, where all who waited have gone away
