"""Spans: exported over OTLP/HTTP when an endpoint is configured, and free of charge when not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tocsin.telemetry.tracing import Tracing


class Receiver:
    """An OTLP collector on loopback that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self) -> list[tuple[str, str]]:
        """(path, span name)."""
        return [
            (path, span.name)
            for path, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


def test_spans_reach_the_endpoint(receiver: Receiver) -> None:
    """collect, evaluate and deliver show up in whatever speaks OTLP."""
    tracing = Tracing(receiver.url, version="1")
    with tracing.span("collect", collector="db"):
        pass
    tracing.close()
    assert receiver.spans() == [("/v1/traces", "collect")]


def test_an_exception_passes_through_and_marks_the_span(receiver: Receiver) -> None:
    """Observing changes nothing."""
    tracing = Tracing(receiver.url)
    with pytest.raises(KeyError), tracing.span("deliver"):
        raise KeyError("x")
    tracing.close()
    assert receiver.requests[0][1].resource_spans[0].scope_spans[0].spans[0].status.code == 2


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    """It weighs 15 MB that most daemons don't need."""
    program = (
        "import sys; from tocsin.telemetry.tracing import Tracing; tracing = Tracing()\n"
        "with tracing.span('collect', collector='x'): pass\n"
        "tracing.close(); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
