"""Errors: each is logged once with what is needed to find it, counted, and answered without our insides.

    app = Errors(app, observers=[forward])

What counts: an exception that reaches us, one that the framework answered with a 5xx (seen while it does), a 5xx that
the application answered of its own will (then there is no stack to log). 4xx are counted by category and not logged.
A cancelled request and a client that went away are no errors. SystemExit is logged, and goes on.

The answer to an exception is an RFC 9457 problem with the request's id. Where a framework has answered an exception
itself, its 500s and its text and HTML pages are replaced by that (a debug page shows insides), its 5xx in JSON are left
as they are: somebody wrote them. `Unavailable` is a 503 with Retry-After. Once an answer has begun it can't be changed:
the connection is broken off with `AnswerBroken`, so that half an answer is not taken for a whole one. WebSockets are
closed with 1011.

Storms are bounded (see storm). A framework may log as well what it handles: switch that off (docs/application.md).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tocsin.asgi.call import CALL_KEY, App, Call, Message, Receive, Scope, Send, Site
from tocsin.asgi.errors.category import TIMEOUT, Categories, is_ending, is_gone, leaf_of, status_of
from tocsin.asgi.errors.fingerprint import Fingerprints, named
from tocsin.asgi.errors.report import ErrorReport, Observer, Phase
from tocsin.asgi.errors.storm import Storms
from tocsin.asgi.logs.lines import Lines
from tocsin.asgi.measures import Measures, measures_of
from tocsin.asgi.problem import MEDIA_TYPE, answer, meant_by
from tocsin.errors import TocsinError

__all__ = ["AnswerBroken", "Categories", "ErrorReport", "Errors", "Observer", "Phase"]

_LAST: Final = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
"""What may be the answer's last message; trailers come after one of these."""
_KEPT: Final = frozenset({b"retry-after", b"allow", b"www-authenticate", b"set-cookie", b"vary"})
"""Headers of a framework's answer that stay when its body is replaced; those of CORS do too."""


class AnswerBroken(TocsinError):
    """An answer was cut off by an error, which is in the log under the request's id."""


class Errors:
    """ASGI middleware that catches."""

    def __init__(
        self,
        app: App,
        *,
        site: Site | None = None,
        measures: Measures | None = None,
        lines: Lines | None = None,
        categories: Mapping[type[BaseException] | str, str] | None = None,
        observers: Iterable[Observer] = (),
        fingerprints: Fingerprints | None = None,
        storms: Storms | None = None,
    ) -> None:
        self._app = app
        self._site = site or Site(app)
        self._measures = measures or measures_of()
        self._lines = lines or Lines()
        self._categories = Categories(categories)
        self._observers = tuple(observers)
        self._fingerprints = fingerprints or Fingerprints()
        self._storms = storms or Storms()
        # The children, bounded as the labels are.
        self._counts: dict[tuple[str, str], Callable[[], None]] = {}
        self._occurred: dict[tuple[str, str], Callable[[], None]] = {}
        _listen_to_django()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        guarded = _Answer(self, call, call.track(send))
        try:
            await self._app(scope, receive, guarded.send)
        except BaseException as error:
            # Not only an Exception: what a Rust extension panics with is none.
            if is_ending(error):
                self._ending(error, guarded, call)
                raise
            await self._caught(leaf_of(error), guarded, call)
        finally:
            # An exception holds this frame, which holds them: none of it would go before the garbage collector comes.
            guarded.reported = call.error = None

    def close(self) -> None:
        """Tell what storms left uncounted in the log."""
        for fingerprint, count in self._storms.repeats():
            self._lines.warning("request.failed_repeatedly", fingerprint=fingerprint, times=count)

    def _ending(self, error: BaseException, guarded: _Answer, call: Call) -> None:
        if isinstance(error, SystemExit):
            self.report(call, error, _phase(guarded, call), call.status or 500)
        else:
            call.fate = "cancelled"

    async def _caught(self, error: BaseException, guarded: _Answer, call: Call) -> None:
        if is_gone(error) or (guarded.send_failed and isinstance(error, OSError)):
            call.fate = "disconnected"
            return
        status, headers = meant_by(error) or (500, [])
        if error is not guarded.reported:
            self.report(call, error, _phase(guarded, call), call.status or status)
        if call.scope["type"] == "websocket":
            if not guarded.closed and not guarded.send_failed:
                await _close(call, guarded)
        elif not guarded.started:
            await answer(call, guarded.send_unchanged, status, headers=headers)
        elif not guarded.ended:
            raise AnswerBroken(f"request {call.request_id}: its answer was cut off") from None

    def report(self, call: Call, error: BaseException | None, phase: Phase, status: int) -> None:
        """Log, count and tell the observers."""
        error = leaf_of(error) if error is not None else None
        route = call.route
        if error is None:
            where = f"{call.method} {route}" if call.method.isalpha() and len(call.method) < 8 else route
            fingerprint = named("status", str(status), call.stopped_by, route)
        else:
            fingerprint, where = self._fingerprints.of(error)
        category = TIMEOUT if call.stopped_by == "concurrency" else self._categories.of(error, status)
        call.failed = {"category": category, "fingerprint": fingerprint}
        self._count(category, route)
        label = self._measures.fingerprint_label(fingerprint)
        occurred = self._occurred.get((category, label))
        if occurred is None:
            occurred = self._measures.occurrences.labels(category, label).inc
            self._occurred[category, label] = occurred
        occurred()
        now = time.monotonic()
        if self._storms.ended(now):
            self.close()
        full = self._storms.is_full(fingerprint, now)
        if not full and not self._observers:
            return  # one of a storm: nobody wants to know more of it
        report = ErrorReport(
            error=error, category=category, fingerprint=fingerprint, where=where, phase=phase, method=call.method[:16],
            route=route, status=status, request_id=call.request_id, trace_id=call.trace_id, span_id=call.span_id,
            user=call.user, scope=call.scope,
        )  # fmt: skip
        if full:
            self._lines.error("request.failed", **report.fields(), stack=report.stack)
        for observer in self._observers:
            try:
                observer(report)
            except Exception as broken:  # noqa: BLE001 (forwarding an error must not make another one)
                self._lines.warning("request.observer_failed", error=f"{type(broken).__name__}")

    def _count(self, category: str, route: str) -> None:
        count = self._counts.get((category, route))
        if count is None:
            count = self._counts[category, route] = self._measures.errors.labels(category, route).inc
        count()

    def answered_by_layer(self, call: Call, status: int) -> None:
        """A layer of ours answered: a 4xx is counted, a 5xx is logged too. No place in time is a timeout."""
        if status >= 500:
            self.report(call, None, Phase.BEFORE, status)
        else:
            self._count(self._categories.of(None, status), call.route)

    def answered(self, call: Call, status: int, headers: Any, error: BaseException | None) -> bool:
        """An answer begins: log a 5xx, count a 4xx. True when the answer is to be replaced."""
        if error is not None and is_gone(error):
            return False
        if status < 500:
            self._count(self._categories.of(error, status), call.route)
            return False
        call.status = status
        self.report(call, error, Phase.BEFORE, status)
        return error is not None and not _is_meant(status, headers, error)


