"""HTTP/2 targets against a real HTTP/2 server (hypercorn), and against those that don't speak it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from hypercorn.asyncio import serve
from hypercorn.config import Config

from collectors.endpoint.exchange import INFORMATIONAL

# Types of this folder's conftest, which a test can't import.
Endpoints = Any
Certificate = Any


class App:
    """An ASGI application that notes what it was asked over, and answers by path."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["http_version"], scope["method"], scope["path"]))
        self.bodies.append(body)
        answer = [(b"content-type", b"application/json"), (b"x-auth", headers.get("authorization", "").encode())]
        status, text = 200, b'{"token": "t-1", "ok": true}'
        if scope["path"] == "/moved":
            status, answer = 302, [*answer, (b"location", b"/there")]
        elif scope["path"] == "/large":
            text = b"x" * 300_000 + b"needle"
        elif scope["path"] == "/hang":
            await asyncio.sleep(60)
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": text})


@asynccontextmanager
async def served(app: App, certificate: Certificate, *alpn: str) -> AsyncIterator[str]:
    """The base URL of `app` behind hypercorn."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]  # hypercorn closes it
    config.certfile = config.keyfile = str(certificate.pem)
    config.alpn_protocols = list(alpn or ("h2", "http/1.1"))
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0.1
    stop = asyncio.Event()
    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        stop.set()
        await task


async def test_an_answer_over_http2_is_up_with_every_phase(
    endpoints: Endpoints, certificate: Callable[..., Certificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol is h2 on the server's side as well; redirects, secrets, bodies and certificates are as ever."""
    made, app = certificate(), App()
    monkeypatch.setenv("PROBE_AUTH", "Bearer s3cret")
    async with served(app, made) as url:
        target = {"http": 2, "tls": {"ca_file": made.pem.name}, "headers_env": {"Authorization": "PROBE_AUTH"}}
        seen = await endpoints.poll(
            {**target, "url": f"{url}/moved", "expect": {
                "status": 200, "json_equals": {"ok": True}, "header_matches": {"x-auth": "^Bearer s3cret$"},
                "url_matches": "/there$",
            }},
        )  # fmt: skip
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (1, set())
    assert app.asked == [("2", "GET", "/moved"), ("2", "GET", "/there")]
    assert seen.phases() == {"connect", "tls", "first_byte", "total"}
    assert seen.value("tocsin_endpoint_certificate_expiry_timestamp_seconds") == made.expires_at.timestamp()


async def test_large_bodies_go_both_ways(endpoints: Endpoints, certificate: Callable[..., Certificate]) -> None:
    """Past the flow-control windows of either side, and no further than `body_limit`."""
    made, app = certificate(), App()
    target = {"http": 2, "tls": {"ca_file": made.pem.name}, "method": "POST", "body": "y" * 200_000}
    async with served(app, made) as url:
        wanted = {**target, "url": f"{url}/large", "expect": {"body_contains": "needle"}}
        assert (await endpoints.poll(wanted)).reasons() == set()
        assert (await endpoints.poll(wanted, body_limit=200_000)).reasons() == {"body"}
    assert [len(body) for body in app.bodies] == [200_000, 200_000]


async def test_a_journey_goes_over_http2_as_well(endpoints: Endpoints, certificate: Callable[..., Certificate]) -> None:
    """Its steps are requests like any other."""
    made, app = certificate(), App()
    steps = [
        {"name": "login", "method": "POST", "url": "/login", "form": {"a": "1"}, "extract": {"t": {"json": "token"}}},
        {"name": "look", "url": "/look?t=${t}", "headers": {"X-T": "${t}"}},
    ]
    async with served(app, made) as url:
        target = {"http": 2, "name": "j", "url": url, "tls": {"ca_file": made.pem.name}, "steps": steps}
        assert (await endpoints.poll(target)).reasons() == set()
    assert app.asked == [("2", "POST", "/login"), ("2", "GET", "/look")]


