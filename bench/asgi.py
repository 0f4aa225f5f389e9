"""What the layers cost a request: µs of CPU that each adds, beside other middlewares, in one run.

    python bench/asgi.py [--rounds 40] [--calls 400] [--json]

One Starlette application with twenty routes is called as a server would call it, without a server and without a socket:
what is measured is the middleware. Each stack gets short turns, so that all see the same machine; the median turn
counts, and what a stack adds is the median of the turns' differences to the bare application's turn before it.

    layer by layer      latency; log with 10 % of lines written to files; errors; access (a token seen before); limits
    ours                `protect` with all of them
    peers               prometheus-fastapi-instrumentator, starlette_exporter, opentelemetry-instrumentation-asgi with
                        metrics, an empty BaseHTTPMiddleware

Aims: latency at most 10 µs, all of ours at most 50 µs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import getrandbits
from statistics import median
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tocsin.asgi import Body, Concurrency, Errors, Gate, Latency, Lines, RequestLog, Time, protect
from tocsin.asgi.access import Access
from tocsin.asgi.logs.files import Files
from tocsin.asgi.logs.writer import FileSink
from tocsin.asgi.measures import measures_of
from tocsin.testing.forge import ISSUER, SECRET, Forge

AIM_LATENCY, AIM_ALL = 10.0, 50.0
ANSWER = PlainTextResponse("ok")


async def item(_: Any) -> Any:
    return ANSWER


def bare() -> Starlette:
    return Starlette(routes=[Route(f"/things{number}/{{id}}", item) for number in range(19)] + [Route("/a/{id}", item)])


def stacks(folder: Path) -> dict[str, Any]:
    """Applications by name."""
    measures = {name: measures_of(CollectorRegistry()) for name in ("latency", "log", "errors", "access", "limits")}
    lines = Lines(FileSink(Files(folder)))
    gate = Gate(ISSUER, allowlist=["ana@example.com"], jwt_secret=SECRET)
    limits = measures["limits"]
    found: dict[str, Any] = {
        "bare": bare(),
        "latency": Latency(bare(), measures=measures["latency"]),
        "log": RequestLog(bare(), measures=measures["log"], lines=lines),
        "errors": Errors(bare(), measures=measures["errors"], lines=lines),
        "access": Access(bare(), gate, measures=measures["access"]),
        "limits": Concurrency(Time(Body(bare(), measures=limits), measures=limits), measures=limits),
        "ours": protect(
            bare(), gate=gate, registry=CollectorRegistry(), environment={}, log_folder=str(folder / "all")
        ),
    }
    return found | peers()


def peers() -> dict[str, Any]:
    """The same application behind what others use."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.trace import NoOpTracerProvider
    from prometheus_fastapi_instrumentator import Instrumentator
    from starlette_exporter import PrometheusMiddleware

    instrumented = bare()
    Instrumentator(registry=CollectorRegistry()).instrument(instrumented)
    exported = bare()
    exported.add_middleware(PrometheusMiddleware, group_paths=True)
    based = bare()

    async def through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    based.add_middleware(BaseHTTPMiddleware, dispatch=through)
    otel = OpenTelemetryMiddleware(bare(), meter_provider=MeterProvider(), tracer_provider=NoOpTracerProvider())
    return {"instrumentator": instrumented, "starlette_exporter": exported, "otel metrics": otel, "BaseHTTP": based}


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_: Any) -> None: ...


def scope_maker() -> Callable[[], dict[str, Any]]:
    token = Forge.hs256().token()
    headers = [
        (b"host", b"app.example"), (b"user-agent", b"Mozilla/5.0"), (b"accept", b"application/json"),
        (b"accept-encoding", b"gzip"), (b"authorization", f"Bearer {token}".encode()),
    ]  # fmt: skip
    # Each request is of a trace of its own, or the log's share would be all or nothing.
    trace = lambda: [(b"traceparent", b"00-%032x-b7ad6b7169203331-00" % getrandbits(128))]  # noqa: E731
    return lambda: {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": "/a/1",
        "raw_path": b"/a/1", "query_string": b"", "root_path": "", "scheme": "http", "headers": headers + trace(),
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip


async def turn(app: Any, scope: Callable[[], dict[str, Any]], calls: int) -> float:
    """µs of CPU for one call."""
    scopes = [scope() for _ in range(calls)]
    began = time.process_time()
    for one in scopes:
        await app(one, receive, send)
    return (time.process_time() - began) / calls * 1e6


async def measure(rounds: int, calls: int) -> dict[str, float]:
    """What each stack adds; `bare` is what the application itself takes."""
    scope = scope_maker()
    with tempfile.TemporaryDirectory() as folder:
        apps = stacks(Path(folder))
        for app in apps.values():
            await turn(app, scope, 50)  # imports, keys, route trees
        added: dict[str, list[float]] = {name: [] for name in apps}
        gc.collect()
        for _ in range(rounds):
            for name, app in apps.items():
                if name == "bare":
                    added[name].append(await turn(app, scope, calls))
                    continue
                base = await turn(apps["bare"], scope, calls)
                added[name].append(await turn(app, scope, calls) - base)
        await apps["ours"].close()
        await apps["access"].close()
    return {name: median(turns) for name, turns in added.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found = asyncio.run(measure(options.rounds, options.calls))
    if options.json:
        print(json.dumps(found))
        return
    print(f"bare application: {found.pop('bare'):.1f} µs")
    for name, added in found.items():
        print(f"{name:20} +{added:6.1f} µs   {found['ours'] / added:5.2f} x is all of ours")
    print(f"aim: latency {found['latency']:.1f} of {AIM_LATENCY:g} µs, all {found['ours']:.1f} of {AIM_ALL:g} µs")


if __name__ == "__main__":
    main()
