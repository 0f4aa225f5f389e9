"""Concurrency: at most `most` requests are served at once, `waiting` more wait their turn for `patience`, the rest get
503 with Retry-After.

An application that takes more than it can serve answers everybody late; one that says so answers most in time, and
balancers and clients try elsewhere. Turns are in order of arrival. A request counts until the last byte of its answer
and its background tasks. WebSockets, which last as long as somebody looks, take no such place: `sockets` of them are
open at once, and the next is refused before it is accepted. Paths in `exempt` always pass: a health check that waits in
the queue would have the process killed when it is merely busy.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from tocsin.asgi.arguments import app_of, listed, number
from tocsin.asgi.call import CALL_KEY, App, Call, Receive, Scope, Send, Site
from tocsin.asgi.measures import Measures, measures_of
from tocsin.asgi.problem import answer
from tocsin.model import Seconds


class Concurrency:
    """ASGI middleware with places."""

    def __init__(
        self,
        app: App,
        most: int = 100,
        *,
        waiting: int = 200,
        sockets: int = 1000,
        patience: Seconds = 5.0,
        retry_after: int = 1,
        exempt: Iterable[str] = ("/healthz", "/readyz"),
        site: Site | None = None,
        measures: Measures | None = None,
    ) -> None:
        number("Concurrency(most=…)", most, least=1, whole=True)
        number("Concurrency(waiting=…)", waiting, least=0, whole=True)
        number("Concurrency(sockets=…)", sockets, least=0, whole=True)
        number("Concurrency(patience=…)", patience, least=0)
        exempt = listed("Concurrency(exempt=…)", exempt, "a list of paths")
        self._app = app_of("Concurrency(app)", app)
        self._most, self._waiting, self._patience = most, waiting, patience
        self._retry_after = str(max(1, retry_after)).encode()
        self._exempt = frozenset(exempt)
        self._site = site or Site(app)
        measures = measures or measures_of()
        self._hit, self._waits = measures.limited.labels("concurrency").inc, measures.waiting
        self._hit_sockets = measures.limited.labels("sockets").inc
        self._sockets, self._open = sockets, 0
        self._active = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await (self._socket if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return
        if self._active < self._most and not self._queue:
            self._active += 1
        elif not await self._turn():
            self._hit()
            await self._refuse(scope, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._leave()

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._open >= self._sockets:
            self._hit_sockets()
            await self._refuse(scope, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1

    async def _refuse(self, scope: Scope, send: Send) -> None:
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        call.stopped_by = "concurrency"
        await answer(call, send, 503, headers=[(b"retry-after", self._retry_after)])

    async def _turn(self) -> bool:
        """Wait for a place; True when there is one."""
        if len(self._queue) >= self._waiting:
            return False
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(mine)
        self._waits.inc()
        try:
            async with asyncio.timeout(self._patience):
                await mine
        except TimeoutError:
            return mine.done() and not mine.cancelled()  # True: given in the moment of giving up
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._leave()  # pass the place on
            raise
        finally:
            self._waits.dec()
            if not mine.done() or mine.cancelled():
                self._queue = deque(one for one in self._queue if one is not mine)
        return True

    def _leave(self) -> None:
        """Hand the place to who waits longest, or free it."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._active -= 1
