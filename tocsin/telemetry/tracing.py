"""Spans around collect, evaluate and deliver, exported over OTLP/HTTP when an endpoint is configured.

Without one nothing of OpenTelemetry is imported and a span costs a function call. With one, a collector that is slow,
gone or hangs costs neither latency (export: a bounded queue and a thread) nor a slow shutdown (a second at most).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from tocsin.telemetry.export import Export

Attributes = str | int | float | bool

PATIENCE_SECONDS = 1.0


class Tracing:
    """Makes spans; `Tracing()` makes none."""

    def __init__(self, endpoint: str = "", *, headers: dict[str, str] | None = None, version: str = "") -> None:
        self._export: Export | None = None
        self._start: Callable[..., Any] | None = None
        if endpoint:
            provider, self._export = _provider(endpoint, headers or {}, version)
            self._start = provider.get_tracer("tocsin", version).start_as_current_span

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
        if self._export is not None:
            # A thread that nobody waits for: the SDK's own shutdown waits as long as the collector likes.
            thread = threading.Thread(target=self._export.shutdown, name="tocsin-traces-end", daemon=True)
            thread.start()
            thread.join(PATIENCE_SECONDS)
            self._export.give_up()
            self._export = None


def signal_url(endpoint: str, signal: str) -> str:
    """Where a signal goes: `endpoint` itself where it says so, else its /v1/SIGNAL.
    https://opentelemetry.io/docs/specs/otlp/#otlphttp-request"""
    return endpoint if endpoint.endswith(f"/v1/{signal}") else f"{endpoint.rstrip('/')}/v1/{signal}"


def _provider(endpoint: str, headers: dict[str, str], version: str) -> tuple[TracerProvider, Export]:
    # Imported here: the SDK and the exporter weigh about 100 ms and 15 MB, and most daemons don't use them.
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from tocsin.telemetry.export import Export

    resource = Resource.create({"service.name": "tocsin", "service.version": version})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    export = Export(signal_url(endpoint, "traces"), headers=headers, outcome=lambda _, __: None)
    provider.add_span_processor(export)
    return provider, export
