"""What frameworks do besides routes: mounts, included routers, CORS preflights, messages of ASGI's extensions, keys."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, nothing, ok, scope
from tests.asgi.frameworks import Kept
from tocsin.asgi import Gate, Lines, protect
from tocsin.asgi.mount import errors, log
from tocsin.errors import InputError
from tocsin.testing.forge import SECRET, Forge

PREFLIGHT = [(b"origin", b"https://app.example"), (b"access-control-request-method", b"PUT")]


def tree() -> Any:
    """Mounts in mounts, behind middleware, with a parameter; FastAPI with included routers, one of them twice."""
    from fastapi import APIRouter, FastAPI
    from starlette.applications import Starlette
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def item(_: Any) -> Any:
        return PlainTextResponse("")

    def small() -> Starlette:
        return Starlette(routes=[Route("/items/{id}", item)])

    router, outer, fast = APIRouter(prefix="/r"), APIRouter(prefix="/outer"), FastAPI()
    router.get("/{x}")(lambda x: x)
    outer.include_router(router, prefix="/in")
    fast.include_router(router, prefix="/a")
    fast.include_router(router, prefix="/b")
    fast.include_router(outer, prefix="/top")
    return Starlette(
        routes=[
            Mount("/api", app=small()), Mount("/deep", routes=[Mount("/er", app=small()), Route("/own", item)]),
            Mount("/zipped", app=GZipMiddleware(small())), Mount("/t/{tenant}", app=small()), Mount("/raw", app=ok),
            Mount("/fast", app=fast),
        ]
    )  # fmt: skip


async def test_a_route_under_a_mount_or_in_an_included_router_has_its_whole_template() -> None:
    """So that two applications with the same route are told apart, and no tenant makes series."""
    kept = Kept()
    app = protect(
        tree(), environment={}, registry=CollectorRegistry(), supabase_url="off", lines=Lines(kept), log_share=1.0
    )
    paths = [
        "/api/items/1", "/deep/er/items/1", "/deep/own", "/zipped/items/1", "/t/acme/items/1", "/raw/any/thing",
        "/fast/a/r/1", "/fast/b/r/1", "/fast/top/outer/in/r/1", "/api/nowhere", "/nowhere",
    ]  # fmt: skip
    for path in paths * 2:
        await app(scope(path), nothing, Client().send)
    routes = [line["route"] for line in kept.of("request.done")]
    assert routes == routes[: len(paths)] * 2
    assert routes[: len(paths)] == [
        "/api/items/{id}", "/deep/er/items/{id}", "/deep/own", "/zipped/items/{id}", "/t/{tenant}/items/{id}",
        "/raw/{path}", "/fast/a/r/{x}", "/fast/b/r/{x}", "/fast/top/outer/in/r/{x}", "/api/{path}", "unmatched",
    ]  # fmt: skip


async def test_an_application_that_is_mounted_twice_is_two() -> None:
    """Which one it was, the path says; also behind a proxy's prefix."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def item(_: Any) -> Any:
        return PlainTextResponse("")

    small = Starlette(routes=[Route("/items/{id:int}", item), Route("/files/{path:path}", item)])
    tree = Starlette(routes=[Mount("/v1", app=small), Mount("/v2", app=small), Mount("/of/{tenant}/v2", app=small)])
    kept = Kept()
    app = protect(
        tree, environment={}, registry=CollectorRegistry(), supabase_url="off", lines=Lines(kept), log_share=1
    )
    paths = ["/v2/items/1", "/v1/items/1", "/v2/files/a/b", "/of/acme/v2/items/1", "/v1/items/1"]
    for path in paths:
        await app(scope(path), nothing, Client().send)
    behind = scope("/proxy/v1/items/7")
    behind["root_path"] = "/proxy"
    await app(behind, nothing, Client().send)
    assert [line["route"] for line in kept.of("request.done")] == [
        "/v2/items/{id:int}", "/v1/items/{id:int}", "/v2/files/{path:path}", "/of/{tenant}/v2/items/{id:int}",
        "/v1/items/{id:int}", "/v1/items/{id:int}",
    ]  # fmt: skip


