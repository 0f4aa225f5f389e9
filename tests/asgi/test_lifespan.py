"""Start and stop: ours around the application's, through each layer, and when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client
from tests.asgi.frameworks import Kept
from tocsin.asgi import (
    Access,
    Body,
    Cache,
    Concurrency,
    Errors,
    Exposition,
    Gate,
    Latency,
    Lines,
    RequestLog,
    Rule,
    Time,
    protect,
)  # fmt: skip
from tocsin.asgi.measures import measures_of


async def lifespan_of(app: Any) -> list[str]:
    """What a server is told at start and stop."""
    said: list[str] = []
    events = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> Any:
        return next(events)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return said


async def test_the_lifespan_starts_and_stops_ours_around_the_applications() -> None:
    """Also where the application has none; a start that fails is told to the server."""
    order: list[str] = []

    class Layer:
        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

        async def start(self) -> None:
            order.append("ours starts")

        async def close(self) -> None:
            order.append("ours stops")

    async def speaks(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        order.append("app starts")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        order.append("app stops")
        await send({"type": "lifespan.shutdown.complete"})

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def has_none(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only http")

    def around(app: Any) -> Any:
        return protect(
            app, inside=[lambda inner, _: Layer(inner)], environment={}, supabase_url="off", lines=Lines(Kept()),
            registry=CollectorRegistry(),
        )  # fmt: skip

    complete = ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert await lifespan_of(around(speaks)) == complete
    assert order == ["ours starts", "app starts", "app stops", "ours stops"]
    assert await lifespan_of(around(has_none)) == complete
    assert await lifespan_of(around(fails)) == ["lifespan.startup.failed"]
    assert order[4:] == ["ours starts", "ours stops"] * 2


LONE: dict[str, Callable[[Any, Any], Any]] = {
    "access": lambda app, measures: Access(app, Gate("https://ref", allowlist=["ana@example.com"]), measures=measures),
    "body": lambda app, measures: Body(app, measures=measures),
    "cache": lambda app, _: Cache().responses({"/x": Rule(ttl=1)})(app, SimpleNamespace(measures=None, site=None)),
    "concurrency": lambda app, measures: Concurrency(app, measures=measures),
    "errors": lambda app, measures: Errors(app, measures=measures, lines=Lines(Kept())),
    "exposition": lambda app, _: Exposition(app, "x" * 16),
    "latency": lambda app, measures: Latency(app, measures=measures),
    "log": lambda app, measures: RequestLog(app, measures=measures, lines=Lines(Kept())),
    "time": lambda app, measures: Time(app, measures=measures),
}


@pytest.mark.parametrize("name", LONE)
async def test_a_lifespan_passes_through_each_layer_alone(name: str) -> None:
    """Complete or failed, as the application says; and the exception of one that has none, which servers know."""

    async def speaks(scope: Any, receive: Any, send: Any) -> None:
        for asked in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{asked}"
            await send({"type": f"lifespan.{asked}.{scope['says']}"})

    async def has_none(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only http")

    async def through(app: Any, says: str = "") -> list[str]:
        layer, client = LONE[name](app, measures_of(CollectorRegistry())), Client()
        events = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

        async def receive() -> Any:
            return next(events)

        await layer({"type": "lifespan", "asgi": {"version": "3.0"}, "says": says}, receive, client.send)
        return [message["type"] for message in client.said]

    for says in ("complete", "failed"):
        assert await through(speaks, says) == [f"lifespan.startup.{says}", f"lifespan.shutdown.{says}"]
    with pytest.raises(ValueError, match="only http"):
        await through(has_none)


async def test_what_goes_wrong_at_the_end_is_told_and_nothing_stays_open() -> None:
    """A layer that can't be closed costs neither the others nor the log; an application without a lifespan is named."""
    kept, closed = Kept(), list[str]()

    class Layer:
        def __init__(self, app: Any, name: str) -> None:
            self._app, self._name = app, name

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

        async def close(self) -> None:
            closed.append(self._name)
            if self._name == "outer":
                raise OSError("the disk is full")

    async def has_none(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only http")

    app = protect(
        has_none, inside=[lambda app, _: Layer(app, "outer"), lambda app, _: Layer(app, "inner")], environment={},
        supabase_url="off", lines=Lines(kept), registry=CollectorRegistry(),
    )  # fmt: skip
    assert await lifespan_of(app) == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert closed == ["outer", "inner"]
    assert [(line["event"], line["error"]) for line in kept.lines] == [
        ("app.no_lifespan", "only http"), ("app.layer_not_closed", "the disk is full"),
    ]  # fmt: skip


async def test_what_hangs_does_not_hold_up_the_servers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that works on after it said that it has stopped, and a layer's close(), which both swallow their
    cancellation: they are left behind, the others are closed, and the server is told."""
    monkeypatch.setattr("tocsin.asgi.lifespan.LEFT_AFTER", 0.01)
    monkeypatch.setattr("tocsin.asgi.mount.LEFT_AFTER", 0.01)
    kept, closed, released = Kept(), list[str](), asyncio.Event()

    async def hangs() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    class Layer:
        def __init__(self, app: Any, name: str) -> None:
            self._app, self._name = app, name

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self._app(scope, receive, send)

        async def close(self) -> None:
            closed.append(self._name)
            if self._name == "outer":
                await hangs()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for which in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{which}.complete"})
        await hangs()

    served = protect(
        app, inside=[lambda app, _: Layer(app, "outer"), lambda app, _: Layer(app, "inner")], environment={},
        supabase_url="off", lines=Lines(kept), registry=CollectorRegistry(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            assert await lifespan_of(served) == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    finally:
        released.set()
    assert closed == ["outer", "inner"]
    assert [(line["event"], line["error"]) for line in kept.lines] == [
        ("app.layer_not_closed", "close() has not ended within 0.01 s")
    ]