async def test_a_peer_that_falls_back_is_http_version(
    endpoints: Endpoints, certificate: Callable[..., Certificate]
) -> None:
    """A browser would not notice; and so is a redirect to plain HTTP."""
    made = certificate()

    async def ok(request: web.Request) -> web.Response:
        return web.Response()

    old = await endpoints.serve(ok, tls=made.server())
    async with served(App(), made, "http/1.1") as url:
        target = {"http": 2, "tls": {"ca_file": made.pem.name}}
        seen = await endpoints.poll({**target, "url": url, "name": "new"}, {**target, "url": old, "name": "old"})
    assert (seen.reasons("new"), seen.reasons("old")) == ({"http_version"}, {"http_version"})


async def test_what_goes_wrong_on_the_way_is_told_as_over_http1(
    endpoints: Endpoints, certificate: Callable[..., Certificate]
) -> None:
    """An untrusted certificate, a closed port, silence, and a peer that says h2 and speaks something else."""
    made = certificate()
    context = made.server()
    context.set_alpn_protocols(["h2"])

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        writer.close()

    speaks_else = await asyncio.start_server(rude, "127.0.0.1", 0, ssl=context)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        tls = {"ca_file": made.pem.name}
        async with served(App(), made) as url, speaks_else:
            seen = await endpoints.poll(
                {"http": 2, "url": url, "name": "untrusted"},
                {"http": 2, "url": f"https://127.0.0.1:{closed.getsockname()[1]}", "name": "closed", "tls": tls},
                {"http": 2, "url": f"{url}/hang", "name": "silent", "tls": tls, "deadline": "500ms"},
                {"http": 2, "url": f"https://127.0.0.1:{speaks_else.sockets[0].getsockname()[1]}", "name": "rude",
                 "tls": tls},
            )  # fmt: skip
    assert {name: seen.reasons(name) for name in ("untrusted", "closed", "silent", "rude")} == {
        "untrusted": {"certificate_untrusted"}, "closed": {"connect"}, "silent": {"timeout"}, "rude": {"protocol"}
    }  # fmt: skip
    expiry = seen.value("tocsin_endpoint_certificate_expiry_timestamp_seconds", instance="untrusted")
    assert expiry == made.expires_at.timestamp()
    assert isinstance(context, ssl.SSLContext)


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """RFC 9113, 4.1."""
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


EARLY_HINT = frame(1, 4, 1, b"\x08\x03103")
FLOODS = {
    "settings": frame(4, 0, 0),
    "pings": frame(6, 0, 0, b"whatever"),
    "empty pieces of a body": frame(0, 0, 1),
    "frames of no known kind": frame(0x77, 0, 0, b"x" * 50),
    "announcements": EARLY_HINT,
}


@pytest.mark.parametrize(("hints", "reasons"), [(INFORMATIONAL, set()), (INFORMATIONAL + 1, {"protocol"})])
async def test_more_announcements_than_anybody_sends_are_no_answer(
    endpoints: Endpoints, certificate: Callable[..., Certificate], hints: int, reasons: set[str]
) -> None:
    """As over HTTP/1.1."""
    made = certificate()
    context = made.server()
    context.set_alpn_protocols(["h2"])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        with suppress(ConnectionError):
            writer.write(frame(4, 0, 0) + EARLY_HINT * hints + frame(1, 5, 1, b"\x88"))
            await writer.drain()
            await reader.read()

    url = await endpoints.serve_raw(talk, tls=context)
    assert (await endpoints.poll({"http": 2, "url": url, "tls": {"ca_file": made.pem.name}})).reasons() == reasons


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_of_frames_that_bring_nothing_is_broken_off(
    endpoints: Endpoints, certificate: Callable[..., Certificate], flood: bytes
) -> None:
    """At once, and not at the deadline: until then it would take the time of all other targets."""
    made = certificate()
    context = made.server()
    context.set_alpn_protocols(["h2"])

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        with suppress(ConnectionError):
            first = b"" if flood == EARLY_HINT else frame(1, 4, 1, b"\x88")
            writer.write(frame(4, 0, 0) + first + flood * (300_000 // len(flood)))
            await writer.drain()
            await reader.read()

    url = await endpoints.serve_raw(floods, tls=context)
    seen = await endpoints.poll(
        {"http": 2, "url": url, "tls": {"ca_file": made.pem.name}}, interval="2m", deadline="1m"
    )
    assert seen.reasons() == {"protocol"}
