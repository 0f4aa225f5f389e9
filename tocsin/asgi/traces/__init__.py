"""Traces: a span for each request, statement, wait for a connection and call of another service. Off until asked for.

    application = protect(app, otlp_endpoint="http://collector:4318")       # or TOCSIN_APP_OTLP_ENDPOINT
    application = Traces(app, tracing=Tracing("http://collector:4318"))      # the layer alone

    tracing    `Tracing`: the SDK's provider, which traces are kept, and `span` for work of your own; what they go by
               (tocsin.telemetry.export) is bounded, counted, and given up in time
    layer      `Traces`: the request's span, by OpenTelemetry's conventions for HTTP; serving is what it says
    sql        statements and waits of a `Database` (`observe`), or of psycopg itself (`Cursor`, `ServerCursor`,
               `AsyncCursor`, `AsyncServerCursor`)
    calls      of other services: aiohttp, httpx, requests, and anything else that sends headers
    names      what a span shows of a path or an address

W3C trace context comes in and goes out; who called decides whether a trace is kept, and where nobody did, `share` of
them are. A span holds no literal of a statement, no query string and no address: see names and sql.

A function of this package does nothing (half a microsecond) until a `Tracing` has started, and OpenTelemetry is not
imported before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tocsin.asgi.traces.calls import aiohttp_traces, httpx_transport, outgoing, requests_adapter
    from tocsin.asgi.traces.layer import Traces
    from tocsin.asgi.traces.sql import AsyncCursor, AsyncServerCursor, Cursor, ServerCursor, observe, waiting
    from tocsin.asgi.traces.tracing import Tracing, span

_WHERE: Final = {
    "AsyncCursor": "sql",
    "AsyncServerCursor": "sql",
    "ServerCursor": "sql",
    "Cursor": "sql",
    "Traces": "layer",
    "Tracing": "tracing",
    "aiohttp_traces": "calls",
    "httpx_transport": "calls",
    "observe": "sql",
    "outgoing": "calls",
    "requests_adapter": "calls",
    "span": "tracing",
    "waiting": "sql",
}

__all__ = [
    "AsyncCursor", "AsyncServerCursor", "Cursor", "ServerCursor", "Traces", "Tracing", "aiohttp_traces",
    "httpx_transport", "observe", "outgoing", "requests_adapter", "span", "waiting",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
