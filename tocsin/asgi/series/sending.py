"""Series on their way to a collector: once a minute, and once more at the end. Nobody waits for it.

What is sent are totals, so that a collector that was away has missed nothing once it is back: there is no queue, and a
failure costs a minute's points. `outcome` counts requests, not points.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tocsin.asgi.traces.tracing import joined
from tocsin.model import Seconds
from tocsin.telemetry.tracing import signal_url

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

EVERY: Seconds = 60.0
TIMEOUT: Seconds = 5.0


class SeriesExport:
    """Of one registry. It ends in `patience` seconds whatever the collector does."""

    def __init__(
        self,
        registry: CollectorRegistry,
        endpoint: str,
        *,
        outcome: Callable[[str, int], None],
        headers: Mapping[str, str] | None = None,
        service: str = "",
        every: Seconds = EVERY,
        patience: Seconds = 2.0,
    ) -> None:
        self._registry, self._outcome = registry, outcome
        self._url, self._headers = signal_url(endpoint, "metrics"), dict(headers or {})
        self._service, self._every, self._patience = service, every, patience
        self._ending = threading.Event()
        self._given_up = False
        self._exporter: Any = None
        self._thread: threading.Thread | None = None
        self._began = time.time_ns()

    def start(self) -> None:
        """Load OpenTelemetry and begin. After a fork, not before: a thread is begun."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        if self._thread is None:
            self._exporter = OTLPMetricExporter(endpoint=self._url, headers=self._headers, timeout=TIMEOUT)
            self._thread = threading.Thread(target=self._run, name="tocsin-otlp-metrics", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Send the last totals, for `patience` at most."""
        if self._thread is None:
            return
        self._ending.set()
        await joined(self._thread, self._patience)
        if self._thread.is_alive():
            self._given_up = True
            self._outcome("left", 1)
        self._exporter.shutdown()
        self._thread = None

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._ending.wait(self._every)
            sent = self._send()
            if not self._given_up:
                self._outcome("sent" if sent else "failed", 1)

    def _send(self) -> bool:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        try:
            return bool(self._exporter.export(self._collected()) is MetricExportResult.SUCCESS)
        except Exception:  # noqa: BLE001 (a collector of the application's own that fails; the thread must go on)
            return False

    def _collected(self) -> Any:
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        from tocsin.asgi.series.points import metrics_of

        # Several worker processes send the same series: each is an instance (the SDK's own id of the process, which its
        # spans and log records have as well), or they would overwrite each other.
        who = {"service.name": self._service} if self._service else {}
        metrics = metrics_of(self._registry.collect(), self._began, time.time_ns())
        scope = ScopeMetrics(scope=InstrumentationScope("tocsin.asgi"), metrics=metrics, schema_url="")
        return MetricsData([ResourceMetrics(resource=Resource.create(who), scope_metrics=[scope], schema_url="")])
