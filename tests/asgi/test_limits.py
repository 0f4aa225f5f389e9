"""The limits on concurrency and time: who waits, who is turned away, and whose time it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, nothing, nowhere, ok, scope
from tocsin.asgi import Concurrency, Time
from tocsin.asgi.measures import measures_of


async def test_a_full_house_turns_away_and_lets_in_by_order() -> None:
    """One place, one waiting: the third gets 503 with Retry-After, the second is served next; health always answers."""
    gate, served = asyncio.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/healthz":
            await gate.wait()
        served.append(scope["path"])
        await ok(scope, receive, send)

    layer = Concurrency(app, 1, waiting=1, patience=60, measures=measures_of(CollectorRegistry()))
    clients = [Client() for _ in range(4)]
    first, second = (asyncio.create_task(layer(scope(f"/{n}"), nothing, clients[n].send)) for n in (0, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await layer(scope("/2"), nothing, clients[2].send)
    await layer(scope("/healthz"), nothing, clients[3].send)
    gate.set()
    await asyncio.gather(first, second)
    assert [client.status for client in clients] == [200, 200, 503, 200]
    assert clients[2].header(b"retry-after") == b"1"
    assert served == ["/healthz", "/0", "/1"]


async def test_who_gives_up_waiting_leaves_no_place_taken() -> None:
    """By patience or by cancellation."""
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/0":
            await gate.wait()
        await ok(scope, receive, send)

    registry = CollectorRegistry()
    layer = Concurrency(app, 1, waiting=5, patience=0.01, measures=measures_of(registry))
    impatient, later = Client(), Client()
    first = asyncio.create_task(layer(scope("/0"), nothing, nowhere))
    await asyncio.sleep(0)
    cancelled = asyncio.create_task(layer(scope("/1"), nothing, nowhere))
    await asyncio.sleep(0)
    cancelled.cancel()
    await layer(scope("/2"), nothing, impatient.send)
    gate.set()
    await first
    await layer(scope("/3"), nothing, later.send)
    assert (impatient.status, later.status, cancelled.cancelled()) == (503, 200, True)
    assert registry.get_sample_value("tocsin_http_requests_waiting") == 0


async def test_each_of_many_that_take_too_long_is_given_up_and_no_other() -> None:
    """Their limits share a timer: what ends in time, or has begun, is left alone; later ones have their own time."""
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] != "/quick":
            await gate.wait()
        if scope["path"] == "/begun":
            await send({"type": "http.response.body", "body": b"late"})
        else:
            await ok(scope, receive, send)

    layer = Time(app, 0.05, measures=measures_of(CollectorRegistry()))
    paths = ["/slow", "/begun", "/quick", "/slow"]
    clients = [Client() for _ in range(5)]
    tasks = [asyncio.create_task(layer(scope(path), nothing, clients[n].send)) for n, path in enumerate(paths)]
    await asyncio.gather(*(tasks[n] for n in (0, 2, 3)))
    await layer(scope("/slow"), nothing, clients[4].send)
    assert not tasks[1].done()
    gate.set()
    await tasks[1]
    assert [client.status for client in clients] == [504, 200, 200, 504, 504]
    assert clients[1].said[-1]["body"] == b"late"


async def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    """The time limit answers 504 for its own only."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    client = Client()
    layer = Time(app, 60, measures=measures_of(CollectorRegistry()))
    task = asyncio.create_task(layer(scope("/"), nothing, client.send))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.said == []


async def test_an_answer_that_has_begun_may_go_on_unless_the_whole_is_limited() -> None:
    """A stream is not cut off by the limit on its beginning."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"late"})

    client, cut = Client(), Client()
    measures = measures_of(CollectorRegistry())
    await Time(app, 0.01, measures=measures)(scope("/"), nothing, client.send)
    with pytest.raises(TimeoutError):
        await Time(app, 0.01, whole=0.02, measures=measures)(scope("/"), nothing, cut.send)
    assert ([len(client.said), len(cut.said)]) == [2, 1]
