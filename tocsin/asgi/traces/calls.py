"""Spans of calls to other services, which take the trace context along.

    ClientSession(trace_configs=[aiohttp_traces()])                         # aiohttp
    httpx.AsyncClient(transport=httpx_transport(httpx.AsyncHTTPTransport()))
    session.mount("https://", requests_adapter())                           # requests
    with outgoing("POST", url) as call:                                     # anything else
        call.status = client.send(url, headers=call.headers)

W3C's `traceparent` goes out also where the trace is not kept: who is called must know that. A span lasts until the
answer's head is there; a 4xx is a failure too, as the one who asked wrongly is us.
https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tocsin.asgi.traces.names import OTHER_METHOD, method_of, shown_url
from tocsin.asgi.traces.tracing import active, mark_failed

if TYPE_CHECKING:
    from aiohttp import TraceConfig
    from opentelemetry.trace import Span


class Outgoing:
    """One call."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span
        self.headers: dict[str, str] = {} if span is None else _headers(span)
        """To send along; empty where nothing is traced."""
        self.status = 0
        """Of the answer: set it."""

    def end(self, error: BaseException | None = None) -> None:
        """There is an answer, or an error."""
        span = self._span
        if span is None:
            return
        if error is not None:
            mark_failed(span, error)
        elif self.status:
            span.set_attribute("http.response.status_code", self.status)
            if self.status >= 400:
                from opentelemetry.trace import Status, StatusCode

                span.set_attribute("error.type", str(self.status))
                span.set_status(Status(StatusCode.ERROR))
        span.end()


def begin(method: str, url: Any) -> Outgoing:
    """A call that begins now; `end` it. It does nothing where nothing is traced."""
    tracing = active()
    if tracing is None:
        return Outgoing()
    from opentelemetry.trace import SpanKind

    known = method_of(method)
    full, host, port = shown_url(url)
    attributes: dict[str, Any] = {
        "http.request.method": known, "url.full": full, "server.address": host, "server.port": port,
    }  # fmt: skip
    name = "HTTP" if known == OTHER_METHOD else known
    return Outgoing(tracing.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))


@contextmanager
def outgoing(method: str, url: Any) -> Iterator[Outgoing]:
    """A span around a call to another service: send its `headers` along, and set its `status`."""
    call = begin(method, url)
    try:
        yield call
    except BaseException as error:
        call.end(error)
        raise
    call.end()


def aiohttp_traces() -> TraceConfig:
    """For `ClientSession(trace_configs=[…])`."""
    from aiohttp import TraceConfig

    async def began(_: Any, context: Any, params: Any) -> None:
        context.call = begin(params.method, params.url)
        params.headers.update(context.call.headers)

    async def ended(_: Any, context: Any, params: Any) -> None:
        context.call.status = params.response.status
        context.call.end()

    async def failed(_: Any, context: Any, params: Any) -> None:
        context.call.end(params.exception)

    config = TraceConfig()
    config.on_request_start.append(began)
    config.on_request_end.append(ended)
    config.on_request_exception.append(failed)
    return config


def httpx_transport(inner: Any) -> Any:
    """A transport for httpx around another one, sync or async."""
    import httpx

    class Traced(httpx.BaseTransport, httpx.AsyncBaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            with outgoing(request.method, request.url) as call:
                request.headers.update(call.headers)
                answer: httpx.Response = inner.handle_request(request)
                call.status = answer.status_code
            return answer

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with outgoing(request.method, request.url) as call:
                request.headers.update(call.headers)
                answer: httpx.Response = await inner.handle_async_request(request)
                call.status = answer.status_code
            return answer

        def close(self) -> None:
            inner.close()

        async def aclose(self) -> None:
            await inner.aclose()

    return Traced()


def requests_adapter(**arguments: Any) -> Any:
    """An adapter to mount in a session of requests; `arguments` are HTTPAdapter's."""
    from requests.adapters import HTTPAdapter

    class Traced(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            with outgoing(request.method, request.url) as call:
                request.headers.update(call.headers)
                answer = super().send(request, *args, **kwargs)
                call.status = answer.status_code
            return answer

    return Traced(**arguments)


def _headers(span: Span) -> dict[str, str]:
    """https://www.w3.org/TR/trace-context/, https://www.w3.org/TR/baggage/"""
    from opentelemetry.baggage.propagation import W3CBaggagePropagator

    context = span.get_span_context()
    if not context.is_valid:
        return {}
    found = {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"}
    if context.trace_state:
        found["tracestate"] = context.trace_state.to_header()
    W3CBaggagePropagator().inject(found)
    return found
