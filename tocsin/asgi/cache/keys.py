"""What tells two questions apart, as bytes: the same in every process, and never the same for two."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Hashable
from typing import Final

from tocsin.asgi.cache.store import Away

_AS_TEXT: Final = (
    bool, int, float, str, decimal.Decimal, uuid.UUID, datetime.datetime, datetime.date, datetime.time,
    datetime.timedelta, type(None),
)  # fmt: skip


class Untold(Away):
    """A key that another process could not tell from others: what is asked is worked out each time."""

    outcome = "bypass"


def canonical(key: Hashable) -> bytes:
    """`key`, of plain values, tuples, frozen sets, enums and functions. Each part bears its type and its length, so
    that no two keys share their bytes. Raises Untold for other types: their text may be the same for two of them."""
    if isinstance(key, bytes):
        return _part("bytes", key)
    if isinstance(key, tuple) and type(key) is tuple:
        return _part("tuple", b"".join(canonical(one) for one in key))
    if isinstance(key, frozenset):
        return _part("frozenset", b"".join(sorted(canonical(one) for one in key)))
    if isinstance(key, enum.Enum):
        return _part(_name(type(key)), key.name.encode())
    if type(key) in _AS_TEXT:
        return _part(type(key).__qualname__, str(key).encode("utf-8", "surrogatepass"))
    if callable(key) and hasattr(key, "__qualname__"):
        return _part("function", told_apart(key).encode())
    raise Untold(f"a {type(key).__qualname__} among the arguments is no key in a store that processes share")


def told_apart(function: Callable[..., object]) -> str:
    """A function's name. Raises Untold for one inside of another: there may be many of that name."""
    if "<" in function.__qualname__:
        raise Untold(f"{function.__qualname__} is made inside of a function, so that its name is not its own")
    return _name(function)


def _name(thing: Callable[..., object]) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _part(kind: str, data: bytes) -> bytes:
    return b"%s:%d:%s" % (kind.encode(), len(data), data)
