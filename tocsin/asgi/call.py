"""One request on its way through the layers: what they know of it, gathered once.

    call = call_of(scope)          # inside an application: None where no layer of ours is around it
    call.request_id, call.trace_id, call.route, call.user

Ids and user are worked out when they are first asked for: most requests are neither logged nor wrong.
"""

from __future__ import annotations

import hmac
import itertools
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from random import getrandbits
from typing import Any, Final

from tocsin.asgi.routes import REFUSED, UNMATCHED, Templates
from tocsin.model import Seconds

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CALL_KEY: Final = "tocsin.call"
CLIENT_GONE: Final = 499
CURRENT: ContextVar[Call | None] = ContextVar("tocsin.call", default=None)
"""The call that the running task serves, for log lines of the application itself."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_LATER_TRACEPARENT: Final = re.compile(rb"(?!00|ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
"""A version to come may say more; ff is none. https://www.w3.org/TR/trace-context/#traceparent-header"""
_HEXADECIMAL: Final = b"0123456789abcdef"
_NO_TRACE: Final = "0" * 32
_numbers: Final = itertools.count(1)
_ODD: Final = "13579bdf"
"""The last digit of flags whose lowest bit, `sampled`, is set."""


class Site:
    """What the layers around one application share."""

    def __init__(
        self,
        app: Any,
        *,
        templates: Templates | None = None,
        user: Callable[[Scope], str | None] | None = None,
        user_key: bytes | None = None,
        trust_request_id: bool = True,
    ) -> None:
        """`user` names who asks, for hashing; the signed-in principal by default. `user_key` makes the hashes: without
        one they can't be compared across processes and restarts."""
        self.templates = templates or Templates(app)
        self.user = user or _principal
        self._user_key = user_key or secrets.token_bytes(32)
        self.trust_request_id = trust_request_id

    def hashed(self, user: str) -> str:
        """16 hexadecimal digits that stand for a user, and don't tell who it is."""
        return hmac.digest(self._user_key, user.encode(), "sha256").hex()[:16]

    def call(self, scope: Scope) -> Call:
        """The call of a request that no layer has seen yet."""
        call = Call(self, scope)
        scope[CALL_KEY] = call
        return call


