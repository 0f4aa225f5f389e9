"""How much memory a value holds, about: what `most_bytes` is counted in."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any, Final

_LOOKED_AT: Final = 2_000
"""Objects that are opened for one value. A larger one is estimated from them: weighing must not hold up the loop."""
_SAMPLE: Final = 64
"""Of a collection's members as many, evenly spread, are opened; each one's own size counts."""
_ELSEWHERE: Final = 64
"""Bytes of what does not say."""


def weight(value: object) -> int:
    """Bytes of `value` and of all it holds; what it holds twice counts once where both were looked at."""
    return _Scale().of(value) + sys.getsizeof(value, _ELSEWHERE)


class _Scale:
    """One weighing."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of(self, value: object) -> int:
        """What `value` holds, without its own size."""
        if isinstance(value, (str, bytes, bytearray, int, float, complex, type, type(None))):
            return 0
        if id(value) in self._seen or len(self._seen) >= _LOOKED_AT:
            return 0
        self._seen.add(id(value))
        many, parts = _parts(value)
        own = sum(sys.getsizeof(part, _ELSEWHERE) for part in parts)
        step = max(1, many // _SAMPLE)
        opened = list(islice(_parts(value)[1], 0, None, step))
        inner = sum(map(self.of, opened))
        return own + (inner * many // len(opened) if opened else 0)


def _parts(value: Any) -> tuple[int, Iterator[object]]:
    """How many there are, and each."""
    if isinstance(value, dict):
        return 2 * len(value), (part for pair in value.items() for part in pair)
    if isinstance(value, Sized) and isinstance(value, (list, tuple, set, frozenset)):
        return len(value), iter(value)
    held: list[object] = [vars(value)] if hasattr(value, "__dict__") else []
    slots: Iterable[str] = (name for kind in type(value).__mro__ for name in _slots(kind))
    held += [getattr(value, name) for name in slots if hasattr(value, name)]
    return len(held), iter(held)


def _slots(kind: type) -> tuple[str, ...]:
    found = vars(kind).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)
