"""The category of an exception (tocsin.categories has the mapping), and which exceptions are nobody's error.

Types are matched by name along the MRO, so that nothing is imported to know it. An exception that is known nowhere is
judged by what it was raised from. `Categories({MyError: "dependency"})` adds to the mapping or changes it.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any, Final

from tocsin.asgi.arguments import mapping, wrong
from tocsin.categories import Names, of_status

GONE: Final = frozenset(
    {
        "starlette.requests.ClientDisconnect",
        "starlette.websockets.WebSocketDisconnect",
        "litestar.exceptions.websocket_exceptions.WebSocketDisconnect",
        "uvicorn.protocols.utils.ClientDisconnected",
        "django.core.exceptions.RequestAborted",
    }
)
"""The client went away: nobody's error."""

_CHAIN: Final = 5
_ENDING: Final = (CancelledError, KeyboardInterrupt, GeneratorExit, SystemExit)
_MOST_TYPES: Final = 4096
_gone: Final[dict[type, bool]] = {}


def name_of(kind: type) -> str:
    """`module.Class`."""
    return f"{kind.__module__}.{kind.__qualname__}"


class Categories:
    """The mapping, with a memory of the types it has judged."""

    def __init__(self, more: Mapping[type[BaseException] | str, str] | None = None) -> None:
        """`more` by type or name, over what is here. Raises ValueError for a name that no label should be, and for one
        that is nearly one of the seven: the rules would not know it. TypeError for what is no mapping of such."""
        mapping("categories", {} if more is None else more, "categories by exception: {MyError: 'dependency'}")
        for key, category in (more or {}).items():
            _look(key, category)
        self._names = Names(
            {key if isinstance(key, str) else name_of(key): value for key, value in (more or {}).items()}
        )
        self._judged: dict[type, str | None] = {}

    def of(self, error: BaseException | None, status: int = 0) -> str:
        """The category of an error that was answered with `status` (0: not yet)."""
        link = error
        for _ in range(_CHAIN):
            if link is None:
                break
            if (found := self._of_type(type(link))) is not None:
                return found
            link = link.__cause__
        said = status_of(error)
        return of_status(said if said is not None and said >= 400 else status)

    def _of_type(self, kind: type) -> str | None:
        if kind in self._judged:
            return self._judged[kind]
        found = self._names.of(map(name_of, kind.__mro__))
        if len(self._judged) < _MOST_TYPES:
            self._judged[kind] = found
        return found


def _look(key: Any, category: Any) -> None:
    if isinstance(key, str):
        if "." not in key.strip("."):
            raise ValueError(
                f"categories: {key!r} names no exception: write module.Class, module.*, or the class itself"
            )
    elif not (isinstance(key, type) and issubclass(key, BaseException)):
        raise TypeError(f"categories: {key!r} is no exception")
    if not isinstance(category, str):
        raise wrong(f"the category of {key}", "a text", category)


def status_of(error: BaseException | None) -> int | None:
    """The status that a framework's exception carries."""
    try:
        said = getattr(error, "status_code", None)
    except Exception:  # noqa: BLE001 (a property of the application's: it must not cost us the error)
        return None
    return said if isinstance(said, int) else None


def is_ending(error: BaseException) -> bool:
    """True for what ends more than this request, and is to go on: a cancellation, the process's end."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_ending(one) for one in error.exceptions)
    return isinstance(error, _ENDING) or name_of(type(error)) == "trio.Cancelled"


def is_gone(error: BaseException) -> bool:
    """True when all that `error` says is that the client went away."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_gone(one) for one in error.exceptions)
    kind = type(error)
    gone = _gone.get(kind)
    if gone is None:
        gone = any(name_of(step) in GONE for step in kind.__mro__)
        if len(_gone) < _MOST_TYPES:
            _gone[kind] = gone
    return gone


def leaf_of(error: BaseException) -> BaseException:
    """The exception inside of groups that hold just one: task groups wrap what their tasks raise."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
