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
from typing import TYPE_CHECKING, Any, Final

from tocsin.asgi.call import CALL_KEY, App, Call, Receive, Scope, Send, Site
from tocsin.asgi.traces.tracing import Tracing, mark_failed

if TYPE_CHECKING:
    from tocsin.asgi.errors.report import ErrorReport

SPAN_KEY: Final = "tocsin.span"
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
        self._serving: Any = None

    async def start(self) -> None:
        """Load OpenTelemetry."""
        from opentelemetry.context import detach

        from tocsin.asgi.traces import serving

        self._tracing.start()
        self._serving, self._detach = serving, detach

    async def close(self) -> None:
        """Send what is left, for two seconds at most."""
        if not self._keep:
            await self._tracing.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._leave_out:
            await self._app(scope, receive, send)
            return
        if self._serving is None:
            await self.start()
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        began = time.time_ns()
        span, token = self._serving.begin(self._tracing.tracer, call, baggage=self._tracing.baggage)
        kept = span.is_recording()
        if kept:
            scope[SPAN_KEY] = span
        raised: BaseException | None = None
        try:
            await self._app(scope, receive, call.track(send))
        except BaseException as error:
            raised = error
            raise
        finally:
            self._detach(token)
            if kept:
                self._serving.finish(span, call, raised)
                # Not what a task in the background takes after the answer.
                lasted = call.ended - call.began if call.ended else 0.0
                span.end(began + int(lasted * 1e9) if lasted > 0 else None)


def note_error(report: ErrorReport) -> None:
    """An observer of Errors: the request's span tells of what went wrong."""
    span = report.scope.get(SPAN_KEY)
    if span is None or not span.is_recording():  # over, before a task that it started
        return
    span.set_attribute("tocsin.category", report.category)
    span.set_attribute("tocsin.fingerprint", report.fingerprint)
    if report.error is not None:
        mark_failed(span, report.error)