async def test_an_application_mounted_in_litestar_is_one_route() -> None:
    """Named for its mount, which may be in a router; what is not there is `unmatched`."""
    from litestar import Litestar, Router, asgi

    mounted = asgi("/star", is_mount=True, copy_scope=True)(ok)
    inner = Litestar([Router("/api", route_handlers=[mounted])], logging_config=None)
    kept = Kept()
    app = protect(
        inner, environment={}, registry=CollectorRegistry(), supabase_url="off", lines=Lines(kept), log_share=1.0
    )
    for path in ("/api/star/items/1", "/api/star", "/api/star/items/2", "/nowhere"):
        await app(scope(path), nothing, Client().send)
    routes = [line["route"] for line in kept.of("request.done")]
    assert routes == ["/api/star/{path}", "/api/star/{path}", "/api/star/{path}", "unmatched"]


def guarded(app: Any, **arguments: Any) -> Any:
    gate = Gate("https://project.supabase.co/auth/v1", allowlist=["ana@example.com"], jwt_secret=SECRET)
    return protect(
        app, gate=gate, environment={}, registry=CollectorRegistry(), lines=Lines(Kept()), **arguments
    )  # fmt: skip


async def asked(app: Any, headers: Any, method: str = "OPTIONS") -> Client:
    client = Client()
    await app(scope("/things", method, headers), nothing, client.send)
    return client


def with_cors() -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware

    own = Middleware(CORSMiddleware, allow_origins=["https://app.example"], allow_methods=["PUT"])
    return Starlette(middleware=[own])


async def test_a_preflight_is_refused_unless_somebody_answers_it() -> None:
    """By default without a token 401; by `cors_origins` in front; by the application where it says so."""
    closed = await asked(guarded(with_cors()), PREFLIGHT)
    ours = await asked(guarded(ok, cors_origins=("https://app.example",)), PREFLIGHT)
    theirs = await asked(guarded(with_cors(), pass_preflights=True), PREFLIGHT)
    stranger = await asked(
        guarded(ok, cors_origins=("https://app.example",)), [(b"origin", b"https://evil.example"), PREFLIGHT[1]]
    )
    assert [closed.status, ours.status, theirs.status, stranger.status] == [401, 200, 200, 400]
    for answer in (ours, theirs):
        assert answer.header(b"access-control-allow-origin") == b"https://app.example"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", PREFLIGHT[:1]), ("OPTIONS", PREFLIGHT[1:]), ("GET", PREFLIGHT), ("POST", PREFLIGHT),
        ("OPTIONS", [*PREFLIGHT, (b"content-length", b"3")]), ("OPTIONS", [*PREFLIGHT, (b"authorization", b"x")]),
    ],
)  # fmt: skip
async def test_what_is_no_preflight_is_not_let_through(method: str, headers: Any) -> None:
    """Passing preflights opens nothing else."""
    assert (await asked(guarded(ok, pass_preflights=True), headers, method)).status == 401


def test_two_that_would_answer_preflights_are_one_too_many() -> None:
    """Said at the start, with the mend."""
    with pytest.raises(InputError, match="PASS_PREFLIGHTS"):
        guarded(ok, pass_preflights=True, cors_origins=("https://app.example",))


async def test_a_page_may_call_where_access_is_off_too() -> None:
    """As on a developer's machine: preflights and answers are as behind the gate, and to no other origin."""
    app = protect(
        ok, supabase_url="off", cors_origins=["https://app.example"], environment={}, registry=CollectorRegistry(),
        lines=Lines(Kept()),
    )  # fmt: skip
    asks, gets = await asked(app, PREFLIGHT), await asked(app, PREFLIGHT[:1], "GET")
    stranger = await asked(app, [(b"origin", b"https://evil.example"), PREFLIGHT[1]])
    assert [asks.status, gets.status, stranger.status] == [200, 200, 400]
    for answer in (asks, gets):
        assert answer.header(b"access-control-allow-origin") == b"https://app.example"
    assert b"access-control-allow-origin" not in dict(stranger.said[0]["headers"])


