"""Spans of a protected application, as a real collector gets them over HTTP."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.collector import Collector, collecting, until
from tests.asgi.frameworks import BUILDERS, Site, protected, served
from tocsin.asgi import protect
from tocsin.asgi.call import parent_of
from tocsin.asgi.settings import Settings
from tocsin.asgi.traces import Traces, Tracing, outgoing, span
from tocsin.asgi.traces.names import shown_path, shown_url
from tocsin.errors import InputError

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
SERVER, CLIENT, ERROR = 2, 3, 2


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def site(collector: Collector) -> Iterator[Site]:
    """Starlette's application behind all layers, traces among them."""
    with ExitStack() as stack:
        app, site = protected(
            "starlette", BUILDERS["starlette"](), otlp_endpoint=collector.endpoint, trace_share=1.0, service="shop",
            otlp_headers=("x-tenant=acme",),
        )  # fmt: skip
        site.port = stack.enter_context(served(app))
        yield site


def asked(site: Site, path: str, flags: str = "01", **more: str) -> int:
    return site.ask(path, headers={**site.authorization, "traceparent": f"00-{TRACE}-{SPAN}-{flags}", **more})[0]


def test_a_request_is_a_span_under_its_caller(site: Site, collector: Collector) -> None:
    """Named for its route, with the conventions' attributes, the log line's ids, and nothing that tells who asked."""
    site.kept.lines.clear()
    assert asked(site, "/items/ana?token=hunter2") == 200
    [found] = until(lambda: collector.named("GET /items/{id}"))
    [line] = until(lambda: site.kept.of("request.done"))
    assert (found["trace_id"], found["parent"], found["kind"], found["status"]) == (TRACE, SPAN, SERVER, 0)
    assert (line["trace_id"], line["span_id"]) == (TRACE, found["span_id"])
    assert found["resource"]["service.name"] == "shop"
    assert found["attributes"] == {
        "http.request.method": "GET", "http.route": "/items/{id}", "http.response.status_code": 200,
        "url.scheme": "http", "url.path": "/items/***", "network.protocol.version": "1.1",
        "server.address": "127.0.0.1", "server.port": site.port, "enduser.pseudo.id": line["user"],
        "tocsin.request_id": line["request_id"],
    }  # fmt: skip
    assert collector.headers[-1]["x-tenant"] == "acme"
    assert 0 < found["seconds"] < 60


def test_an_error_s_span_is_found_by_its_log_line(site: Site, collector: Collector) -> None:
    """The same ids, category and fingerprint in both, and the exception's text masked."""
    site.kept.lines.clear()
    assert asked(site, "/boom") == 500
    [found] = until(lambda: collector.named("GET /boom"))
    [line] = site.kept.of("request.failed")
    assert (line["trace_id"], line["span_id"]) == (TRACE, found["span_id"])
    attributes, event = found["attributes"], found["events"]["exception"]
    assert (found["status"], attributes["error.type"], event["exception.type"]) == (ERROR, "ValueError", "ValueError")
    assert (attributes["tocsin.category"], attributes["tocsin.fingerprint"]) == (line["category"], line["fingerprint"])
    assert [secret for secret in ("ana@example.com", "hunter2") if secret in str(found)] == []
    assert "***" in event["exception.message"]


def test_refused_and_unknown_paths_make_no_names(site: Site, collector: Collector) -> None:
    """Whatever a stranger asks is one name, and its path is not shown; health checks are no span at all."""
    assert site.ask("/secret-of-ana", headers={})[0] == 401
    assert site.ask("/healthz", headers={})[0] == 200
    [found] = until(lambda: collector.named("GET"))
    assert (found["attributes"]["url.path"], found["attributes"]["http.response.status_code"]) == ("/***", 401)
    assert "http.route" not in found["attributes"]
    assert collector.named("GET /healthz") == []


def test_a_caller_that_keeps_no_trace_gets_no_span(site: Site, collector: Collector) -> None:
    """Its ids are in the log all the same, and the next service is told that nobody keeps it."""
    site.kept.lines.clear()
    assert asked(site, "/items/unsampled", flags="00") == 200
    assert asked(site, "/stream", flags="01") == 200
    until(lambda: collector.named("GET /stream"))
    line = next(line for line in site.kept.of("request.done") if line["route"] == "/items/{id}")
    assert line["trace_id"] == TRACE
    assert [one for one in collector.spans if one["span_id"] == line["span_id"]] == []


