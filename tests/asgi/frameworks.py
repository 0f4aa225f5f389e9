"""The same small application in each framework, and a server for it: what the layers must hold for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from prometheus_client import CollectorRegistry

from tocsin.asgi import Gate, Lines, Parts, Protected, Time, Unavailable, protect
from tocsin.asgi.mount import OUTSIDE
from tocsin.asgi.mount import time as time_limit
from tocsin.testing.forge import ISSUER, SECRET, Forge

TEXT = "ana@example.com has password=hunter2"
"""In every exception's message: none of it may leave."""


class Kept:
    """A sink in memory."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def put(self, line: bytes) -> bool:
        self.lines.append(orjson.loads(line))
        return True

    def close(self) -> None: ...

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


async def without_end() -> AsyncIterator[bytes]:
    """What /endless answers, for as long as somebody reads."""
    while True:
        yield b"x" * 1000
        await asyncio.sleep(0.01)


def item_of(id: str) -> str:
    """What /items/ID answers; one of them can't be had now."""
    if id == "busy":
        raise Unavailable
    return id


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    async def item(request: Request) -> Any:
        return PlainTextResponse(item_of(request.path_params.get("id", "fine")))

    async def boom(_: Request) -> Any:
        raise ValueError(TEXT)

    async def echo(request: Request) -> Any:
        return PlainTextResponse(str(len(await request.body())))

    async def slow(_: Request) -> Any:
        await asyncio.sleep(30)

    async def stream(_: Request) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(0)
            raise ValueError(TEXT)

        return StreamingResponse(parts())

    async def endless(_: Request) -> Any:
        return StreamingResponse(without_end())

    async def fail() -> None:
        raise ValueError(TEXT)

    async def later(_: Request) -> Any:
        return PlainTextResponse("done", background=BackgroundTask(fail))

    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()
        raise ValueError(TEXT)

    routes = [
        Route("/items/{id}", item), Route("/boom", boom), Route("/echo", echo, methods=["POST"]), Route("/slow", slow),
        Route("/stream", stream), Route("/later", later), Route("/endless", endless),
        Route("/healthz", item), WebSocketRoute("/feed", feed),
    ]  # fmt: skip
    return Starlette(routes=routes)


def fastapi() -> Any:
    from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, WebSocket
    from fastapi.responses import StreamingResponse

    app, router = FastAPI(), APIRouter(prefix="/items")

    @router.get("/{id}")
    async def item(id: str) -> str:
        return item_of(id)

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError(TEXT)

    async def echo(request: Request) -> str:
        return str(len(await request.body()))

    async def stream() -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(0)
            raise ValueError(TEXT)

        return StreamingResponse(parts())

    async def fail() -> None:
        raise ValueError(TEXT)

    async def later(tasks: Any) -> str:
        tasks.add_task(fail)
        return "done"

    async def feed(websocket: Any) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()
        raise ValueError(TEXT)

    async def slow() -> None:
        await asyncio.sleep(30)

    async def endless() -> Any:
        return StreamingResponse(without_end())

    # The annotations are local names, which FastAPI can't look up.
    echo.__annotations__["request"] = Request
    later.__annotations__["tasks"] = BackgroundTasks
    feed.__annotations__["websocket"] = WebSocket
    app.include_router(router)
    app.post("/echo")(echo)
    app.get("/slow")(slow)
    app.get("/stream")(stream)
    app.get("/endless")(endless)
    app.get("/later")(later)
    app.websocket("/feed")(feed)
    return app


