"""What the layers cost a request: µs of CPU that each adds, beside other middlewares, in one run.

    python bench/asgi.py [--rounds 40] [--calls 400] [--json]

One Starlette application with twenty routes is called as a server would call it, without a server and without a socket:
what is measured is the middleware. Each stack gets short turns, so that all see the same machine.

    layer by layer      latency; log with 10 % of lines written to files; errors; access (a token seen before); limits
    ours                `protect` with all of them
    traces              the layer alone, every trace kept; `unsampled`: where the caller keeps none
    peers               prometheus-fastapi-instrumentator, starlette_exporter, opentelemetry-instrumentation-asgi with
                        metrics and with metrics and spans, an empty BaseHTTPMiddleware
    errors              an application that raises, behind ours and behind `except Exception: answer 500`: how many
                        a second of CPU, once the storm's first lines are written

Spans go to a batch processor whose exporter takes them at once, in both: a collector's pace is not what is measured.

What a stack adds is the difference of the quickest fifths of the turns (the others are what else the machine does); the
medians are printed beside.

Aims: latency at most 10 µs, all of ours at most 50 µs, 10,000 errors in a second.
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

AIM_LATENCY, AIM_ALL, AIM_ERRORS = 10.0, 50.0, 10_000
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
    return found | traced() | peers()


def spans() -> Any:
    """A provider as an application has one, whose spans end in memory."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    return provider


def traced() -> dict[str, Any]:
    """Our layer with traces that are kept, and with such as the caller does not keep."""
    from tocsin.asgi.traces import Traces, Tracing

    layer = Traces(bare(), tracing=Tracing(provider=spans()))

    async def kept(scope: Any, receive: Any, send: Any) -> None:
        # The scope's last header is the trace; the other stacks get it with the flag that it is not kept.
        name, value = scope["headers"][-1]
        await layer({**scope, "headers": [*scope["headers"][:-1], (name, value[:-2] + b"01")]}, receive, send)

    return {"traces": kept, "traces unsampled": layer}


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
    both = OpenTelemetryMiddleware(bare(), meter_provider=MeterProvider(), tracer_provider=spans())

    async def kept(scope: Any, receive: Any, send: Any) -> None:
        name, value = scope["headers"][-1]
        await both({**scope, "headers": [*scope["headers"][:-1], (name, value[:-2] + b"01")]}, receive, send)

    return {
        "instrumentator": instrumented, "starlette_exporter": exported, "otel metrics": otel,
        "otel metrics+spans": kept, "BaseHTTP": based,
    }  # fmt: skip


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


def raising() -> dict[str, Any]:
    """An application that raises, behind as little as answers it, and behind all of ours but access."""

    def deep(left: int) -> None:
        if left:
            return deep(left - 1)
        raise ValueError("of ana@example.com")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        deep(5)

    async def excepted(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except Exception:  # noqa: BLE001 (what servers do)
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Internal Server Error"})

    ours = protect(
        app, registry=CollectorRegistry(), environment={}, supabase_url="off", lines=Lines(Nowhere()),
    )  # fmt: skip
    return {"except": excepted, "ours": ours}


class Nowhere:
    """A sink that writes nothing: a disk is not what is measured."""

    def put(self, line: bytes) -> bool:
        """Taken."""
        return True

    def close(self) -> None: ...


async def measure_errors(rounds: int, calls: int) -> dict[str, float]:
    """Errors in a second of CPU."""
    scope, apps = scope_maker(), raising()
    for app in apps.values():
        await turn(app, scope, 2000)
    turns: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(rounds):
        for name, app in apps.items():
            turns[name].append(await turn(app, scope, calls))
    return {f"{name} errors/s": 1e6 / quick(found) for name, found in turns.items()}


def quick(turns: list[float]) -> float:
    """What it takes when nothing else disturbs: the slowest of the quickest fifth."""
    return sorted(turns)[len(turns) // 5]


async def measure(rounds: int, calls: int) -> dict[str, tuple[float, float]]:
    """What each stack adds, in quick turns and at the median; `bare` is what the application itself takes."""
    scope = scope_maker()
    with tempfile.TemporaryDirectory() as folder:
        apps = stacks(Path(folder))
        for app in apps.values():
            await turn(app, scope, 50)  # imports, keys, route trees
        turns: dict[str, list[float]] = {name: [] for name in apps}
        gc.collect()
        for _ in range(rounds):
            for name, app in apps.items():
                turns[name].append(await turn(app, scope, calls))
        await apps["ours"].close()
        await apps["access"].close()
    base = turns.pop("bare")
    found = {"bare": (quick(base), median(base))}
    for name, took in turns.items():
        between = [one - bare for one, bare in zip(took, base, strict=True)]
        found[name] = (quick(took) - quick(base), median(between))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found = asyncio.run(measure(options.rounds, options.calls))
    errors = asyncio.run(measure_errors(max(5, options.rounds // 2), options.calls))
    if options.json:
        print(json.dumps({name: quick for name, (quick, _) in found.items()} | errors))
        return
    bare, usual = found.pop("bare")
    print(f"bare application: {bare:.1f} µs (median {usual:.1f})")
    ours, latency = found["ours"][0], found["latency"][0]
    for name, (added, usual) in found.items():
        print(f"{name:20} +{added:6.1f} µs   {ours / added:5.2f} x is all of ours   (median {usual:+.1f})")
    theirs = found["otel metrics+spans"][0] - found["otel metrics"][0]
    mine = found["traces"][0] / theirs
    print(f"spans: {mine:.2f} of the {theirs:.1f} µs that OpenTelemetry's middleware adds for them")
    print(f"aim: latency {latency:.1f} of {AIM_LATENCY:g} µs, all {ours:.1f} of {AIM_ALL:g} µs")
    print(f"errors in a second of CPU: {errors['ours errors/s']:,.0f} behind ours, aim {AIM_ERRORS:,};", end=" ")
    print(f"{errors['except errors/s']:,.0f} where they are answered 500 and forgotten")


if __name__ == "__main__":
    main()
