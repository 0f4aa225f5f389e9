"""What a web application mounts: access, errors, latency, request log, limits. ASGI, whatever the framework.

    from tocsin.asgi import protect
    application = protect(app, public=["/healthz"])

For Starlette, FastAPI, Litestar, Django and any other ASGI application; HTTP and WebSockets. Each layer also stands
alone: `Latency(app)`. docs/application.md shows both.

    mount         `protect`: all layers, in order, with one lifespan
    settings      what they are told, by arguments or TOCSIN_APP_…
    access, gate  token and allowlist in front of everything that is not public by name
    errors/       caught, categorised, fingerprinted, scrubbed, logged once, answered without insides
    traces/       spans of requests, statements and calls of others, by OpenTelemetry; off until asked for
    latency       histograms with exemplars; measures has every series
    logs/         the request log: sampling that keeps the counts, files that turn, what a day costs
    limits/       body, time, concurrency
    cache/        answers and functions' results, per user; single flight, stale while revalidated, tags
    database/     the application's Postgres: a pool whose waits end, slow statements, N+1 in tests
    exposition    /metrics for a scraper with a token
    call, routes  what the layers know of a request; its route as a template

Names here are imported when they are first used: a layer costs only itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tocsin.asgi.access import Access, principal
    from tocsin.asgi.cache import Cache, Rule
    from tocsin.asgi.call import Call, Site, call_of
    from tocsin.asgi.database import Database, queries
    from tocsin.asgi.errors import ErrorReport, Errors
    from tocsin.asgi.exposition import Exposition
    from tocsin.asgi.gate import Gate
    from tocsin.asgi.latency import Latency
    from tocsin.asgi.limits import Body, Concurrency, Time
    from tocsin.asgi.logs import Lines, RequestLog, Sampling, add_request
    from tocsin.asgi.mount import Parts, Protected, protect
    from tocsin.asgi.problem import Unavailable
    from tocsin.asgi.settings import Settings

_WHERE: Final = {
    "Access": "access",
    "principal": "access",
    "Cache": "cache",
    "Rule": "cache",
    "Call": "call",
    "Site": "call",
    "call_of": "call",
    "Database": "database",
    "queries": "database",
    "ErrorReport": "errors",
    "Errors": "errors",
    "Exposition": "exposition",
    "Gate": "gate",
    "Latency": "latency",
    "Body": "limits",
    "Concurrency": "limits",
    "Time": "limits",
    "Lines": "logs",
    "RequestLog": "logs",
    "Sampling": "logs",
    "add_request": "logs",
    "Parts": "mount",
    "Protected": "mount",
    "protect": "mount",
    "Unavailable": "problem",
    "Settings": "settings",
}

__all__ = [
    "Access", "Body", "Cache", "Call", "Concurrency", "Database", "ErrorReport", "Errors", "Exposition", "Gate",
    "Latency", "Lines", "Parts", "Protected", "RequestLog", "Rule", "Sampling", "Settings", "Site", "Time",
    "Unavailable", "add_request", "call_of", "principal", "protect", "queries",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
