"""Traces: a span for each request and each WebSocket, by OpenTelemetry's conventions for HTTP.

    application = Traces(app, tracing=Tracing("http://collector:4318"))

Its name is the method and the route's template. It lasts until the last byte of the answer, a WebSocket's until that is
closed. A 5xx and an exception mark it as failed, with the category and fingerprint that the error's log line has too;
the user is the hash that the log has. Where an instrumentation further out has begun a span, it is that one's child.

What the conventions ask for and this leaves out, as it tells who somebody is: client.address, user_agent.original,
url.query. `url.path` shows fixed parts, numbers and UUIDs.
https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import time
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Final

from tocsin.asgi.call import CALL_KEY, App, Call, Receive, Scope, Send, Site
from tocsin.asgi.routes import OTHER, REFUSED, UNMATCHED
from tocsin.asgi.traces.names import OTHER_METHOD, method_of, shown_path
from tocsin.asgi.traces.tracing import Tracing, mark_failed

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from tocsin.asgi.errors.report import ErrorReport

SPAN_KEY: Final = "tocsin.span"
_NO_TEMPLATE: Final = frozenset({OTHER, REFUSED, UNMATCHED})
_HEALTH: Final = frozenset({"/healthz", "/readyz"})


class Traces:
    """ASGI middleware that traces."""

    def __init__(
        self,
        app: App,
        *,
        tracing: Tracing,
        site: Site | None = None,
        leave_out: frozenset[str] = _HEALTH,
        keep: bool = False,
    ) -> None:
        """`leave_out`: paths without a span, as they are asked all the time. `keep`: `tracing` is others' to close."""
        self._app = app
        self._site = site or Site(app)
        self._tracing = tracing
        self._leave_out = leave_out
        self._keep = keep

    async def start(self) -> None:
        """Load OpenTelemetry."""
        self._tracing.start()

    async def close(self) -> None:
        """Send what is left, for two seconds at most."""
        if not self._keep:
            await self._tracing.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._leave_out:
            await self._app(scope, receive, send)
            return
        from opentelemetry.context import attach, detach
        from opentelemetry.trace import SpanKind, set_span_in_context

        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        parent = _parent(scope)
        method = method_of(scope.get("method", "GET"))
        span = self._tracing.tracer.start_span(
            "HTTP" if method == OTHER_METHOD else method, context=parent, kind=SpanKind.SERVER
        )
        began = time.time_ns()
        token = attach(set_span_in_context(span, parent))
        call.note_span()
        raised: BaseException | None = None
        if span.is_recording():
            scope[SPAN_KEY] = span
        try:
            await self._app(scope, receive, call.track(send))
        except BaseException as error:
            raised = error
            raise
        finally:
            detach(token)
            if span.is_recording():
                _finish(span, call, method, raised)
                lasted = call.ended - call.began if call.ended else 0.0
                span.end(began + int(lasted * 1e9) if lasted > 0 else None)


def note_error(report: ErrorReport) -> None:
    """An observer of Errors: the request's span tells of what went wrong."""
    span = report.scope.get(SPAN_KEY)
    if span is None:
        return
    span.set_attribute("tocsin.category", report.category)
    span.set_attribute("tocsin.fingerprint", report.fingerprint)
    if report.error is not None:
        mark_failed(span, report.error)


def _parent(scope: Scope) -> Context | None:
    """The caller's span as a context; None for none, and where a span is running already."""
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if get_current_span().get_span_context().is_valid:
        return None
    found = {}
    for name, value in scope.get("headers", ()):
        if name in (b"traceparent", b"tracestate"):
            found[name.decode()] = value.decode("latin-1")
    return TraceContextTextMapPropagator().extract(found) if "traceparent" in found else None


def _finish(span: Span, call: Call, method: str, raised: BaseException | None) -> None:
    scope = call.scope
    route = call.route
    named = route not in _NO_TEMPLATE
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "url.scheme": scope.get("scheme", "http"),
        "url.path": shown_path(scope["path"], route) if named else "/***",
        "network.protocol.version": scope.get("http_version", "1.1"),
        "tocsin.request_id": call.request_id,
    }
    if named:
        span.update_name(f"{'HTTP' if method == OTHER_METHOD else method} {route}")
        attributes["http.route"] = route
    if scope["type"] == "websocket":
        attributes["network.protocol.name"] = "websocket"
    server = scope.get("server")
    if server:
        attributes["server.address"] = server[0]
        if server[1] is not None:
            attributes["server.port"] = server[1]
    if call.user:
        attributes["enduser.pseudo.id"] = call.user
    if call.status:
        attributes["http.response.status_code"] = call.status
    span.set_attributes(attributes)
    _judge(span, call, raised)


def _judge(span: Span, call: Call, raised: BaseException | None) -> None:
    """What failed is marked: by an exception, else by the status."""
    from opentelemetry.trace import Status, StatusCode

    fate = call.fate or ("cancelled" if isinstance(raised, CancelledError) else "")
    if fate:
        span.set_attribute("error.type", fate)  # whoever asked went away: nobody's error
    elif isinstance(raised, Exception) and call.failed is None:
        mark_failed(span, raised)
    elif call.status >= 500 and getattr(getattr(span, "status", None), "is_ok", True):
        span.set_attribute("error.type", str(call.status))
        span.set_status(Status(StatusCode.ERROR))