def test_origins_that_no_layer_answers_are_refused() -> None:
    """Where `layers` leaves access out: said with the mend. What somebody's own layer does with them is theirs."""
    arguments: dict[str, Any] = {
        "supabase_url": "off", "cors_origins": ["https://app.example"], "environment": {},
        "registry": CollectorRegistry(), "lines": Lines(Kept()),
    }  # fmt: skip
    with pytest.raises(InputError) as wrong:
        protect(ok, layers=[log, errors], **arguments)
    assert "cors_origins: no layer answers for them; put tocsin.asgi.mount.access among layers=…" in str(wrong.value)
    own = lambda app, parts: app  # noqa: E731
    protect(ok, layers=[log, own], **arguments)
    protect(ok, layers=[log], inside=[own], **arguments)


@pytest.mark.parametrize("last", ["http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"])
async def test_messages_of_extensions_pass_as_they_are(last: str) -> None:
    """Files that the server sends by itself, trailers, early hints: in order; what fails later spoils no answer."""
    kept = Kept()
    told: list[Any] = []
    body = {"type": "http.response.body", "body": b"x", "more_body": False}
    messages: list[dict[str, Any]] = [
        {"type": "http.response.early_hint", "links": [b"</a.css>"]},
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
        *([body] if last.endswith("trailers") else []),
        {"type": last, "path": "/a", "headers": [(b"x", b"y")]},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        raise ValueError("in the background")

    made = protect(
        app, environment={}, registry=CollectorRegistry(), supabase_url="off", lines=Lines(kept), log_share=1.0,
        observers=[told.append],
    )  # fmt: skip
    client = Client()
    await made(scope("/"), nothing, client.send)
    (id,) = [value for name, value in client.said[1]["headers"] if name == b"x-request-id"]
    assert client.said[1] == messages[1] | {"headers": [(b"x-request-id", id)]}
    assert [client.said[0], *client.said[2:]] == [messages[0], *messages[2:]]
    assert [report.phase for report in told] == ["after_answer"]


class KeySet:
    """Publishes a project's keys over HTTP."""

    def __init__(self) -> None:
        self.forge = Forge.es256()
        self.asked = 0
        self.broken = False

    @contextmanager
    def served(self) -> Iterator[str]:
        """The project's URL."""
        keys = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys.asked += 1
                body = keys.forge.jwks()
                found = self.path == "/auth/v1/.well-known/jwks.json" and not keys.broken
                self.send_response(200 if found else 503)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


async def status_with(app: Any, token: str) -> int:
    return (await asked(app, [(b"authorization", f"Bearer {token}".encode())], "GET")).status


async def test_keys_come_from_the_project_over_http() -> None:
    """ES256 tokens of the published key come in, those of another key don't, and the set is fetched once for all."""
    keys = KeySet()
    with keys.served() as url:
        app = protect(
            ok, gate=Gate.from_supabase(url, allowlist=["ana@example.com"]), environment={},
            registry=CollectorRegistry(), lines=Lines(Kept()),
        )  # fmt: skip
        issuer = f"{url}/auth/v1"
        token = keys.forge.token(iss=issuer)
        try:
            found = [
                await status_with(app, token), await status_with(app, token),
                await status_with(app, keys.forge.token(iss=issuer, email="eve@example.com")),
                await status_with(app, Forge(alg="ES256", key=Forge.es256().key, kid=keys.forge.kid).token(iss=issuer)),
                await status_with(app, keys.forge.token(iss="https://other.example/auth/v1")),
            ]  # fmt: skip
        finally:
            await app.close()
    assert (found, keys.asked) == ([200, 200, 403, 401, 401], 1)


async def test_no_keys_are_an_outage_and_no_open_door() -> None:
    """503, with Retry-After, for good tokens too."""
    keys = KeySet()
    keys.broken = True
    with keys.served() as url:
        app = protect(
            ok, gate=Gate.from_supabase(url, allowlist=["ana@example.com"]), environment={},
            registry=CollectorRegistry(), lines=Lines(Kept()),
        )  # fmt: skip
        try:
            token = keys.forge.token(iss=f"{url}/auth/v1")
            client = await asked(app, [(b"authorization", f"Bearer {token}".encode())], "GET")
        finally:
            await app.close()
    assert client.status == 503
    assert int(client.header(b"retry-after")) >= 1
