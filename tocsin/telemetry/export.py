"""Spans on their way to the collector, of the daemon and of an application: whoever ends one waits for nobody.

The SDK's batch processor takes them along, from a thread of its own. Around it is what it leaves open: at most `most`
spans wait or are under way, what comes then is lost; each is counted by what became of it (`outcome`); and `close` ends
after `patience` seconds, although the collector never answers (the SDK alone waits for each batch that is left).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from tocsin.model import Seconds

Outcome = Callable[[str, int], None]
"""Told of what became of how many: sent, full, failed, left."""
BATCH = 512
TIMEOUT: Seconds = 5.0


class Export(SpanProcessor):
    """To one collector."""

    def __init__(
        self,
        endpoint: str,
        *,
        outcome: Outcome,
        headers: Mapping[str, str] | None = None,
        most: int = 4096,
        every: Seconds = 1.0,
    ) -> None:
        """`endpoint` is the whole URL. A batch goes `every` seconds or when it is full, and may take TIMEOUT."""
        exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(headers or {}), timeout=TIMEOUT)
        self._most = most
        self._outcome = outcome
        self._lock = threading.Lock()
        self._waiting = 0
        self._given_up = False
        self._exporter = exporter
        self._batches = BatchSpanProcessor(
            _Counted(exporter, self._settle),
            max_queue_size=most + BATCH,  # never full: that would lose the oldest, and tell nobody
            max_export_batch_size=min(BATCH, most),
            schedule_delay_millis=every * 1000,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Take one along."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            lost = "left" if self._given_up else "full" if self._waiting >= self._most else ""
            self._waiting += not lost
        if lost:
            self._outcome(lost, 1)
        else:
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what waits. It may take as long as the collector likes: call it from a thread that nobody waits for."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def give_up(self) -> None:
        """What has not arrived by now is lost."""
        with self._lock:
            self._given_up, left = True, self._waiting
        if left:
            self._outcome("left", left)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _settle(self, count: int, outcome: str) -> None:
        with self._lock:
            if self._given_up:
                return
            self._waiting -= count
        self._outcome(outcome, count)


class _Counted(SpanExporter):
    """The exporter, telling what became of each batch."""

    def __init__(self, inner: SpanExporter, settle: Callable[[int, str], None]) -> None:
        self._inner = inner
        self._settle = settle

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            self._settle(len(spans), "sent" if result is SpanExportResult.SUCCESS else "failed")
        return result

    def shutdown(self) -> None:
        """The exporter is ended by whoever gives up."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """It holds nothing back."""
        return True