async def test_a_websocket_is_one_span_until_it_is_closed(site: Site, collector: Collector) -> None:
    """With the status of its handshake, and the error that ended it."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async with connect(f"ws://127.0.0.1:{site.port}/feed", additional_headers=site.authorization) as socket:
        assert await socket.recv() == "hello"
        await socket.send("go on")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    [found] = await asyncio.to_thread(until, lambda: collector.named("GET /feed"))
    attributes = found["attributes"]
    assert (attributes["network.protocol.name"], attributes["http.response.status_code"]) == ("websocket", 101)
    assert (found["status"], attributes["error.type"]) == (ERROR, "ValueError")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


async def test_the_layer_alone_marks_what_goes_through_it() -> None:
    """An exception, a 5xx that was meant, and a client that gives up, which is nobody's error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["tocsin.route"] = scope["path"]
        if scope["path"] == "/raises":
            raise Mute
        if scope["path"] == "/waits":
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with collecting() as collector:
        layer = Traces(app, tracing=Tracing(collector.endpoint, patience=60))
        with pytest.raises(Mute):
            await layer(scope("/raises"), nothing, nowhere)
        await layer(scope("/answers"), nothing, nowhere)
        task = asyncio.create_task(layer(scope("/waits"), nothing, nowhere))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await layer.close()
        found = {one["name"]: (one["status"], one["attributes"].get("error.type")) for one in collector.spans}
    assert found == {
        "GET /raises": (ERROR, f"{__name__}.Mute"), "GET /answers": (ERROR, "503"), "GET /waits": (0, "cancelled"),
    }  # fmt: skip


async def test_calls_of_other_services_take_the_trace_along() -> None:
    """By aiohttp, httpx, requests and by hand: each under the work's span, with the header that the other side got."""
    import aiohttp
    import httpx
    import requests

    from tocsin.asgi.traces import aiohttp_traces, httpx_transport, requests_adapter

    with collecting() as collector, collecting() as other:
        tracing = Tracing(collector.endpoint, patience=60)
        tracing.start()
        url = f"{other.endpoint}/v1/customers/cus_4Qz8Yd7s6Fw5Ge3x?key=hunter2"
        with span("work") as around:
            async with aiohttp.ClientSession(trace_configs=[aiohttp_traces()]) as session:
                (await session.post(url)).release()
            async with httpx.AsyncClient(transport=httpx_transport(httpx.AsyncHTTPTransport()), trust_env=False) as two:
                await two.post(url)
            with requests.Session() as three:
                three.mount("http://", requests_adapter())
                await asyncio.to_thread(three.post, url, data=b"")
            with outgoing("POST", url) as call, httpx.Client(trust_env=False) as four:
                other.status = call.status = 404
                four.post(url, headers=call.headers)
            with pytest.raises(httpx.ConnectError), httpx.Client(
                transport=httpx_transport(httpx.HTTPTransport()), trust_env=False
            ) as five:  # fmt: skip
                five.post(f"http://127.0.0.1:{free_port()}/gone")
        await tracing.close()
        spans = collector.spans
    calls = [one for one in spans if one["kind"] == CLIENT]
    context = around.get_span_context()
    assert {one["parent"] for one in calls} == {f"{context.span_id:016x}"}
    sent = [headers["traceparent"] for headers in other.headers]
    # The flags: sampled, and whether the id is random (level 2 of the standard, by the SDK's version).
    assert [header[:-1] for header in sent] == [f"00-{one['trace_id']}-{one['span_id']}-0" for one in calls[:4]]
    assert {header[-1] for header in sent} <= {"1", "3"}
    assert [one["attributes"].get("http.response.status_code") for one in calls] == [200, 200, 200, 404, None]
    assert [one["status"] for one in calls] == [0, 0, 0, ERROR, ERROR]
    assert calls[4]["attributes"]["error.type"] == "httpx.ConnectError"
    assert {one["attributes"]["url.full"] for one in calls[:4]} == {f"{other.endpoint}/v1/customers/***"}


@pytest.mark.parametrize(("wanted", "goes_on"), [(False, {"ours=2"}), (True, {"ours=2", "tenant=7"})])
async def test_context_goes_on_to_who_is_called(wanted: bool, goes_on: set[str]) -> None:
    """tracestate of several headers, baggage of the application's own, and a caller's where that is asked for."""
    from opentelemetry import context
    from opentelemetry.baggage import set_baggage

    sent: dict[str, str] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        token = context.attach(set_baggage("ours", "2"))
        with outgoing("GET", "http://example/") as call:
            sent.update(call.headers)
        context.detach(token)
        await answering(scope, receive, send)

    with collecting() as collector:
        layer = Traces(app, tracing=Tracing(collector.endpoint, patience=60, baggage=wanted))
        headers = [
            (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()), (b"tracestate", b"a=1,b=2"), (b"tracestate", b"c=3"),
            (b"baggage", b"tenant=7"),
        ]  # fmt: skip
        await layer(scope("/", headers=headers), nothing, nowhere)
        await layer.close()
        assert "tenant" not in str(collector.spans)
    assert (sent["traceparent"][3:35], sent["tracestate"]) == (TRACE, "a=1,b=2,c=3")
    assert set(sent["baggage"].split(",")) == goes_on