def litestar() -> Any:
    from litestar import Litestar, Request, Response, WebSocket, get, params, post, websocket
    from litestar.background_tasks import BackgroundTask
    from litestar.response import Stream

    def _item(id: Any) -> str:
        return item_of(str(id))

    @get("/boom")
    async def boom() -> None:
        raise ValueError(TEXT)

    async def _echo(request: Any) -> str:
        return str(len(await request.body()))

    async def _stream() -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(0)
            raise ValueError(TEXT)

        return Stream(parts())

    async def _endless() -> Any:
        return Stream(without_end())

    async def fail() -> None:
        raise ValueError(TEXT)

    async def _later() -> Any:
        return Response("done", background=BackgroundTask(fail))

    async def _feed(socket: Any) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.receive_text()
        raise ValueError(TEXT)

    @get("/slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    _item.__annotations__.update({"id": params.FromPath[str], "return": str})
    item = get("/items/{id:str}", sync_to_thread=False)(_item)
    _echo.__annotations__.update({"request": Request, "return": str})
    _stream.__annotations__["return"] = _endless.__annotations__["return"] = Stream
    _later.__annotations__["return"] = Response
    _feed.__annotations__.update({"socket": WebSocket, "return": None})
    handlers = [item, boom, slow, post("/echo", status_code=200)(_echo), get("/stream")(_stream), get("/later")(_later)]
    return Litestar([*handlers, get("/endless")(_endless), websocket("/feed")(_feed)], logging_config=None)


def django() -> Any:
    import django as package
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path

    def item(_: HttpRequest, id: str) -> HttpResponse:
        return HttpResponse(item_of(id))

    def boom(_: HttpRequest) -> HttpResponse:
        raise ValueError(TEXT)

    async def echo(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(len(request.body)))

    async def slow(_: HttpRequest) -> HttpResponse:
        await asyncio.sleep(30)
        return HttpResponse("")

    async def stream(_: HttpRequest) -> StreamingHttpResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(0)
            raise ValueError(TEXT)

        return StreamingHttpResponse(parts())

    async def endless(_: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(without_end())

    class Urls:
        urlpatterns = [  # noqa: RUF012
            path("items/<str:id>", item), path("boom", boom), path("echo", echo), path("slow", slow),
            path("stream", stream), path("endless", endless),
        ]  # fmt: skip

    if not settings.configured:
        settings.configure(
            SECRET_KEY="for tests", ALLOWED_HOSTS=["*"], ROOT_URLCONF=Urls, LOGGING_CONFIG=None, MIDDLEWARE=[],
            DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        )  # fmt: skip
        package.setup()

    class Handler(ASGIHandler):
        async def read_body(self, receive: Any) -> Any:
            # Django leaves its temporary file to the garbage collector when a request is cancelled.
            with await super().read_body(receive) as spooled:
                return io.BytesIO(spooled.read())

    return Handler()


BUILDERS: dict[str, Callable[[], Any]] = {
    "starlette": starlette, "fastapi": fastapi, "litestar": litestar, "django": django,
}  # fmt: skip


@dataclass
class Site:
    """A protected application that is served."""

    name: str
    port: int
    kept: Kept
    registry: CollectorRegistry
    forge: Forge
    told: list[Any] = field(default_factory=list)
    open: int = 0
    """Requests that some layer still works on, though they may be answered."""

    def counting(self, app: Any) -> Any:
        """`app`, with `open` kept."""

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            work = scope["type"] != "lifespan"
            self.open += work
            try:
                await app(scope, receive, send)
            finally:
                self.open -= work

        return counted

    def forget(self) -> None:
        """What was logged, with what the last request, answered already, is about to log."""
        self.until(lambda: self.open == 0)
        self.kept.lines.clear()
        self.told.clear()

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.forge.token()}"}

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request as somebody who may come in; (status, headers, body), the body short where it was cut off."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = self.authorization if headers is None else headers
            connection.request(method, path, body, sent, encode_chunked=not isinstance(body, (bytes, type(None))))
            response = connection.getresponse()
            try:
                data = response.read()
            except http.client.IncompleteRead as cut:
                data = cut.partial + b"<cut>"
            return response.status, {name.lower(): value for name, value in response.getheaders()}, data
        finally:
            connection.close()

    def problem(self, path: str, **asked: Any) -> tuple[int, dict[str, Any]]:
        """(status, problem document)."""
        status, headers, body = self.ask(path, **asked)
        assert headers["content-type"] == "application/problem+json", body
        return status, json.loads(body)

    def value(self, name: str, **labels: str) -> float:
        """A sample; 0 where there is none."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def until(self, condition: Callable[[], Any]) -> Any:
        """What `condition` gives once it is true: a request's end comes after its answer."""
        deadline = time.monotonic() + 60
        while not (found := condition()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return found


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def served(app: Any) -> Iterator[int]:
    """The port of `app` under uvicorn, in a thread, with its lifespan."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        bound.close()


def _time(app: Any, parts: Parts) -> Time:
    """Little for the one that is slow; the others may take what a busy machine takes."""
    seconds_for = lambda scope: 0.4 if scope["path"] == "/slow" else None  # noqa: E731
    return Time(app, 60, seconds_for=seconds_for, site=parts.site, measures=parts.measures)


def protected(name: str, app: Any, **arguments: Any) -> tuple[Protected, Site]:
    """`app` behind every layer, with a gate that takes one project's tokens."""
    site = Site(name, 0, Kept(), CollectorRegistry(), Forge.hs256())
    options: dict[str, Any] = {
        "gate": Gate(ISSUER, allowlist=["ana@example.com"], jwt_secret=SECRET), "public": ["/healthz"],
        "log_share": 1.0, "body_limit": 1000,
        "layers": [*(_time if layer is time_limit else layer for layer in OUTSIDE)],
    } | arguments  # fmt: skip
    made = protect(
        app, environment={}, registry=site.registry, lines=Lines(site.kept), observers=[site.told.append], **options
    )
    return made, site