class Call:
    """One request or WebSocket.

    Most of them never need most of what is here, so the fields begin as the class's: making one is a tenth of what all
    layers cost."""

    ended = 0.0
    """When the last byte of the answer was handed on; 0 before."""
    status = 0
    """Of the answer, once it has begun."""
    tracked = False
    """A layer further out writes `status`, `ended` and `size`."""
    size = 0
    """Bytes of the answer's body."""
    opened = False
    """A WebSocket that was accepted."""
    when_opened: Callable[[], None] | None = None
    """Called when it is."""
    stopped_by = ""
    """The layer that answered in the application's stead."""
    refusal = ""
    error: BaseException | None = None
    """What a framework's own hook saw, for those that don't let exceptions through."""
    failed: dict[str, Any] | None = None
    """Category and fingerprint, when something went wrong."""
    fate = ""
    """`disconnected` or `cancelled` where it ended without an answer of its own."""
    gone = False
    """The server has said that the client went away."""
    _headers: dict[bytes, bytes] | None = None
    _request_id = ""
    _number = 0
    _ids: tuple[str, str, bool] | None = None
    _looked = False
    """OpenTelemetry was asked for a span when the answer began: that is the last moment to ask."""
    _route = ""
    _user: str | None = None

    def __init__(self, site: Site, scope: Scope) -> None:
        self.site = site
        self.scope = scope
        self.began = time.perf_counter()

    @property
    def headers(self) -> dict[bytes, bytes]:
        """By name, the last one of a name that came twice: not for what decides who may come in."""
        if self._headers is None:
            self._headers = dict(self.scope.get("headers", ()))
        return self._headers

    @property
    def method(self) -> str:
        """As the client wrote it; WEBSOCKET for one."""
        return str(self.scope.get("method", "WEBSOCKET"))

    @property
    def route(self) -> str:
        """The template; `refused` and `unmatched` where there is none."""
        if self._route:
            return self._route
        route = self.site.templates.of(self.scope) or (REFUSED if self.stopped_by else UNMATCHED)
        if self.ended:
            self._route = route  # nobody routes it any more
        return route

    @property
    def outcome(self) -> int:
        """The status that counts: 499 where the client went away before an answer of the application's own (one that
        only says so, to nobody, is none), 500 where there is no answer."""
        if self.fate and (not self.status or self.status >= 500):
            return CLIENT_GONE
        return self.status or 500

    @property
    def seconds(self) -> Seconds:
        """From arrival to the answer's last byte, or until now."""
        return (self.ended or time.perf_counter()) - self.began

    @property
    def request_id(self) -> str:
        """The caller's X-Request-ID where it is one, ours otherwise."""
        if not self._request_id:
            given = self.headers.get(b"x-request-id") if self.site.trust_request_id else None
            if given is not None and _REQUEST_ID.fullmatch(given) is not None:
                self._request_id = given.decode()
            else:
                self._request_id = getrandbits(128).to_bytes(16, "big").hex()
        return self._request_id

    @property
    def number(self) -> int:
        """Its own in this process: an id may be the client's, who may send it again."""
        if not self._number:
            self._number = next(_numbers)
        return self._number

    @property
    def trace_id(self) -> str:
        """Of the trace the request belongs to; empty for none."""
        return self._trace()[0]

    @property
    def span_id(self) -> str:
        """Of the span that the request is, or was sent from."""
        return self._trace()[1]

    @property
    def trace_sampled(self) -> bool:
        """True where the trace is kept, so that its log line is worth keeping."""
        return self._trace()[2]

    def note_span(self) -> None:
        """Take the trace of OpenTelemetry's current span; a layer that opens one calls this inside of it."""
        api = sys.modules.get("opentelemetry.trace")  # not loaded: then there is no span
        if api is None:
            return
        context = api.get_current_span().get_span_context()
        if context.is_valid:
            self._ids = (f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)

    @property
    def user(self) -> str | None:
        """Who asks, hashed; None for nobody known."""
        if self._user is None:
            try:
                who = self.site.user(self.scope)
            except Exception:  # noqa: BLE001 (the application's own function must not break a log line)
                who = None
            self._user = self.site.hashed(who) if who else ""
        return self._user or None

    def _trace(self) -> tuple[str, str, bool]:
        if self._ids is None and not self._looked:
            self.note_span()
        if self._ids is None:
            self._ids = parent_of(self.headers.get(b"traceparent"))
        return self._ids

    def track(self, send: Send) -> Send:
        """`send`, writing down what passes; itself where a layer further out does."""
        if self.tracked:
            return send
        self.tracked = True

        async def tracking(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.body":
                self.size += len(message.get("body", b""))
                await send(message)
                if not message.get("more_body", False):
                    self.ended = time.perf_counter()
                return
            if kind in ("http.response.start", "websocket.http.response.start"):
                self.status = message["status"]
                if self._ids is None and "opentelemetry.trace" in sys.modules:
                    self.note_span()  # we are inside the span of an instrumentation further in
                    self._looked = True
            elif kind == "websocket.accept":
                self.status, self.opened = 101, True
                if self.when_opened is not None:
                    self.when_opened()
            elif kind == "websocket.close" and not self.status:
                self.status = 403  # what servers answer when it was not accepted
            await send(message)
            # Files that the server sends by itself; their bytes pass nobody.
            if kind == "http.response.pathsend" or (
                kind == "http.response.zerocopysend" and not message.get("more_body", False)
            ):
                self.ended = time.perf_counter()

        return tracking


def call_of(scope: Scope) -> Call | None:
    """The call of a request; None where no layer of ours is around the application."""
    found = scope.get(CALL_KEY)
    return found if isinstance(found, Call) else None


def parent_of(header: bytes | None) -> tuple[str, str, bool]:
    """(trace id, span id, whether it is kept) of a `traceparent`; empty for none and for what is no such header."""
    if header is None or not _is_traceparent(header):
        return "", "", False
    text = header.decode("ascii")
    trace_id, span_id = text[3:35], text[36:52]
    if trace_id == _NO_TRACE or span_id == _NO_TRACE[:16]:
        return "", "", False
    return trace_id, span_id, text[54] in _ODD


def _is_traceparent(header: bytes) -> bool:
    if len(header) == 55 and header.translate(None, _HEXADECIMAL) == b"---":  # today's version, at a third of the cost
        return header[2] == header[35] == header[52] == 0x2D and header[:2] != b"ff"
    return _LATER_TRACEPARENT.fullmatch(header) is not None


def _principal(scope: Scope) -> str | None:
    admitted = scope.get("tocsin.admitted")
    return str(admitted.principal.sub) if admitted is not None else None
