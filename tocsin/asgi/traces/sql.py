"""Spans of statements, and of waits for a connection.

    Database(dsn, observers=[observe])                                      # `protect(database=…)` does it by itself
    psycopg.connect(dsn, cursor_factory=Cursor)                             # psycopg itself, sync
    AsyncConnectionPool(dsn, kwargs={"cursor_factory": AsyncCursor})        # and async
    connection.server_cursor_factory = ServerCursor                         # cursors with a name, on the server
    connection.server_cursor_factory = AsyncServerCursor                    # and async
    with waiting("app"): connection = pool.getconn()                        # the wait, as a span of its own

A span is named for what is done to what (`SELECT campaigns`) and holds the statement's shape, without any literal; what
failed holds the SQLSTATE. There is one only under a span that is kept: a statement is never a trace of its own.
https://opentelemetry.io/docs/specs/semconv/database/postgresql/
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from tocsin.asgi.database.cursors import (
    AsyncTellingCursor,
    AsyncTellingServerCursor,
    TellingCursor,
    TellingServerCursor,
    Waited,
)
from tocsin.asgi.database.shape import shape_of
from tocsin.asgi.database.watch import Event, Statement, text_of
from tocsin.asgi.traces.tracing import Tracing, active
from tocsin.model import Seconds

_NAME: Final = r'(?:"[^"]{1,63}"|[^\W\d][\w$]{0,62})'
_TARGET: Final = re.compile(
    rf"\b(?:copy|from|into|update|join|table)\s+(?:only\s+)?((?:{_NAME}\.)?{_NAME})", re.IGNORECASE
)
_INNERMOST: Final = re.compile(r"\([^()]*\)")
_WORD: Final = re.compile(r"[A-Za-z]{1,20}")


def observe(event: Event) -> None:
    """Told by a `Database` of each statement and wait that ended: a span, under the running one."""
    tracing = active()
    if tracing is None:
        return
    if isinstance(event, Statement):
        _record(tracing, lambda: event.shape, event.seconds, event.error, pool=event.database)
    else:
        _wait(tracing, event.database, event.seconds, event.error)


@contextmanager
def waiting(pool: str) -> Iterator[None]:
    """A span around the wait for a connection of `pool`."""
    tracing, began = active(), time.perf_counter()
    if tracing is None:
        yield
        return
    error: BaseException | None = None
    try:
        yield
    except BaseException as found:
        error = found
        raise
    finally:
        _wait(tracing, pool, time.perf_counter() - began, error)


class Cursor(TellingCursor):
    """psycopg's, with a span for each statement."""

    def told(self, query: Any, waited: Waited, *, many: bool = False) -> None:
        """A span."""
        _told(self, query, waited, many)


class AsyncCursor(AsyncTellingCursor):
    """The same for asyncio."""

    def told(self, query: Any, waited: Waited, *, many: bool = False) -> None:
        """A span."""
        _told(self, query, waited, many)


class ServerCursor(TellingServerCursor):
    """The same for a cursor on the server."""

    def told(self, query: Any, waited: Waited, *, many: bool = False) -> None:
        """A span."""
        _told(self, query, waited, many)


class AsyncServerCursor(AsyncTellingServerCursor):
    """The same for asyncio."""

    def told(self, query: Any, waited: Waited, *, many: bool = False) -> None:
        """A span."""
        _told(self, query, waited, many)


def _told(cursor: Any, query: Any, waited: Waited, many: bool) -> None:
    tracing = active()
    if tracing is not None:
        info = cursor.connection.info
        _record(tracing, lambda: shape_of(text_of(query)), waited.seconds, waited.error, info=info, many=many)


def _record(
    tracing: Tracing,
    shape: Callable[[], str],
    seconds: Seconds,
    error: BaseException | None,
    *,
    pool: str = "",
    info: Any = None,
    many: bool = False,
) -> None:
    from opentelemetry.trace import SpanKind, get_current_span

    if not get_current_span().is_recording():
        return
    text = shape()
    operation, summary = summary_of(text)
    attributes: dict[str, Any] = {
        "db.system.name": "postgresql",
        "db.query.text": text,
        "db.query.summary": summary,
        "db.operation.name": f"BATCH {operation}" if many else operation,
    }
    if pool:
        attributes["db.client.connection.pool.name"] = pool
    if info is not None and error is None:
        attributes |= {"db.namespace": info.dbname, "server.address": info.host, "server.port": info.port}
    state = getattr(error, "sqlstate", None)
    if state:
        attributes["db.response.status_code"] = state
    tracing.record(summary or "postgresql", seconds, SpanKind.CLIENT, attributes, error, kind_of_error=state or "")


def _wait(tracing: Tracing, pool: str, seconds: Seconds, error: BaseException | None) -> None:
    from opentelemetry.trace import SpanKind

    attributes = {"db.system.name": "postgresql", "db.client.connection.pool.name": pool}
    tracing.record("wait for a connection", seconds, SpanKind.INTERNAL, attributes, error)


@lru_cache(maxsize=1024)
def summary_of(shape: str) -> tuple[str, str]:
    """(operation, `OPERATION target`) of a statement's shape, as well as it shows without parsing it."""
    word = _WORD.match(shape.lstrip("( "))
    operation = word[0].upper() if word else ""
    outer, found = shape, 1
    while found:
        outer, found = _INNERMOST.subn(" ", outer)
    target = _TARGET.search(outer) or _TARGET.search(shape)
    return operation, f"{operation} {target[1]}" if target else operation