class _Answer:
    """The way back to the client, watched. Fields begin as the class's, as those of a Call."""

    _replaced = started = ended = closed = send_failed = False
    reported: BaseException | None = None

    def __init__(self, errors: Errors, call: Call, send: Send) -> None:
        self._errors = errors
        self._call = call
        self._send = send

    async def send(self, message: Message) -> None:
        """The application's `send`."""
        kind = message["type"]
        if kind == "http.response.start":
            self.started = True
            status = message["status"]
            if status >= 400 and not self._call.stopped_by:
                # A framework answers inside of its `except`, or its hook has told us; the exception is seen then.
                error = leaf_of_seen(sys.exc_info()[1] or self._call.error)
                meant = meant_by(error) if status == 500 else None
                status, more = meant or (status, [])
                if self._errors.answered(self._call, status, message.get("headers", ()), error) or meant is not None:
                    self.reported, self._replaced, self.ended = error, True, True
                    kept = [*more, *((name, value) for name, value in message["headers"] if _stays(name))]
                    await answer(self._call, self.send_unchanged, status, headers=kept)
                    return
                self.reported = error if status >= 500 else None
            elif status >= 400:
                self._errors.answered_by_layer(self._call, status)
            headers = [*message.get("headers", ()), (b"x-request-id", self._call.request_id.encode())]
            message = {**message, "headers": headers}
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

    def _see(self, error: BaseException | None) -> None:
        """A framework closes a WebSocket for an error and keeps the error to itself."""
        meant = status_of(error) is not None
        if isinstance(error, Exception) and error is not self.reported and not meant and not is_gone(error):
            self.reported = error
            self._errors.report(self._call, error, Phase.WEBSOCKET, 500)

    async def send_unchanged(self, message: Message) -> None:
        """Our own answers."""
        if message["type"].endswith(".start"):
            headers = [*message["headers"], (b"x-request-id", self._call.request_id.encode())]
            message = {**message, "headers": headers}
            self.started = True
        try:
            await self._send(message)
        except OSError:
            self.send_failed = True
            raise


def leaf_of_seen(error: BaseException | None) -> BaseException | None:
    """As `_caught` will see it, should it come through as well."""
    return leaf_of(error) if error is not None else None


def _is_meant(status: int, headers: Any, error: BaseException) -> bool:
    """True for an answer that somebody wrote for this error: leave it."""
    media = next((value for name, value in headers if name.lower() == b"content-type"), b"").partition(b";")[0].strip()
    if media == MEDIA_TYPE or status_of(error) is not None:
        return True
    return status != 500 and not media.startswith(b"text/") and media != b""


def _stays(name: bytes) -> bool:
    return name.lower() in _KEPT or name.lower().startswith(b"access-control-")


def _phase(guarded: _Answer, call: Call) -> Phase:
    if call.scope["type"] == "websocket":
        return Phase.WEBSOCKET
    if not guarded.started:
        return Phase.BEFORE
    return Phase.AFTER if guarded.ended else Phase.DURING


async def _close(call: Call, guarded: _Answer) -> None:
    try:
        if call.opened:
            await guarded.send_unchanged({"type": "websocket.close", "code": 1011})
        elif not guarded.started:
            await answer(call, guarded.send_unchanged, 500)
    except (OSError, RuntimeError):
        return  # it is closed already, from the other side


_django_listens = False


def _listen_to_django() -> None:
    """Django answers exceptions itself, and tells of them by a signal."""
    global _django_listens
    signals = sys.modules.get("django.core.signals")
    if signals is not None and not _django_listens:
        _django_listens = True
        signals.got_request_exception.connect(_django_failed, dispatch_uid="tocsin.asgi.errors", weak=False)


def _django_failed(request: Any = None, **_: Any) -> None:
    call = getattr(request, "scope", {}).get(CALL_KEY)
    if isinstance(call, Call):
        call.error = sys.exc_info()[1]
