"""Peers that are careless or hostile: what they send is a result of their own probe, and ends nobody else's."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import brotli
import pytest
from aiohttp import web
from pydantic import ValidationError

from collectors.endpoint import SPEC
from collectors.endpoint.exchange import INFORMATIONAL
from collectors.endpoint.http1 import decoded
from collectors.endpoint.http2 import BrokenOff, _Talk
from collectors.endpoint.stopwatch import Stopwatch

# Of this folder's conftest, which a test can't import.
Endpoints = Any


def says(*headers: bytes, body: bytes = b"ok") -> Any:
    """Answers with these headers, as they are."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = f"content-length: {len(body)}".encode()
        writer.write(b"\r\n".join([b"HTTP/1.1 200 OK", *headers, length, b"", body]))
        await writer.drain()

    return talk


@pytest.mark.parametrize("charset", ["idna", "punycode", "undefined", "hex", "utf-7", "no-such", "x" * 3000])
async def test_an_encoding_of_no_web_page_is_read_as_utf8(endpoints: Endpoints, charset: str) -> None:
    """Python knows some that raise, and one that takes minutes for a megabyte."""
    url = await endpoints.serve_raw(says(f"content-type: text/html; charset={charset}".encode(), body=b"+2AA- ok \xff"))
    assert (await endpoints.poll({"url": url, "expect": {"body_matches": "^.2AA- ok"}})).reasons() == set()


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        (b"caf\xe9", "iso-8859-1", "café"),
        (b"caf\xe9", "Windows-1252", "café"),
        (b"\x82\xa0", "shift_jis", "あ"),
        ("é".encode("utf-16-le"), "utf-16le", "é"),
        (b"\x00\xd8a\x00", "utf-16-le", "\ufffda"),
        (b"a\xff", None, "a\ufffd"),
        (b"\xf0\x9f\x94\x94", "utf8", "🔔"),
    ],
)
def test_encodings_of_the_web_are_read(body: bytes, charset: str | None, text: str) -> None:
    """And nothing that RE2 or JSON would not take is left."""
    assert decoded(body, charset) == text


async def test_foreign_bytes_in_headers_are_shown_searched_and_carried_on(endpoints: Endpoints) -> None:
    """As a sign that stands for them: in an expectation, an address and JSON."""
    url = await endpoints.serve_raw(says(b"x-a: caf\xe9", b"set-cookie: c=\xe9", b"location: /\xe9"))
    steps = [
        {"name": "read", "extract": {"v": {"header": "x-a"}}, "expect": {"header_matches": {"x-a": "^caf.$"}}},
        {"name": "path", "url": "/${v}"},
        {"name": "json", "method": "POST", "json": {"v": "${v}"}},
    ]
    seen = await endpoints.poll(
        {"url": url, "name": "one", "expect": {"header_matches": {"x-a": "^caf.$"}}},
        {"url": url, "name": "journey", "steps": steps},
    )
    assert (seen.reasons(), seen.blind) == (set(), [])


@pytest.mark.parametrize(("coding", "packed"), [("gzip", gzip.compress), ("br", brotli.compress)])
async def test_a_body_that_unpacks_to_a_hundred_times_its_size_is_read_to_the_limit(
    endpoints: Endpoints, coding: str, packed: Callable[[bytes], bytes]
) -> None:
    """In pieces: what is past `body_limit` is never unpacked."""
    bomb = packed(b"needle" + bytes(1 << 20) + b"hidden")
    url = await endpoints.serve_raw(says(f"content-encoding: {coding}".encode(), body=bomb))
    seen = await endpoints.poll(
        {"url": url, "name": "first", "expect": {"body_contains": "needle"}},
        {"url": url, "name": "last", "expect": {"body_contains": "hidden"}},
        body_limit=100_000,
    )
    assert (seen.reasons("first"), seen.reasons("last")) == (set(), {"body"})