@pytest.mark.parametrize(
    ("header", "is_one"),
    [
        (f"00-{TRACE}-{SPAN}-01", True), (f"cc-{TRACE}-{SPAN}-01-more", True), (f"cc-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-01-more", False), (f"ff-{TRACE}-{SPAN}-01", False), (f"ff-{TRACE}-{SPAN}-01-x", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False), (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"cc-{TRACE}-{SPAN}-01.x", False), (f"00-{TRACE}-{SPAN}-1", False), ("", False),
    ],
)  # fmt: skip
def test_what_is_no_traceparent_begins_a_trace_of_its_own(header: str, is_one: bool) -> None:
    """By the standard's rules for versions, forbidden ids and what follows."""
    assert parent_of(header.encode()) == ((TRACE, SPAN, True) if is_one else ("", "", False))


def free_port() -> int:
    """Nobody listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def test_a_dead_collector_costs_spans_only() -> None:
    """Every request is answered; all spans are counted as lost, none twice; and the end comes by itself."""
    registry = CollectorRegistry()
    application = protect(
        answering, supabase_url="off", environment={}, registry=registry, trace_share=1.0,
        otlp_endpoint=f"http://127.0.0.1:{free_port()}", log_share=0.0,
    )  # fmt: skip
    await application.start()
    for _ in range(20):
        await application(scope("/"), nothing, nowhere)
    await application.close()
    lost = [
        registry.get_sample_value("tocsin_http_exports_total", {"signal": "traces", "outcome": outcome}) or 0.0
        for outcome in ("sent", "failed", "left")
    ]
    assert (lost[0], sum(lost)) == (0.0, 20.0)


async def answering(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_a_hanging_collector_fills_a_queue_that_is_bounded() -> None:
    """What does not fit is counted at once, what waits at the end is counted then; together they are all spans."""
    outcomes: dict[str, int] = {}

    def outcome(kind: str, count: int) -> None:
        outcomes[kind] = outcomes.get(kind, 0) + count

    with collecting() as collector:
        collector.hangs = True
        tracing = Tracing(collector.endpoint, most=10, outcome=outcome, patience=0.05)
        for _ in range(30):
            with tracing.span("work"):
                pass
        await tracing.close()
    assert outcomes == {"full": 20, "left": 10}


def test_nothing_of_opentelemetry_is_loaded_until_traces_are_asked_for() -> None:
    """Neither by the layers nor by the functions that an application calls all the time."""
    program = """
import sys
from tocsin.asgi import protect
from tocsin.asgi.traces import Traces, Tracing, outgoing, span, waiting, Cursor
with span("work"), waiting("app"), outgoing("GET", "http://example") as call:
    assert call.headers == {}
protect(print, supabase_url="off", environment={})
protect(print, supabase_url="off", environment={}, otlp_endpoint="http://127.0.0.1:1")
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "template", "shown"),
    [
        ("/items/17", "/items/{id}", "/items/17"),
        ("/items/123e4567-e89b-12d3-a456-426614174000", "/items/{id}", "/items/123e4567-e89b-12d3-a456-426614174000"),
        ("/items/ana@example.com/x", "/items/{id}/x", "/items/***/x"),
        ("/static/a/b/ana", "/static/{path}", "/static/***"),
        ("/", "/", "/"),
    ],
)
def test_a_path_shows_what_the_route_fixes_numbers_and_uuids(path: str, template: str, shown: str) -> None:
    """Everything else may be somebody."""
    assert shown_path(path, template) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@api.example/v1/x?key=1#f", ("https://api.example/v1/x", "api.example", 443)),
        ("http://h:81/services/T0/xoxb4Qz8Yd7s6Fw5Ge3x", ("http://h:81/services/T0/***", "h", 81)),
        ("http://h:none/", ("http://h:none/", "h", 0)),
    ],
)
def test_an_address_shows_no_credentials_and_no_secret_path(url: str, shown: tuple[str, str, int]) -> None:
    """Nor its query."""
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTLP_ENDPOINT", "collector:4318", "no http"), ("OTLP_HEADERS", "secret", "name=value"),
        ("TRACE_SHARE", "2", "from 0 to 1"),
    ],
)  # fmt: skip
def test_a_setting_that_is_wrong_says_which(variable: str, value: str, told: str) -> None:
    """And how it is written."""
    with pytest.raises(InputError, match=told) as found:
        Settings.from_environment({f"TOCSIN_APP_{variable}": value})
    assert variable in str(found.value)
