"""Spans: exported over OTLP/HTTP when an endpoint is configured, and free of charge when not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.asgi.collector import Collector, collecting
from tocsin.telemetry.tracing import Tracing


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def test_spans_reach_the_endpoint(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """collect, evaluate and deliver show up in whatever speaks OTLP."""
    monkeypatch.setattr("tocsin.telemetry.tracing.PATIENCE_SECONDS", 60.0)
    tracing = Tracing(collector.endpoint, version="1")
    with tracing.span("collect", collector="db"):
        pass
    tracing.close()
    assert [path for path, _ in collector.bodies] == ["/v1/traces"]
    [found] = collector.spans
    assert (found["name"], found["attributes"]) == ("collect", {"collector": "db"})
    assert (found["resource"]["service.name"], found["resource"]["service.version"]) == ("tocsin", "1")


def test_an_exception_passes_through_and_marks_the_span(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Observing changes nothing."""
    monkeypatch.setattr("tocsin.telemetry.tracing.PATIENCE_SECONDS", 60.0)
    tracing = Tracing(collector.endpoint)
    with pytest.raises(KeyError), tracing.span("deliver"):
        raise KeyError("x")
    tracing.close()
    assert [span["status"] for span in collector.spans] == [2]


def test_a_collector_that_hangs_for_ever_does_not_hold_up_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several batches wait, and none is given up for its slowness: the end comes all the same."""
    monkeypatch.setattr("tocsin.telemetry.export.TIMEOUT", 1e6)
    collector.hangs = True
    tracing = Tracing(collector.endpoint)
    for _ in range(1200):
        with tracing.span("collect"):
            pass
    tracing.close()
    assert (collector.asked.is_set(), collector.requests) == (True, [])


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    """It weighs 15 MB that most daemons don't need."""
    program = (
        "import sys; from tocsin.telemetry.tracing import Tracing; tracing = Tracing()\n"
        "with tracing.span('collect', collector='x'): pass\n"
        "tracing.close(); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
