"""The span of one request: how it begins under its caller's, and what it tells at the end. Loads OpenTelemetry."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any, Final

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from tocsin.asgi.call import Call, parent_of
from tocsin.asgi.routes import OTHER, REFUSED, UNMATCHED
from tocsin.asgi.traces.names import OTHER_METHOD, method_of, shown_path
from tocsin.asgi.traces.tracing import mark_failed

_NO_TEMPLATE: Final = frozenset({OTHER, REFUSED, UNMATCHED})
_UNKNOWN: Final = "/***"
_BAGGAGE: Final = W3CBaggagePropagator()
"""Bounded by itself: 8,192 bytes, 180 members."""


def begin(tracer: Tracer, call: Call, *, baggage: bool = False) -> tuple[Span, Any]:
    """(the request's span, which runs from now on; what ends that)."""
    parent = None if get_current_span().get_span_context().is_valid else _caller(call)
    span = tracer.start_span(_named(method_of(call.scope.get("method", "GET"))), context=parent, kind=SpanKind.SERVER)
    around = set_span_in_context(span, parent)
    if baggage and b"baggage" in call.headers:
        around = _BAGGAGE.extract({"baggage": call.headers[b"baggage"].decode("latin-1")}, around)
    token = attach(around)
    call.note_span()
    return span, token


def finish(span: Span, call: Call, raised: BaseException | None) -> None:
    """All that is known at the end."""
    scope, route = call.scope, call.route
    method = method_of(scope.get("method", "GET"))
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "tocsin.request_id": call.request_id,
    }
    if route in _NO_TEMPLATE:
        attributes["url.path"] = _UNKNOWN
    else:
        span.update_name(f"{_named(method)} {route}")
        attributes["http.route"] = route
        attributes["url.path"] = shown_path(scope["path"], route)
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
    if call.fate or raised is not None or call.status >= 500:
        _judge(span, call, raised)


def _judge(span: Span, call: Call, raised: BaseException | None) -> None:
    """What failed is marked: by an exception, else by the status."""
    fate = call.fate or ("cancelled" if isinstance(raised, CancelledError) else "")
    if fate:
        span.set_attribute("error.type", fate)  # whoever asked went away: nobody's error
    elif isinstance(raised, Exception) and call.failed is None:
        mark_failed(span, raised)
    elif getattr(getattr(span, "status", None), "is_ok", True):
        span.set_attribute("error.type", str(call.status))
        span.set_status(Status(StatusCode.ERROR))


def _caller(call: Call) -> Context | None:
    """The caller's span as a context. https://www.w3.org/TR/trace-context/"""
    trace_id, span_id, sampled = parent_of(call.headers.get(b"traceparent"))
    if not trace_id:
        return None
    state = [value.decode("latin-1") for name, value in call.scope["headers"] if name == b"tracestate"]
    context = SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT),
        trace_state=TraceState.from_header(state) if state else None,
    )
    return set_span_in_context(NonRecordingSpan(context), Context())


def _named(method: str) -> str:
    return "HTTP" if method == OTHER_METHOD else method