@pytest.mark.parametrize("status", [302, 307])
async def test_what_a_step_holds_of_variables_does_not_leave_its_origin(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A redirect to another host gets neither headers nor body of variables; within the origin both go on."""
    got: list[tuple[str, str | None, str | None, str | None, str]] = []

    async def note(request: web.Request) -> None:
        names = ("authorization", "x-key", "x-plain")
        key, other, plain = (request.headers.get(name) for name in names)
        got.append((request.path, key, other, plain, await request.text()))

    async def elsewhere(request: web.Request) -> web.Response:
        await note(request)
        return web.Response()

    away = (await endpoints.serve(elsewhere)).replace("127.0.0.1", "localhost")

    async def own(request: web.Request) -> web.Response:
        await note(request)
        where = "/again" if request.path == "/" else f"{away}/away"
        return web.Response(status=status, headers={"location": where})

    monkeypatch.setenv("PROBE_KEY", "s3cret")
    step = {
        "name": "login", "method": "POST", "json": {"key": "${key}"},
        "headers": {"Authorization": "Bearer ${key}", "X-Key": "${key}", "X-Plain": "1"},
    }  # fmt: skip
    target = {"url": await endpoints.serve(own), "name": "j", "secrets_env": {"key": "PROBE_KEY"}, "steps": [step]}
    seen = await endpoints.poll(target)
    told, body = ("Bearer s3cret", "s3cret", "1"), '{"key":"s3cret"}'
    if status == 307:
        assert (seen.reasons(), got) == ({"redirect"}, [("/", *told, body), ("/again", *told, body)])
    else:
        here = [("/", *told, body), ("/again", *told, "")]
        assert (seen.reasons(), got) == (set(), [*here, ("/away", None, None, "1", "")])


@pytest.mark.parametrize("headers", [{"X-A": "a\nb"}, {"bad name": "x"}, {"": "x"}, {"X": "${nobody}"}])
def test_a_header_that_cannot_be_sent_is_refused_at_the_start(headers: dict[str, str]) -> None:
    """Not at each poll."""
    target = {"url": "http://a.example", "name": "j", "headers": headers, "steps": [{"name": "one"}]}
    with pytest.raises(ValidationError, match="header"):
        SPEC.settings.model_validate({"kind": "endpoint", "name": "web", "targets": [target]})


@pytest.mark.parametrize(("hints", "reasons"), [(INFORMATIONAL, set()), (INFORMATIONAL + 1, {"protocol"})])
async def test_more_announcements_than_anybody_sends_are_no_answer(
    endpoints: Endpoints, hints: int, reasons: set[str]
) -> None:
    """1xx before the answer proper, as early hints are: a flood of them would take the time of all other targets."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            hint = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
            writer.write(hint * hints + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()

    url = await endpoints.serve_raw(talk)
    seen = await endpoints.poll({"url": url}, {"url": url, "name": "journey", "steps": [{"name": "one"}]})
    assert seen.reasons() == reasons


async def test_a_greeting_in_pieces_is_put_together(endpoints: Endpoints) -> None:
    """A mail server that writes its code first."""

    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (b"220 ", b"mail.", b"example\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        await reader.read()

    url = (await endpoints.serve_raw(greets)).replace("http:", "tcp:")
    assert (await endpoints.poll({"url": url, "expect": {"body_contains": "mail.example"}})).reasons() == set()


async def test_an_address_on_which_nobody_listens_hides_no_other(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with an IPv6 address too, of a server on IPv4 alone: up, as for browsers."""

    async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        await writer.drain()

    port = int((await endpoints.serve_raw(greets)).rpartition(":")[2])
    kind = (socket.SOCK_STREAM, 6, "")
    places = [
        (socket.AF_INET6, *kind, ("::1", port, 0, 0)),
        (socket.AF_INET, *kind, ("127.0.0.9", port)),
        (socket.AF_INET, *kind, ("127.0.0.1", port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: places)
    target = {"url": f"tcp://both.example:{port}", "expect": {"body_contains": "here"}}
    seen = await endpoints.poll(target)
    assert (seen.reasons(), seen.phases()) == (set(), {"dns", "connect", "first_byte", "total"})


async def test_a_goodbye_after_the_answer_is_no_broken_answer() -> None:
    """HTTP/2: GOAWAY in the same packet as the end of the answer, as servers send it that close after each; before
    the end it is one."""
    from h2 import events

    talk = _Talk(asyncio.StreamReader(), None, Stopwatch(), 0, frozenset())  # type: ignore[arg-type]
    with pytest.raises(BrokenOff):
        talk._take(events.ConnectionTerminated())
    talk._take(events.StreamEnded(stream_id=1))
    talk._take(events.ConnectionTerminated())
    assert talk._ended


async def test_a_lookup_that_hangs_is_the_names_failure(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dns`, in whichever way it is asked, and not `timeout`: nobody was asked yet. What was waited counts."""
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: let_go.wait(30) and [])
    target = {"url": "https://slow.example", "deadline": "50ms"}
    steps = [{"name": "one"}]
    try:
        seen = await endpoints.poll(
            {**target, "name": "http1"},
            {**target, "name": "http2", "http": 2},
            {"url": "tcp://slow.example:25", "deadline": "50ms", "name": "tcp"},
            {**target, "name": "journey", "steps": steps},
        )
    finally:
        let_go.set()
    names = ("http1", "http2", "tcp", "journey")
    assert {name: seen.reasons(name) for name in names} == {name: {"dns"} for name in names}
    counted = [seen.value("tocsin_endpoint_duration_seconds_count", instance=name) for name in names]
    assert counted == [1, 1, 1, 1]
