"""A real OTLP/HTTP receiver on loopback, as good or bad as the test wants."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Decodes what arrives."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.reply_headers: dict[str, str] = {}
        self.hangs = False
        self.bodies: list[tuple[str, bytes]] = []
        self.asked = threading.Event()
        self.released = threading.Event()
        self.endpoint = ""

    def take(self, path: str, body: bytes) -> None:
        self.bodies.append((path, body))
        kinds = {
            "/v1/traces": ExportTraceServiceRequest, "/v1/logs": ExportLogsServiceRequest,
            "/v1/metrics": ExportMetricsServiceRequest,
        }  # fmt: skip
        if path in kinds and self.status == 200:
            self.requests.append(kinds[path].FromString(body))

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Each as names and plain values; ids in hexadecimal."""
        return [
            {
                "name": span.name, "kind": span.kind, "trace_id": span.trace_id.hex(), "span_id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(), "status": span.status.code, "attributes": plain(span.attributes),
                "events": {event.name: plain(event.attributes) for event in span.events},
                "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                "resource": plain(group.resource.attributes),
            }
            for request in list(self.requests) if isinstance(request, ExportTraceServiceRequest)
            for group in request.resource_spans for scope in group.scope_spans for span in scope.spans
        ]  # fmt: skip

    @property
    def records(self) -> list[dict[str, Any]]:
        """Log records, the same way."""
        return [
            {
                "body": record.body.string_value, "severity": record.severity_text, "number": record.severity_number,
                "trace_id": record.trace_id.hex(), "span_id": record.span_id.hex(),
                "attributes": plain(record.attributes), "resource": plain(group.resource.attributes),
                "seconds": record.time_unix_nano / 1e9,
            }
            for request in list(self.requests) if isinstance(request, ExportLogsServiceRequest)
            for group in request.resource_logs for scope in group.scope_logs for record in scope.log_records
        ]  # fmt: skip

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The metrics of each request by name: OTLP's own messages."""
        return [
            {metric.name: metric for group in request.resource_metrics for scope in group.scope_metrics
             for metric in scope.metrics}
            for request in list(self.requests) if isinstance(request, ExportMetricsServiceRequest)
        ]  # fmt: skip

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"] == name]


def plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that is served."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.asked.set()
            if collector.hangs:
                collector.released.wait()
                return
            collector.take(self.path, body)
            self.send_response(collector.status)
            for name, value in collector.reply_headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
