"""The daemon's port: all routes behind the door, and the server that answers them on the daemon's own loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Iterator
from typing import Final

import uvicorn

from tocsin.errors import TocsinError
from tocsin.web.alertmanager.routes import alertmanager_routes
from tocsin.web.allowlist import allowlist_routes
from tocsin.web.connections import BoundedProtocol
from tocsin.web.console import console_routes
from tocsin.web.credentials import CachedTokens
from tocsin.web.gate import Gate, GuardedRoute
from tocsin.web.hooks import hook_route
from tocsin.web.incidents import incident_routes
from tocsin.web.ingest import ingest_route
from tocsin.web.inside import Inside
from tocsin.web.login.routes import login_routes
from tocsin.web.login.sessions import session_routes
from tocsin.web.openapi import openapi_route
from tocsin.web.prometheus.routes import prometheus_routes
from tocsin.web.sentry import sentry_routes
from tocsin.web.silences import silence_routes
from tocsin.web.status import status_routes

BACKLOG: Final = 2048
"""Connections that may wait to be accepted."""
GRACEFUL: Final = 3
"""Seconds for requests that are under way when the daemon ends."""


def routes(inside: Inside) -> list[GuardedRoute]:
    """Every route of the port."""
    found = [
        *status_routes(inside),
        *prometheus_routes(inside),
        *alertmanager_routes(inside),
        *incident_routes(inside),
        *silence_routes(inside),
        *allowlist_routes(inside),
        *console_routes(inside),
        ingest_route(inside),
        *sentry_routes(inside),
    ]
    if inside.entrance is not None:
        found += [*login_routes(inside.entrance), *session_routes(inside.entrance), hook_route(inside.entrance)]
    return [*found, openapi_route(inside, found)]


def application(inside: Inside) -> Gate:
    """The ASGI application behind its door."""
    tokens = CachedTokens(inside.state.tokens, inside.clock)
    entrance = inside.entrance
    return Gate(
        routes=routes(inside), tokens=tokens, clock=inside.clock, people=entrance,
        origin=lambda: entrance.origin if entrance is not None else "",
    )  # fmt: skip


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens: who connects before the server runs waits for it. Raises TocsinError that says why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio switches Nagle's algorithm off: it costs keep-alive clients 40 ms a request.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise TocsinError(
            f"web.listen: {host}:{port} can't be bound ({error.strerror}); stop what listens there, or choose another"
        ) from error
    return bound


class Server(uvicorn.Server):
    """uvicorn on a socket that is bound already; signals are the daemon's."""

    patience: Final = GRACEFUL + 1.0
    """Seconds that its end may take."""

    def __init__(self, app: Gate, bound: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",  # else whatever library lies beside it is loaded
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=True,
                backlog=BACKLOG,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=GRACEFUL,
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
