"""Latency: exemplars lead from a series to a trace, and what is under way comes to an end however it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, nothing, nowhere, ok, scope
from tocsin.asgi import Exposition, Latency
from tocsin.asgi.measures import measures_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
TOKEN = "0123456789abcdef"


async def test_a_scraper_of_openmetrics_sees_the_trace_of_a_request() -> None:
    """In the bucket that it fell into; the old text format knows no exemplars and has none."""
    registry = CollectorRegistry()
    application = Exposition(Latency(ok, measures=measures_of(registry)), TOKEN, registry=registry)
    asked = scope("/orders/17")
    asked["headers"] = [(b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())]
    await application(asked, nothing, nowhere)
    pages = []
    for accept in (b"application/openmetrics-text; version=1.0.0", b"text/plain"):
        scrape, client = scope("/metrics"), Client()
        scrape["headers"] = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"accept", accept)]
        await application(scrape, nothing, client.send)
        pages.append(client.said[1]["body"].decode())
    marked = [line for line in pages[0].splitlines() if f'trace_id="{TRACE}"' in line.partition("# ")[2]]
    assert [line.partition("{")[0] for line in marked] == ["tocsin_http_request_duration_seconds_bucket"]
    assert TRACE not in pages[1]


async def test_nothing_stays_under_way() -> None:
    """After an exception, a cancellation, a client that left and an answer that never came."""
    registry = CollectorRegistry()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert registry.get_sample_value("tocsin_http_requests_in_flight") == 1
        error = {"/raises": KeyError, "/cancelled": asyncio.CancelledError, "/exits": SystemExit}.get(scope["path"])
        if error is not None:
            raise error
        if scope["path"] == "/gone":
            await send({"type": "http.response.start", "status": 200, "headers": []})

    async def broken(message: Any) -> None:
        raise BrokenPipeError

    latency = Latency(app, measures=measures_of(registry))
    for path, error in (("/raises", KeyError), ("/cancelled", asyncio.CancelledError), ("/exits", SystemExit)):
        with pytest.raises(error):
            await latency(scope(path), nothing, nowhere)
    with pytest.raises(BrokenPipeError):
        await latency(scope("/gone"), nothing, broken)
    await latency(scope("/silent"), nothing, nowhere)

    async def socket(scope: Any, receive: Any, send: Any) -> None:
        scope["tocsin.route"] = "/feed"
        await send({"type": "websocket.accept"})
        assert registry.get_sample_value("tocsin_http_sockets_open", {"route": "/feed"}) == 1
        raise KeyError

    with pytest.raises(KeyError):
        await Latency(socket, measures=measures_of(registry))(scope("/feed") | {"type": "websocket"}, nothing, nowhere)
    assert registry.get_sample_value("tocsin_http_sockets_open", {"route": "/feed"}) == 0
    assert registry.get_sample_value("tocsin_http_requests_in_flight") == 0
