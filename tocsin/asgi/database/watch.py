"""What becomes known of each statement and each wait: series, the slow log, observers, tests' recorders."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from psycopg.sql import Composable

from tocsin.asgi.call import CURRENT, Call
from tocsin.asgi.database.cursors import AsyncTellingCursor, AsyncTellingServerCursor, Waited
from tocsin.asgi.database.shape import shape_of
from tocsin.asgi.errors.fingerprint import InApp, named
from tocsin.asgi.errors.storm import Storms
from tocsin.asgi.logs.lines import Lines
from tocsin.asgi.measures import Measures
from tocsin.model import Seconds

OUTSIDE: Final = "outside"
"""The route of what no request asked for: workers, the start."""
_PLACES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement that has ended, well or not."""

    database: str
    query: Any
    """As it was given: a text, bytes or psycopg.sql. It may hold values; `shape` does not."""
    seconds: Seconds
    call: Call | None
    """The request that asked."""
    error: BaseException | None
    places: tuple[str, ...]
    """`file:line in function` of the application, the innermost first; of slow ones, and in tests."""

    @cached_property
    def shape(self) -> str:
        """Without values."""
        return shape_of(text_of(self.query))

    @property
    def route(self) -> str:
        """`METHOD template`; `outside` where no request asked."""
        return f"{self.call.method} {self.call.route}" if self.call is not None else OUTSIDE


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A wait for a connection that has ended, with one or without."""

    database: str
    seconds: Seconds
    call: Call | None
    error: BaseException | None


Event = Statement | Wait
Observer = Callable[[Event], None]
"""Called in the context of the task that asked, when it ended: a span that began `seconds` ago has the right parent."""

RECORDERS: list[Callable[[Statement], None]] = []
"""Told of every statement of this process: `queries()` of tests."""


class Watch:
    """Told by the cursors of one Database."""

    def __init__(self, database: str, measures: Measures, lines: Lines, slow: Seconds) -> None:
        self.database = database
        self.observers: tuple[Observer, ...] = ()
        self._storms = Storms(most=60)
        self.join(measures, lines, slow)

    def join(self, measures: Measures, lines: Lines, slow: Seconds, in_app: InApp | None = None) -> None:
        """From now on there."""
        self._in_app = in_app or InApp()
        self.measures, self.lines, self.slow = measures, lines, slow
        self._observe: dict[str, Callable[[float], None]] = {}  # bounded as routes are
        # `labels()` costs more than counting does.
        self._wait = measures.database_wait.labels(self.database).observe
        self.waiting = measures.database_waiting.labels(self.database)
        self.in_use = measures.database_in_use.labels(self.database).set

    def statement(self, query: Any, seconds: Seconds, error: BaseException | None = None) -> None:
        """`query` ended just now; so long it was waited for."""
        call = CURRENT.get()
        route = call.route if call is not None else OUTSIDE
        observe = self._observe.get(route)
        if observe is None:
            observe = self._observe[route] = self.measures.database_seconds.labels(self.database, route).observe
        observe(seconds)
        if seconds < self.slow and not self.observers and not RECORDERS:
            return
        # Where it is asked costs a walk over the stack: for those who look, not for every span.
        places = tuple(_places(self._in_app)) if seconds >= self.slow or RECORDERS else ()
        told = Statement(database=self.database, query=query, seconds=seconds, call=call, error=error, places=places)
        for tell in (*self.observers, *RECORDERS):
            tell(told)
        if seconds >= self.slow:
            self._log(told, route)

    def wait(self, began: Seconds, error: BaseException | None = None) -> None:
        """A connection was given, or not."""
        seconds = time.perf_counter() - began
        self._wait(seconds)
        if self.observers:
            told = Wait(database=self.database, seconds=seconds, call=CURRENT.get(), error=error)
            for tell in self.observers:
                tell(told)

    def close(self) -> None:
        """Tell what was counted and not written."""
        for fingerprint, count in self._storms.repeats():
            self.lines.warning("database.slow_repeatedly", statement_id=fingerprint, times=count)

    def _log(self, slow: Statement, route: str) -> None:
        self.measures.database_slow.labels(self.database, route).inc()
        now = time.monotonic()
        if self._storms.ended(now):
            self.close()
        fingerprint = named(slow.shape)
        if not self._storms.is_full(fingerprint, now):
            return
        call = slow.call
        self.lines.warning(
            "database.slow",
            database=self.database,
            seconds=round(slow.seconds, 6),
            statement=slow.shape,
            statement_id=fingerprint,
            error=type(slow.error).__name__ if slow.error is not None else None,
            where=slow.places[0] if slow.places else "",
            route=route,
            request_id=call.request_id if call is not None else "",
            trace_id=call.trace_id if call is not None else "",
        )


def cursor_classes(watch: Watch) -> tuple[type[AsyncTellingCursor], type[AsyncTellingServerCursor]]:
    """psycopg's cursors that tell `watch`: the ordinary one, and that on the server."""

    def told(self: object, query: Any, waited: Waited, *, many: bool = False) -> None:
        watch.statement(query, waited.seconds, waited.error)

    members = {"told": told}
    on_server = type("WatchedOnServer", (AsyncTellingServerCursor,), members)
    return type("Watched", (AsyncTellingCursor,), members), on_server


def text_of(query: Any) -> str:
    """A query of any of psycopg's forms, as text."""
    if isinstance(query, Composable):
        return query.as_string(None)
    return query.decode("utf-8", "replace") if isinstance(query, bytes) else str(query)


def _places(in_app: InApp) -> Iterator[str]:
    """Frames of the application under the running statement: awaiting coroutines are frames too."""
    frame = sys._getframe(1)
    found = 0
    while frame.f_back is not None and found < _PLACES:
        frame = frame.f_back
        if in_app(frame):
            found += 1
            yield f"{_short(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"


def _short(file: str) -> str:
    return "/".join(file.rsplit("/", 3)[-3:])
