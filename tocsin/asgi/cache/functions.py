"""The cache itself, and functions behind it."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from functools import wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import orjson

from tocsin.asgi.cache.responses import Responses
from tocsin.asgi.cache.rules import Rule
from tocsin.asgi.cache.store import Away, Changes, Codec, Entry, Lease, Memory, Store
from tocsin.asgi.cache.weight import weight
from tocsin.asgi.call import App
from tocsin.asgi.errors.scrub import scrubbed
from tocsin.asgi.errors.storm import Storms
from tocsin.asgi.measures import Measures, measures_of
from tocsin.model import Seconds

if TYPE_CHECKING:
    from tocsin.asgi.mount import Layer, Parts

P = ParamSpec("P")
T = TypeVar("T")
_MOST_OF_ONE: Final = 1 << 20
_MOST_STACK: Final = 16_384
log: Final = logging.getLogger("tocsin.cache")


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
        self.store: Store = store or Memory(most_bytes, lambda: self.now())
        self.most_of_one = min(_MOST_OF_ONE, most_bytes // 10)
        self.now = now
        self.patience = patience
        self.changes = Changes()
        """What was invalidated here: who asks after that waits for no work that began before, also where the store
        can't be asked."""
        self._measures = measures
        self._storms = Storms()
        self._flights: dict[Hashable, tuple[asyncio.Task[Any], Seconds]] = {}

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
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        codec: Codec | None = None,
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Keep an async function's results by its arguments, which must be hashable: all that the result depends on,
        so also whose it is. An exception is not kept. `codec` is for a shared store; without it what JSON brings back
        unchanged is kept there, and nothing else. Raises TypeError for a generator."""
        rule = Rule(ttl=ttl, stale=stale, missing=missing)

        def wrap(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
            name = f"{function.__module__}.{function.__qualname__}"
            if isgeneratorfunction(function) or isasyncgenfunction(function):
                raise TypeError(f"{name} yields: what it yields is gone once it was taken; return a list of it")

            @wraps(function)
            async def call(*args: P.args, **kwargs: P.kwargs) -> T:
                # With their types: 1, 1.0 and True are equal, and not the same question.
                named = tuple(sorted(kwargs.items()))
                kinds = tuple(type(one).__qualname__ for one in (*args, *(value for _, value in named)))
                key = (function, args, named, kinds)
                try:
                    hash(key)
                except TypeError as error:
                    raise TypeError(f"{name} is cached by its arguments, and {error}: pass a tuple, or an id") from None
                borne = tuple(tags(*args, **kwargs) if callable(tags) else tags)
                question = _Question(name, key, lambda: function(*args, **kwargs), rule, borne, codec or JSON)
                found: T = await self._through(question)
                return found

            return call

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
        (self._measures or measures_of()).cache.labels(name, outcome).inc()

    async def close(self) -> None:
        """End what is being made, and the store's connections."""
        flights = [flight for flight, _ in self._flights.values()]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self.store.close()

    async def _through(self, question: _Question) -> Any:
        name, missed = question.name, "miss"
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
        flight, since = self._flights.get(flight_key, (None, 0.0))
        began = flight is None or self.now() - since > self.patience
        if flight is None or began:
            # A task of its own: a caller that is cancelled takes nobody's result away.
            patience = 0.0 if entry is not None else None
            flight = asyncio.create_task(self._made(question, patience), name=f"tocsin.cache:{name}")
            self._flights[flight_key] = (flight, self.now())
            flight.add_done_callback(lambda ended: self._landed(flight_key, ended))
        if entry is not None:
            self.count(name, "stale")
            if began:
                flight.add_done_callback(lambda ended: self._noticed(name, ended))
            return entry.value
        self.count(name, missed if began else "joined")
        return await asyncio.shield(flight)

    async def _made(self, question: _Question, patience: Seconds | None) -> Any:
        """The value: by us, or by another process while we waited."""
        led = await self.store.lead(question.key, question.tags, question.codec, patience=patience)
        if not isinstance(led, Lease):
            return led.value if led is not None else None  # None: it is being made anew elsewhere, and nobody waits
        try:
            value = await question.make()
            lasts = question.rule.ttl if value is not None else question.rule.missing
            if lasts > 0:
                now = self.now()
                entry = Entry(
                    value=value,
                    size=weight(value) + 200,
                    made=now,
                    until=now + lasts,
                    stale_until=now + lasts + (question.rule.stale if value is not None else 0),
                    tags=led.generations,
                )
                await self.store.keep(question.key, entry, question.codec)
            return value
        finally:
            await self.store.end(question.key, led)

    def _landed(self, flight_key: Hashable, ended: asyncio.Task[Any]) -> None:
        if self._flights.get(flight_key, (None, 0.0))[0] is ended:
            del self._flights[flight_key]

    def _noticed(self, name: str, flight: asyncio.Task[Any]) -> None:
        """A refresh that failed is counted and told, and its exception is nobody's."""
        if not flight.cancelled() and (error := flight.exception()) is not None:
            self.refresh_failed(name, error)


class _Question:
    """A call of a cached function."""

    __slots__ = ("codec", "key", "make", "name", "rule", "tags")

    def __init__(
        self,
        name: str,
        key: Hashable,
        make: Callable[[], Awaitable[Any]],
        rule: Rule,
        tags: tuple[str, ...],
        codec: Codec,
    ) -> None:
        self.name, self.key, self.make, self.rule, self.tags, self.codec = name, key, make, rule, tags, codec


def _as_json(value: Any) -> bytes | None:
    try:
        packed = orjson.dumps(value)
    except TypeError:
        return None
    return packed if _same(orjson.loads(packed), value) else None


def _same(one: Any, other: Any) -> bool:
    """Equal in types too: a tuple that comes back as a list is another value."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


JSON: Final = Codec(pack=_as_json, unpack=orjson.loads)
