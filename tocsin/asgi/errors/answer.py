"""The answer on its way to the client: what of it an error may still change, and what it must not show."""

from __future__ import annotations

import sys
from typing import Any, Final, Protocol

from tocsin.asgi.call import Call, Message, Receive, Send
from tocsin.asgi.errors.category import is_gone, leaf_of, status_of
from tocsin.asgi.errors.report import Phase
from tocsin.asgi.problem import MEDIA_TYPE, answer, meant_by
from tocsin.errors import TocsinError

_LAST: Final = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
"""What may be the answer's last message; trailers come after one of these."""
_KEPT: Final = frozenset({b"retry-after", b"allow", b"www-authenticate", b"set-cookie", b"vary"})
"""Headers of a framework's answer that stay when its body is replaced; those of CORS do too."""


_GONE: Final = frozenset({"http.disconnect", "websocket.disconnect"})


class AnswerBroken(TocsinError):
    """An answer was cut off by an error, which is in the log under the request's id."""


class NoAnswer(TocsinError):
    """The application returned without an answer: a path through it forgets to send one."""


class Judge(Protocol):
    """The layer that the answer is told to; see `Errors`."""

    def report(self, call: Call, error: BaseException | None, phase: Phase, status: int) -> None: ...

    def answered(self, call: Call, status: int, headers: Any, error: BaseException | None) -> bool: ...

    def answered_by_layer(self, call: Call, status: int) -> None: ...


class Answer:
    """The way back to the client, watched. Fields begin as the class's, as those of a Call."""

    _replaced = started = ended = closed = send_failed = False
    reported: BaseException | None = None

    def __init__(self, errors: Judge, call: Call, receive: Receive, send: Send) -> None:
        self._errors = errors
        self._call = call
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """The application's `receive`."""
        message = await self._receive()
        if message["type"] in _GONE:
            self._call.gone = True
        return message

    @property
    def missing(self) -> bool:
        """True when the application, which has returned, owes the client an answer or the rest of one."""
        if self._call.scope["type"] == "websocket":
            return not self._call.status  # neither accepted nor refused
        return not self.ended

    async def send(self, message: Message) -> None:
        """The application's `send`."""
        kind = message["type"]
        if kind == "http.response.start":
            self.started = True
            status = message["status"]
            if status >= 400 and not self._call.stopped_by:
                # A framework answers inside of its `except`, or its hook has told us; the exception is seen then.
                error = _leaf_of_seen(sys.exc_info()[1] or self._call.error)
                meant = meant_by(error) if status == 500 else None
                status, more = meant or (status, [])
                if self._errors.answered(self._call, status, message.get("headers", ()), error) or meant is not None:
                    self.reported, self._replaced, self.ended = error, True, True
                    kept = [*more, *((name, value) for name, value in message.get("headers", ()) if _stays(name))]
                    await answer(self._call, self.send_unchanged, status, headers=kept)
                    return
                self.reported = error if status >= 500 else None
            elif status >= 400:
                self._errors.answered_by_layer(self._call, status)
            message = self._named(message)
        elif self._replaced:
            return
        elif kind in _LAST:
            self.ended = not message.get("more_body", False)
        elif kind == "websocket.close":
            self.closed = True
            self._see(sys.exc_info()[1])
        try:
            await self._send(message)
        except OSError:
            self.send_failed = True  # the connection is gone, whatever the server calls that
            raise

    def _named(self, message: Message) -> Message:
        """With the id that the log has, and no other: an application or a layer further in may have one of its own."""
        headers = [pair for pair in message.get("headers", ()) if pair[0] != b"x-request-id"]
        headers.append((b"x-request-id", self._call.request_id.encode()))
        return {**message, "headers": headers}

    def _see(self, error: BaseException | None) -> None:
        """A framework closes a WebSocket for an error and keeps the error to itself."""
        meant = status_of(error) is not None
        if isinstance(error, Exception) and error is not self.reported and not meant and not is_gone(error):
            self.reported = error
            self._errors.report(self._call, error, Phase.WEBSOCKET, 500)

    async def send_unchanged(self, message: Message) -> None:
        """Our own answers."""
        if message["type"].endswith(".start"):
            message = self._named(message)
            self.started = True
        try:
            await self._send(message)
        except OSError:
            self.send_failed = True
            raise


def _leaf_of_seen(error: BaseException | None) -> BaseException | None:
    """As `_caught` will see it, should it come through as well."""
    return leaf_of(error) if error is not None else None


def is_meant(status: int, headers: Any, error: BaseException) -> bool:
    """True for an answer that somebody wrote for this error: leave it."""
    media = next((value for name, value in headers if name.lower() == b"content-type"), b"").partition(b";")[0].strip()
    if media == MEDIA_TYPE or status_of(error) is not None:
        return True
    return status != 500 and not media.startswith(b"text/") and media != b""


def _stays(name: bytes) -> bool:
    return name.lower() in _KEPT or name.lower().startswith(b"access-control-")


def phase_of(guarded: Answer, call: Call) -> Phase:
    if call.scope["type"] == "websocket":
        return Phase.WEBSOCKET
    if not guarded.started:
        return Phase.BEFORE
    return Phase.AFTER if guarded.ended else Phase.DURING


async def close(call: Call, guarded: Answer) -> None:
    try:
        if call.opened:
            await guarded.send_unchanged({"type": "websocket.close", "code": 1011})
        elif not guarded.started:
            await answer(call, guarded.send_unchanged, 500)
    except (OSError, RuntimeError):
        return  # it is closed already, from the other side
