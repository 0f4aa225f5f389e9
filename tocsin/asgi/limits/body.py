"""Body: no request body larger than `most` bytes, whatever its Content-Length says or leaves out.

A Content-Length over the limit is refused before the application sees the request. A body that turns out larger is cut
off as it streams in: the client is answered 413 and the application is told that it has gone, so that it stops reading.
Where the answer had begun, it goes on without the rest of the body.

A message of a WebSocket has the same limit: past it the connection is closed with 1009, and the application is told
that the client has gone. The server has held the whole message by then: its own limit (uvicorn's --ws-max-size) is what
spares memory.

What is on its way is read and thrown away first, DRAINED bytes and DRAINED_FOR at most: a client that is still sending
when the connection closes gets a reset and not our answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tocsin.asgi.arguments import app_of, function, number
from tocsin.asgi.call import CALL_KEY, App, Call, Message, Receive, Scope, Send, Site
from tocsin.asgi.measures import Measures, measures_of
from tocsin.asgi.problem import answer

MOST: Final = 10 * 1024 * 1024
DRAINED: Final = 1024 * 1024
DRAINED_FOR: Final = 1.0
TOO_BIG: Final = 1009
"""Why a WebSocket was closed. RFC 6455 §7.4.1"""


class Body:
    """ASGI middleware that counts."""

    def __init__(
        self,
        app: App,
        most: int = MOST,
        *,
        most_for: Callable[[Scope], int | None] = lambda scope: None,
        site: Site | None = None,
        measures: Measures | None = None,
    ) -> None:
        """`most_for` gives a request's own limit, None for `most`: an upload may be larger."""
        number("Body(most=…)", most, least=0, above=True, whole=True)
        function("Body(most_for=…)", most_for, "of the scope")
        self._app = app_of("Body(app)", app)
        self._most = most
        self._most_for = most_for
        self._site = site or Site(app)
        self._hit = (measures or measures_of()).limited.labels("body").inc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await (self._socket if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        length, streamed = _announced(call)
        if not length and not streamed:
            await self._app(scope, receive, send)
            return
        most = self._most_for(scope) or self._most
        if length > most:
            await self._refuse(call, send, await _drained(receive) if length - most <= DRAINED else False)
            return
        counted = _Counted(self, call, receive, send, most)
        try:
            await self._app(scope, counted.receive, counted.send)
        except Exception:
            if not counted.refused:
                raise  # else it is about the client that seemed to go away

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        most, closed = self._most_for(scope) or self._most, False

        async def counting() -> Message:
            nonlocal closed
            message = {"type": "websocket.disconnect", "code": TOO_BIG} if closed else await receive()
            if message["type"] != "websocket.receive" or _size(message) <= most:
                return message
            closed = True
            self._hit()
            call: Call = scope.get(CALL_KEY) or self._site.call(scope)
            call.stopped_by = "body"
            await send({"type": "websocket.close", "code": TOO_BIG, "reason": "the message is too large"})
            return {"type": "websocket.disconnect", "code": TOO_BIG}

        async def sending(message: Message) -> None:
            if not closed:
                await send(message)

        await self._app(scope, counting, sending)

    async def _refuse(self, call: Call, send: Send, whole: bool) -> None:
        self._hit()
        call.stopped_by = "body"
        # The server must not read the rest of an endless body for the sake of the next request.
        closes = not whole and _is_http1(call.scope)
        await answer(call, send, 413, headers=[(b"connection", b"close")] if closes else None)


class _Counted:
    """The way in, counted, and the way out, closed once we have answered."""

    __slots__ = ("_call", "_got", "_layer", "_most", "_over", "_receive", "_send", "_started", "refused")

    def __init__(self, layer: Body, call: Call, receive: Receive, send: Send, most: int) -> None:
        self._layer, self._call, self._receive, self._send, self._most = layer, call, receive, send, most
        self._got = 0
        self._over = self._started = self.refused = False

    async def receive(self) -> Message:
        if self._over:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] != "http.request":
            return message
        self._got += len(message.get("body", b""))
        if self._got <= self._most:
            return message
        self._over = True
        if not self._started:
            self.refused = True
            whole = not message.get("more_body", False) or await _drained(self._receive)
            await self._layer._refuse(self._call, self._send, whole)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.refused:
            return
        self._started = True
        await self._send(message)


def _size(message: Message) -> int:
    text = message.get("text")
    if text is None:
        return len(message.get("bytes") or b"")
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


async def _drained(receive: Receive) -> bool:
    """Read on, and throw away; True when that was all."""
    read = 0
    try:
        async with asyncio.timeout(DRAINED_FOR):
            while read <= DRAINED:
                message = await receive()
                read += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return True
    except TimeoutError:
        return False
    return False


def _announced(call: Call) -> tuple[int, bool]:
    """(Content-Length, whether a body may come without one)."""
    headers = call.headers
    value = headers.get(b"content-length")
    length = 0 if value is None else int(value) if value.isdigit() and len(value) < 19 else 1 << 62
    # HTTP/2 says nothing before the body.
    return length, b"transfer-encoding" in headers or not _is_http1(call.scope)


def _is_http1(scope: Scope) -> bool:
    return str(scope.get("http_version", "1.1")).startswith("1")
