"""Spans around collect, evaluate and deliver, exported over OTLP/HTTP when an endpoint is configured.

Without one nothing of OpenTelemetry is imported and a span costs a function call. With one, a dead collector costs
neither latency (batched, from a thread) nor a slow shutdown (the exporter's timeout is 1 s; its default cost 7 s).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = str | int | float | bool

EXPORT_TIMEOUT_SECONDS = 1


class Tracing:
    """Makes spans; `Tracing()` makes none."""

    def __init__(self, endpoint: str = "", *, headers: dict[str, str] | None = None, version: str = "") -> None:
        self._provider: TracerProvider | None = None
        self._start: Callable[..., Any] | None = None
        if endpoint:
            self._provider = _provider(endpoint, headers or {}, version)
            self._start = self._provider.get_tracer("tocsin", version).start_as_current_span

    def span(self, name: str, **attributes: Attributes) -> AbstractContextManager[object]:
        """A span that ends with the `with` block; an exception in it marks the span as failed."""
        if self._start is None:
            return nullcontext()
        return self._span(name, attributes)

    @contextmanager
    def _span(self, name: str, attributes: dict[str, Attributes]) -> Iterator[object]:
        assert self._start is not None
        with self._start(name, attributes=attributes) as span:
            yield span

    def close(self) -> None:
        """Send what is left, for a second at most."""
        if self._provider is not None:
            self._provider.force_flush(timeout_millis=EXPORT_TIMEOUT_SECONDS * 1000)
            self._provider.shutdown()


def _provider(endpoint: str, headers: dict[str, str], version: str) -> TracerProvider:
    # Imported here: the SDK and the exporter weigh about 100 ms and 15 MB, and most daemons don't use them.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "tocsin", "service.version": version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    url = endpoint if endpoint.endswith("/v1/traces") else endpoint.rstrip("/") + "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, headers=headers, timeout=EXPORT_TIMEOUT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_TIMEOUT_SECONDS * 1000))
    return provider
