"""Connections are bounded in time and number, so that holding many costs an attacker as much as us.

uvicorn bounds the pause between two requests and nothing else: a client that sends a byte now and then (Slowloris)
holds its connection for ever. Here a request's head is whole within HEAD_SECONDS of the connection, or of its first
byte; its body within BODY_SECONDS of the head. Past MOST_CONNECTIONS a new connection is hung up on at once, so that
the daemon keeps file descriptors for what it watches and tells. One address (of IPv6 one /64) has at most MOST_OF_ONE
of them: who takes all they can leaves a quarter to the others. A proxy in front is one address, and has as many.

Answers are not bounded in time: a slow reader of a long one is served.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tocsin.model import Seconds
from tocsin.web.login.throttle import address_key

HEAD_SECONDS: Final[Seconds] = 10.0
BODY_SECONDS: Final[Seconds] = 60.0
MOST_CONNECTIONS: Final = 512
MOST_OF_ONE: Final = 384


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, bounded."""

    head_seconds: Seconds = HEAD_SECONDS
    body_seconds: Seconds = BODY_SECONDS
    most_connections: int = MOST_CONNECTIONS
    most_of_one: int = MOST_OF_ONE

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._awaited = ""
        """What the timer waits for: head, body, or nothing."""
        self._peer = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hung up on when there are too many."""
        super().connection_made(transport)
        self._peer = address_key(self.client[0]) if self.client else ""
        if len(self.connections) > self.most_connections or self._of_one() > self.most_of_one:
            transport.abort()
            return
        self._await("head")

    def _of_one(self) -> int:
        return sum(isinstance(each, BoundedProtocol) and each._peer == self._peer for each in self.connections)

    def data_received(self, data: bytes) -> None:
        """Part of a request."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Between two requests uvicorn's own keep-alive timer runs."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None and self.conn.their_state is h11.IDLE:
            self._await("")
        else:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._await("")
        super().connection_lost(exc)

    def _look(self) -> None:
        theirs = self.conn.their_state
        self._await("head" if theirs is h11.IDLE else "body" if theirs is h11.SEND_BODY else "")

    def _await(self, what: str) -> None:
        if what == self._awaited:
            return
        self._awaited = what
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if what:
            seconds = self.head_seconds if what == "head" else self.body_seconds
            self._timer = self.loop.call_later(seconds, self.transport.abort)
