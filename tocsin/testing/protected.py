"""A small application behind the guard, served over real HTTP: what the attack suite attacks.

    async with ProtectedSite({"ES256": keys}, policy, listed, clock) as site:
        … GET site.url + "/me" with a token

`/me` says who one is, `/admin` wants the role of an admin, `/healthz` is public, everything else isn't there.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, Self

import aiohttp
import uvicorn
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tocsin.access.allowlist import Listed, Role, Roster
from tocsin.access.door import Door
from tocsin.access.guard import Guard, Public, admitted
from tocsin.access.jwt import JwksKeys, KeySource, SharedSecret, TokenPolicy, TokenVerifier
from tocsin.access.live import LiveSessions
from tocsin.ports import Clock
from tocsin.testing.clock import VirtualClock
from tocsin.testing.forge import ISSUER, SECRET, Forge


class MemoryShelf:
    """An allowlist that isn't stored."""

    def __init__(self, listed: Listed) -> None:
        self.listed = listed

    async def version(self) -> int:
        return self.listed.version

    async def load(self) -> Listed:
        return self.listed

    async def seen(self, when: Mapping[str, datetime]) -> None:
        """Nobody asks."""


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to the test."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _me(request: Request) -> Response:
    found = admitted(request.scope)
    assert found is not None
    return JSONResponse({"sub": found.principal.sub, "role": found.role})


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")


class ProtectedSite:
    """Runs while its `async with` block does."""

    def __init__(
        self,
        sources: Mapping[str, KeySource],
        policy: TokenPolicy,
        listed: Listed,
        clock: Clock,
        *,
        live: LiveSessions | None = None,
        cached_tokens: int = 10_000,
    ) -> None:
        self.shelf = MemoryShelf(listed)
        self.roster = Roster(self.shelf)
        self.verifier = TokenVerifier(sources, policy, cached_tokens=cached_tokens)
        self.door = Door(self.verifier, self.roster, live=live)
        routes = [Route("/me", _me), Route("/admin", _me), Route("/healthz", _healthz)]
        self.app = Guard(
            Starlette(routes=routes),
            self.door,
            clock,
            public=[Public("/healthz")],
            needs=lambda _, path: Role.ADMIN if path.startswith("/admin") else None,
        )
        self.url = ""
        self.port = 0

    async def __aenter__(self) -> Self:
        # The protocol is named, or asyncio leaves Nagle's algorithm on and each answer waits 40 ms for an ACK.
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.bind(("127.0.0.1", 0))
        self.port = bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self.app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]))
        await self._server.listening.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._serving
        await self.roster.close()


# Three of them, in a thread, for tests that speak HTTP themselves ----------------------------------------------------

ALGORITHMS: Final = ("ES256", "RS256", "HS256")


class Target:
    """One application, its project's key, and a connection to it that sends what it is told to."""

    def __init__(self, forge: Forge, port: int) -> None:
        self.forge = forge
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def answer(self, *headers: tuple[str, str], path: str = "/me", method: str = "GET") -> tuple[int, bytes]:
        """(status, body); status 0 where the server hung up on what is no HTTP.

        A connection that was used before may have been closed for its idleness: then a new one is asked.
        """
        used = self._connection.sock is not None
        try:
            self._connection.putrequest(method, path)
            for name, value in headers:
                self._connection.putheader(name, value.encode("latin-1", "replace"))
            self._connection.endheaders()
            response = self._connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, OSError, ValueError):
            self.close()
            return self.answer(*headers, path=path, method=method) if used else (0, b"")

    def status(self, *headers: tuple[str, str], path: str = "/me", method: str = "GET") -> int:
        return self.answer(*headers, path=path, method=method)[0]

    def status_of(self, token: str, *, path: str = "/me") -> int:
        """The status for a bearer token."""
        return self.status(("Authorization", f"Bearer {token}"), path=path)

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def attacked(listed: Listed, now: datetime) -> Iterator[dict[str, Target]]:
    """An application under each of ALGORITHMS, at a time that stands still."""
    forges = {"ES256": Forge.es256(now=now), "RS256": Forge.rs256(now=now), "HS256": Forge.hs256(now=now)}
    ports: dict[str, int] = {}
    ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    serving = threading.Thread(
        target=loop.run_until_complete, args=(_serve_all(forges, listed, now, ports, ready, stop),)
    )
    serving.start()
    try:
        if not ready.wait(30):
            raise RuntimeError("the applications did not start")
        targets = {name: Target(forges[name], ports[name]) for name in ALGORITHMS}
        yield targets
        for target in targets.values():
            target.close()
    finally:
        loop.call_soon_threadsafe(stop.set)
        serving.join(30)
        loop.close()


async def _serve_all(
    forges: Mapping[str, Forge], listed: Listed, now: datetime, ports: dict[str, int], ready: threading.Event,
    stop: asyncio.Event,
) -> None:  # fmt: skip
    documents = {f"/{name}": forges[name].jwks() for name in ("ES256", "RS256")}

    async def keys(request: web.Request) -> web.Response:
        return web.Response(body=documents[request.path])

    async with contextlib.AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_get("/{name}", keys)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for name in ALGORITHMS:
            source: KeySource = SharedSecret(SECRET) if name == "HS256" else JwksKeys(f"{url}/{name}", session)
            site = ProtectedSite({name: source}, TokenPolicy(issuer=ISSUER), listed, VirtualClock(now))
            await stack.enter_async_context(site)
            ports[name] = site.port
        ready.set()
        await stop.wait()
