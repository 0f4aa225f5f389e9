"""The process's tracing: which traces are kept, where they go, and spans for work of your own.

with span("campaigns.batch", size=20):      # nothing, until a Tracing has started
    ...
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from tocsin.asgi.errors.scrub import text_of
from tocsin.model import Seconds
from tocsin.telemetry.tracing import signal_url

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanKind, Tracer

    from tocsin.telemetry.export import Export, Outcome

Attributes = Mapping[str, "str | int | float | bool"]
PATIENCE: Final[Seconds] = 2.0
_NOTHING: Final = nullcontext(None)
_active: Tracing | None = None


class Tracing:
    """Spans of one process. It costs nothing before `start`, and ends in two seconds whatever the collector does."""

    def __init__(
        self,
        endpoint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        service: str = "",
        share: float = 1.0,
        most: int = 4096,
        outcome: Outcome | None = None,
        provider: TracerProvider | None = None,
        patience: Seconds = PATIENCE,
        baggage: bool = False,
    ) -> None:
        """To the OTLP/HTTP `endpoint` (`http://collector:4318`), or where a `provider` of your own sends them; that one
        stays yours to close. `share` of the traces that no caller decided on are kept. `service` is the service.name;
        OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are read otherwise. At most `most` spans wait. `outcome` is told
        what became of how many. `baggage`: a caller's goes on to who is called. Raises ValueError."""
        if not 0 <= share <= 1:
            raise ValueError(f"a share is from 0 to 1, not {share:g}")
        if not endpoint and provider is None:
            raise ValueError("say where spans go: an OTLP endpoint, or a provider")
        self._endpoint, self._headers, self._service = endpoint, headers, service
        self._share, self._most, self._patience = share, most, patience
        self._outcome = outcome
        self.baggage = baggage
        self._export: Export | None = None
        self._provider = provider
        self._tracer: Tracer | None = None

    @property
    def tracer(self) -> Tracer:
        """OpenTelemetry's; starts where nobody did."""
        return self._tracer or self.start()

    def start(self) -> Tracer:
        """Load OpenTelemetry, and make this the process's tracing. After a fork, not before: a thread is begun."""
        global _active
        if self._tracer is None:
            provider = self._provider or self._made()
            self._tracer = provider.get_tracer("tocsin.asgi")
            _active = self
        return self._tracer

    async def close(self) -> None:
        """Send what is left, for `patience` at most; the event loop goes on."""
        thread = self._ending()
        if thread is not None:
            await joined(thread, self._patience)
            self._ended()

    def close_at_once(self) -> None:
        """The same for a program without an event loop: waits here."""
        thread = self._ending()
        if thread is not None:
            thread.join(self._patience)
            self._ended()

    def span(self, name: str, kind: SpanKind | None = None, **attributes: Any) -> AbstractContextManager[Span]:
        """A span that ends with the block. An exception marks it as failed, by its type, and goes on."""
        return self._span(name, kind, attributes)

    @contextmanager
    def _span(self, name: str, kind: SpanKind | None, attributes: Attributes) -> Iterator[Span]:
        from opentelemetry import trace

        tracer = self.tracer
        made = tracer.start_span(name, kind=kind or trace.SpanKind.INTERNAL, attributes=attributes)
        with trace.use_span(made, record_exception=False, set_status_on_exception=False):
            try:
                yield made
            except BaseException as error:
                mark_failed(made, error)
                raise
            finally:
                made.end()

    def record(
        self,
        name: str,
        seconds: Seconds,
        kind: SpanKind,
        attributes: Attributes,
        error: BaseException | None = None,
        *,
        kind_of_error: str = "",
    ) -> None:
        """A span that ended just now and began `seconds` ago, under the running one; none where that isn't kept."""
        from opentelemetry.trace import get_current_span

        if not get_current_span().is_recording():
            return
        ended = time.time_ns()
        made = self.tracer.start_span(name, kind=kind, attributes=attributes, start_time=ended - int(seconds * 1e9))
        if error is not None:
            mark_failed(made, error, kind_of_error)
        made.end(ended)

    def _made(self) -> TracerProvider:
        # Imported here: the SDK and the exporter weigh about 100 ms and 15 MB, and most applications don't use them.
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        from tocsin.telemetry.export import Export

        self._export = Export(
            signal_url(self._endpoint, "traces"),
            headers=self._headers, most=self._most, outcome=self._outcome or (lambda _, __: None),
        )  # fmt: skip
        resource = Resource.create({"service.name": self._service} if self._service else {})
        sampler = ParentBased(TraceIdRatioBased(self._share))
        provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(self._export)
        return provider

    def _ending(self) -> threading.Thread | None:
        global _active
        if _active is self:
            _active = None
        self._tracer = None
        if self._export is None:
            return None
        # A thread that nobody waits for: the SDK's own shutdown waits as long as the collector likes.
        thread = threading.Thread(target=self._export.shutdown, name="tocsin-traces-end", daemon=True)
        thread.start()
        return thread

    def _ended(self) -> None:
        export, self._export = self._export, None
        if export is not None:
            export.give_up()


def active() -> Tracing | None:
    """The tracing that has started in this process, if one has."""
    return _active


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A span around work of your own: under the running one, else a trace of its own. None where nothing is traced."""
    return _NOTHING if _active is None else _active.span(name, **attributes)


def mark_failed(span: Span, error: BaseException, kind: str = "") -> None:
    """`error.type` is `kind`, or the exception's class; its text is masked, its stack is in the log. What was cancelled
    has the type and did not fail."""
    from opentelemetry.trace import Status, StatusCode

    named = kind or _name(error)
    span.set_attribute("error.type", named)
    if not isinstance(error, Exception):
        return
    span.set_status(Status(StatusCode.ERROR, named))
    if span.is_recording():
        span.add_event("exception", {"exception.type": _name(error), "exception.message": text_of(error)})


async def joined(thread: threading.Thread, within: Seconds, *, sleep: Callable[..., Any] = asyncio.sleep) -> None:
    """Wait for a thread, for `within` seconds at most, without holding up the event loop."""
    until = time.monotonic() + within
    while thread.is_alive() and time.monotonic() < until:
        await sleep(0.01)


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
