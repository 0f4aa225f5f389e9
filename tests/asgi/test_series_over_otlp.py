"""The application's series over OTLP: the same names, labels and values as /metrics has, and what it never costs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary

from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.collector import Collector, collecting, plain, until
from tests.asgi.frameworks import Kept
from tests.asgi.test_traces import free_port
from tocsin.asgi import Lines, protect
from tocsin.asgi.series.sending import SeriesExport
from tocsin.errors import InputError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    scope["tocsin.route"] = "/hello/{name}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def points(data: Any) -> list[tuple[dict[str, Any], float]]:
    return [(plain(point.attributes), point.as_double) for point in data.data_points]


async def test_requests_are_told_with_the_route_and_the_trace_they_were_of() -> None:
    """At the end at the latest, by one environment variable."""
    registry = CollectorRegistry()
    with collecting() as collector:
        variables = {"TOCSIN_APP_OTLP_ENDPOINT": collector.endpoint, "TOCSIN_APP_OTLP_METRICS": "yes",
                     "TOCSIN_APP_SERVICE": "shop", "TOCSIN_APP_OTLP_HEADERS": "x-tenant=7"}  # fmt: skip
        app = protect(hello, supabase_url="off", environment=variables, registry=registry, lines=Lines(Kept()))
        await app.start()
        asked = scope("/hello/ana")
        asked["headers"] = [(b"traceparent", f"00-{TRACE}-{SPAN}-00".encode())]
        for _ in range(2):
            await app(asked, nothing, nowhere)
        await app.close()
        [found], [request] = collector.metrics, collector.requests
    resource = plain(request.resource_metrics[0].resource.attributes)
    assert (resource["service.name"], len(resource["service.instance.id"])) == ("shop", 36)
    assert [headers["x-tenant"] for headers in collector.headers] == ["7"]
    counted = found["tocsin_http_requests_total"].sum
    assert (counted.is_monotonic, counted.aggregation_temporality) == (True, 2)
    assert points(counted) == [({"method": "GET", "route": "/hello/{name}", "status": "200"}, 2.0)]
    latency = found["tocsin_http_request_duration_seconds"]
    [point] = latency.histogram.data_points
    assert (latency.unit, point.count, sum(point.bucket_counts)) == ("s", 2, 2)
    assert (len(point.bucket_counts), list(point.explicit_bounds)[:2]) == (12, [0.005, 0.01])
    [exemplar] = point.exemplars
    assert exemplar.trace_id.hex() == TRACE
    assert len(exemplar.span_id.hex()) == 16
    assert registry.get_sample_value("tocsin_http_exports_total", {"signal": "metrics", "outcome": "sent"}) == 1


async def test_without_a_lifespan_it_begins_with_the_first_request() -> None:
    """And what an argument says, a variable may rely on: the endpoint is one, the rest the environment's."""
    variables = {"TOCSIN_APP_OTLP_METRICS": "yes"}
    with collecting() as collector:
        app = protect(
            hello, supabase_url="off", environment=variables, otlp_endpoint=collector.endpoint, lines=Lines(Kept()),
            registry=CollectorRegistry(),
        )  # fmt: skip
        await app(scope("/hello/ana"), nothing, nowhere)
        await app.close()
        [found] = collector.metrics
    assert [value for _, value in points(found["tocsin_http_requests_total"].sum)] == [1.0]


def everything() -> CollectorRegistry:
    """One of each kind."""
    registry = CollectorRegistry()
    Counter("orders", "Orders", ["shop"], registry=registry).labels("a").inc(3)
    Gauge("queue_bytes", "Queue", registry=registry).set(-2.5)
    seconds = Histogram("work_seconds", "Work", ["job"], buckets=(0.1, 1), registry=registry)
    for value in (0.05, 0.5, 0.7, 5):
        seconds.labels("x").observe(value)
    Summary("answer_seconds", "Answers", registry=registry).observe(2)
    Info("build", "Build", registry=registry).info({"version": "1"})
    return registry


async def told(registry: CollectorRegistry, collector: Collector, **options: Any) -> dict[str, int]:
    counts: dict[str, int] = {}

    def count(outcome: str, number: int) -> None:
        counts[outcome] = counts.get(outcome, 0) + number

    export = SeriesExport(registry, collector.endpoint, outcome=count, **options)
    export.start()
    await export.close()
    return counts


async def test_every_kind_of_series_keeps_its_name_its_labels_and_its_value() -> None:
    """By OpenTelemetry's mapping; buckets are no longer cumulative, and a counter says since when it counts."""
    before = time.time()
    with collecting() as collector:
        assert await told(everything(), collector) == {"sent": 1}
        [found] = collector.metrics
    assert points(found["orders_total"].sum) == [({"shop": "a"}, 3.0)]
    [counted] = found["orders_total"].sum.data_points
    assert before - 1 < counted.start_time_unix_nano / 1e9 <= counted.time_unix_nano / 1e9
    assert (points(found["queue_bytes"].gauge), found["queue_bytes"].unit) == ([({}, -2.5)], "By")
    [work] = found["work_seconds"].histogram.data_points
    assert (list(work.bucket_counts), list(work.explicit_bounds), work.sum) == ([1, 2, 1], [0.1, 1.0], 6.25)
    assert points(found["answer_seconds_sum"].sum) == [({}, 2.0)]
    assert points(found["build_info"].gauge) == [({"version": "1"}, 1.0)]
    assert {name for name in found if name.endswith("_created")} == set()


async def test_totals_are_sent_again_and_again_and_a_failure_loses_none() -> None:
    """What a collector that was away gets afterwards is everything since the start."""
    registry = CollectorRegistry()
    orders = Counter("orders", "Orders", registry=registry)
    counts: dict[str, int] = {}
    with collecting() as collector:
        collector.status = 400
        export = SeriesExport(
            registry, collector.endpoint, every=0.05,
            outcome=lambda outcome, number: counts.update({outcome: counts.get(outcome, 0) + number}),
        )  # fmt: skip
        export.start()
        orders.inc(2)
        await asyncio.to_thread(until, lambda: counts.get("failed", 0) >= 2)
        orders.inc(3)
        collector.status = 200
        await asyncio.to_thread(until, lambda: counts.get("sent", 0) >= 2)
        await export.close()
        assert [points(found["orders_total"].sum) for found in collector.metrics][-1] == [({}, 5.0)]


async def test_a_collector_that_hangs_delays_no_end() -> None:
    """What is under way is counted as left, and the process goes."""
    with collecting() as collector:
        collector.hangs = True
        assert await told(everything(), collector, patience=0.2) == {"left": 1}


async def test_a_collector_that_is_gone_and_a_registry_that_fails_are_failures() -> None:
    """Not the end of the thread."""

    class Broken(CollectorRegistry):
        def collect(self) -> Any:
            raise LookupError

    with collecting() as collector:
        assert await told(Broken(), collector) == {"failed": 1}
        collector.endpoint = f"http://127.0.0.1:{free_port()}"
        gone = await told(everything(), collector, patience=0.2)
    assert gone in ({"failed": 1}, {"left": 1})


def test_series_need_somewhere_to_go() -> None:
    """And that is said at the start."""
    with pytest.raises(InputError, match="otlp_metrics has nowhere to go"):
        protect(hello, supabase_url="off", environment={"TOCSIN_APP_OTLP_METRICS": "yes"}, registry=CollectorRegistry())
