"""A log line: structlog's event and fields, JSON, credentials masked, to a sink.

`Lines(sink)` has structlog's methods (`info`, `warning`, `error`). What the application bound with
`structlog.contextvars` is in every line. `add_request` is a structlog processor for the application's own logging: its
lines get the request id, trace id and span id of the request they are written in.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from tocsin.asgi.call import CURRENT
from tocsin.asgi.logs.writer import Sink, StreamSink
from tocsin.telemetry.logs import json_of

MOST_VALUE = 32_768
"""Characters of one field."""


class _ToSink:
    """What structlog calls a logger: takes finished lines."""

    def __init__(self, sink: Sink, lost: Callable[[], None]) -> None:
        self._sink = sink
        self._lost = lost

    def msg(self, line: bytes) -> None:
        if not self._sink.put(line):
            self._lost()

    info = warning = error = msg


class Lines:
    """A logger of JSON lines."""

    def __init__(self, sink: Sink | None = None, *, lost: Callable[[], None] = lambda: None) -> None:
        """`lost` is called for each line that the sink did not take."""
        self._sink = sink or StreamSink()
        self._lost = lost
        self._logger: Any = structlog.wrap_logger(
            _ToSink(self._sink, lost),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _bounded,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(20),
            cache_logger_on_first_use=True,
        ).bind()

    def request(self, fields: dict[str, Any]) -> None:
        """The line of a request that is done: the same JSON, without the chain of processors, which costs three times
        as much and would find nothing to do here (ids, templates and numbers)."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        bound = structlog.contextvars.get_contextvars()
        line = {**bound, **fields, "event": "request.done", "level": "info", "timestamp": now}
        if not self._sink.put(_json(line)):
            self._lost()

    def info(self, event: str, **fields: Any) -> None:
        """A line of level info."""
        self._logger.info(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """A line of level warning."""
        self._logger.warning(event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """A line of level error."""
        self._logger.error(event, **fields)

    def close(self) -> None:
        """Write what waits."""
        self._sink.close()


def add_request(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: the ids of the request that the line is written in."""
    call = CURRENT.get()
    if call is not None:
        event.setdefault("request_id", call.request_id)
        call.note_span()
        if call.trace_id:
            event.setdefault("trace_id", call.trace_id)
            event.setdefault("span_id", call.span_id)
    return event


def _bounded(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MOST_VALUE:
            event[key] = value[:MOST_VALUE] + "…"
    return event


def _json(event: Any, **_: Any) -> bytes:
    return json_of(event, default=repr)
