"""A call of a cached function: what tells it from others, and what is kept of its result."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Final

import orjson

from tocsin.asgi.cache.rules import Rule
from tocsin.asgi.cache.store import Codec, Entry, Generations
from tocsin.asgi.cache.weight import weight
from tocsin.model import Seconds

Tags = Iterable[str] | Callable[..., Iterable[str]]


@dataclass(frozen=True, slots=True)
class Question:
    """One call."""

    name: str
    key: Hashable
    make: Callable[[], Any]
    """The call itself: its result, or of an async function what is awaited for it."""
    rule: Rule
    tags: tuple[str, ...]
    codec: Codec

    def entry(self, value: Any, now: Seconds, generations: Generations) -> Entry | None:
        """What is kept of a result; None: nothing."""
        there = value is not None
        lasts = self.rule.ttl if there else self.rule.missing
        if lasts <= 0:
            return None
        until = now + lasts
        return Entry(
            value=value,
            size=weight(value) + 200,
            made=now,
            until=until,
            stale_until=until + (self.rule.stale if there else 0),
            tags=generations,
        )


class Asking:
    """A function whose results are kept."""

    def __init__(self, function: Callable[..., Any], rule: Rule, tags: Tags, codec: Codec) -> None:
        """Raises TypeError for a generator."""
        self.name = f"{function.__module__}.{function.__qualname__}"
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(f"{self.name} yields: what it yields is gone once it was taken; return a list of it")
        self.is_async = iscoroutinefunction(function)
        self._function, self._rule, self._tags, self._codec = function, rule, tags, codec

    def question(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Question:
        """Of one call. Raises TypeError for arguments that are no key."""
        # With their types: 1, 1.0 and True are equal, and not the same question.
        named = tuple(sorted(kwargs.items()))
        kinds = tuple(type(one).__qualname__ for one in (*args, *(value for _, value in named)))
        key = (self._function, args, named, kinds)
        try:
            hash(key)
        except TypeError as error:
            raise TypeError(f"{self.name} is cached by its arguments, and {error}: pass a tuple, or an id") from None
        tags, function = self._tags, self._function
        borne = tuple(tags(*args, **kwargs) if callable(tags) else tags)
        return Question(self.name, key, lambda: function(*args, **kwargs), self._rule, borne, self._codec)


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
