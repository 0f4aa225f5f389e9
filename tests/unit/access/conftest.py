"""A moment, signing keys (made once: RSA is slow), and a key server whose answers a test chooses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web

from tocsin.testing.forge import Forge

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def es256() -> Forge:
    return Forge.es256(now=NOW)


@pytest.fixture(scope="session")
def rs256() -> Forge:
    return Forge.rs256(now=NOW)


@pytest.fixture(scope="session")
def hs256() -> Forge:
    return Forge.hs256(now=NOW)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


class Peer:
    """An HTTP server on loopback: `answer` says what it says, `gate` holds answers back until it is set."""

    def __init__(self) -> None:
        self.answer: Callable[[web.Request], web.StreamResponse] = lambda _: web.Response(status=404)
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[web.Request] = []
        self.url = ""

    def says(self, body: bytes | str = b"", status: int = 200, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.answer = lambda _: web.Response(body=data, status=status, headers=headers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await self.gate.wait()
        return self.answer(request)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    app, served = web.Application(), Peer()
    app.router.add_route("*", "/{path:.*}", served.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    served.gate.set()
    await runner.cleanup()
