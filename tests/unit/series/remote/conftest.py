"""A small receiver that answers as a test tells it, and keeps what it took."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import snappy
from aiohttp import web
from aiohttp.test_utils import TestServer

Taken = dict[tuple[tuple[str, str], ...], list[tuple[int, bytes]]]
"""Per series (time in ms, the value's 8 bytes), in the order of coming."""


def _fields(raw: bytes) -> Iterator[tuple[int, bytes | int]]:
    """A protobuf message's fields, read the other way than the encoder writes them."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(raw):
        tag = number()
        kind = tag & 7
        if kind == 0:
            value = number()
            yield tag >> 3, value - (1 << 64) if value >> 63 else value
        elif kind == 1:
            yield tag >> 3, raw[at : at + 8]
            at += 8
        else:
            assert kind == 2, f"wire type {kind}"
            length = number()
            assert at + length <= len(raw), "a field runs past its message"
            yield tag >> 3, raw[at : at + length]
            at += length


def decoded(raw: bytes) -> Taken:
    """The series of a WriteRequest."""
    found: Taken = {}
    for number, series in _fields(raw):
        assert number == 1
        assert isinstance(series, bytes)
        labels: list[tuple[str, str]] = []
        points: list[tuple[int, bytes]] = []
        for part, payload in _fields(series):
            assert isinstance(payload, bytes)
            inner = dict(_fields(payload))
            if part == 1:
                name, value = inner[1], inner[2]
                assert isinstance(name, bytes)
                assert isinstance(value, bytes)
                labels.append((name.decode(), value.decode()))
            else:
                at, bits = inner[2], inner[1]
                assert isinstance(at, int)
                assert isinstance(bits, bytes)
                points.append((at, bits))
        found.setdefault(tuple(labels), []).extend(points)
    return found


@dataclass
class FakeReceiver:
    """Answers 204, or what `answers` says next; `refuses` looks into each request."""

    url: str = ""
    requests: list[Taken] = field(default_factory=list)
    """Those that were acknowledged."""
    attempts: int = 0
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    """(status, headers, text) of the next ones, in order."""
    refuses: Callable[[Taken], str] = lambda _: ""
    headers: list[dict[str, str]] = field(default_factory=list)
    swallow: int = 0
    """So many requests are taken, and their answer is lost."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.attempts += 1
        self.headers.append(dict(request.headers))
        taken = decoded(snappy.decompress(await request.read()))
        if self.answers:
            status, headers, text = self.answers.pop(0)
            return web.Response(status=status, headers=headers, text=text)
        if text := self.refuses(taken):
            return web.Response(status=400, text=text)
        self.requests.append(taken)
        if self.swallow:
            self.swallow -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=204)

    def values(self, **labels: str) -> list[float]:
        """The values of one series, in the order of coming."""
        wanted = set(labels.items())
        return [
            struct.unpack("<d", bits)[0]
            for taken in self.requests
            for key, points in taken.items()
            if wanted <= set(key)
            for _, bits in points
        ]


@pytest.fixture
async def receiver() -> AsyncIterator[FakeReceiver]:
    fake = FakeReceiver()
    app = web.Application(client_max_size=2**28)
    app.router.add_post("/write", fake.answer)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("/write"))
        yield fake
