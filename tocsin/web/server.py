"""The routes of the daemon's port, and the server that answers them on the daemon's own loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tocsin.access.tokens import Scope, ServiceToken
from tocsin.errors import StateError, TocsinError
from tocsin.model import Labels, Metric
from tocsin.ports import Clock
from tocsin.promql import Round, Storage, Vector, compile_expr
from tocsin.state.tokens import Tokens
from tocsin.telemetry.metrics import JOB, Telemetry
from tocsin.web.exposition import CONTENT_TYPE, exposition
from tocsin.web.gate import Gate, protected, public

TOKEN_CACHE: Final = timedelta(seconds=2)
"""A revoked token is refused after this long at the latest."""
USED_EVERY: Final = timedelta(minutes=1)

_EVERYTHING: Final = compile_expr('{__name__!=""}')


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What the port shows of the daemon."""

    clock: Clock
    telemetry: Telemetry
    storage: Storage
    declared: Callable[[], Iterable[Metric]]
    ready: Callable[[], str]
    """Empty when ready, else one word that says why not."""


class CachedTokens:
    """gate.TokenStore over the state store: asked once in a while, and from memory while the store is down."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: dict[str, tuple[datetime, ServiceToken | None]] = {}
        self._used: dict[str, datetime] = {}

    async def service_token(self, id: str) -> ServiceToken | None:
        """The token of this id, at most TOKEN_CACHE old; older only while the store does not answer."""
        now = self._clock.now()
        cached = self._known.get(id)
        if cached is not None and now - cached[0] < TOKEN_CACHE:
            return cached[1]
        try:
            row = await self._tokens.get(id)
        except StateError:
            return cached[1] if cached is not None else None
        if len(self._known) > 1000:  # guesses must not fill the memory
            self._known.clear()
        self._known[id] = (now, row)
        return row

    async def token_used(self, id: str) -> None:
        """Remember that it was used, once a minute."""
        now = self._clock.now()
        if id not in self._used or now - self._used[id] >= USED_EVERY:
            self._used[id] = now
            with contextlib.suppress(StateError):
                await self._tokens.used(id, now)


def routes(inside: Inside) -> list[Route]:
    """Every route of the port."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        why = inside.ready()
        return PlainTextResponse(f"{why or 'ready'}\n", 503 if why else 200)

    async def metrics(_: Request) -> Response:
        page = exposition(inside.telemetry.registry, latest(inside.storage, inside.clock.now()), inside.declared(), JOB)
        return Response(page, media_type=CONTENT_TYPE)

    return [
        public("/healthz", healthz),
        public("/readyz", readyz),
        protected("/metrics", metrics, Scope.METRICS_READ),
    ]


def latest(storage: Storage, now: datetime) -> Iterable[tuple[Labels, float]]:
    """The newest sample of every series that has not ended."""
    found = Round(storage, now).evaluate(_EVERYTHING)
    return found if isinstance(found, Vector) else ()


def application(inside: Inside, tokens: Tokens) -> Gate:
    """The ASGI application behind its door."""
    listed = routes(inside)
    app = Starlette(routes=list(listed))
    return Gate(app, routes=listed, tokens=CachedTokens(tokens, inside.clock), clock=inside.clock)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises TocsinError that names the address and why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise TocsinError(
            f"web.listen: {host}:{port} can't be bound ({error.strerror}); stop what listens there, or choose another"
        ) from error
    return bound


class Server(uvicorn.Server):
    """uvicorn on a socket that is bound already; signals are the daemon's."""

    def __init__(self, app: Gate, bound: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=True,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=3,
                h11_max_incomplete_event_size=32_768,
            )
        )
        self._bound = bound

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None are captured: SIGTERM drains the daemon, of which this is a part."""
        yield

    def run_on_loop(self) -> Awaitable[None]:
        """Serve until `should_exit`."""
        return self.serve(sockets=[self._bound])
