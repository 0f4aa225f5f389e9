"""The series of a protected application. Every label is bounded, whatever the clients send.

    tocsin_http_request_duration_seconds{method,route}    histogram, exemplars with the trace id
    tocsin_http_requests_total{method,route,status}       counter
    tocsin_http_requests_in_flight                        gauge
    tocsin_http_sockets_open{route}                       gauge; WebSockets
    tocsin_http_errors_total{category,route}              counter; 4xx too, as client, auth or validation
    tocsin_http_error_occurrences_total{category,fingerprint}   counter; errors with a fingerprint only
    tocsin_http_refusals_total{reason}                    counter; what access refused
    tocsin_http_limited_total{limit}                      counter; body, time, concurrency, sockets
    tocsin_http_requests_waiting                          gauge; for a place under the concurrency limit
    tocsin_http_log_lines_total{outcome}                  counter; kept, sampled_out, lost
    tocsin_http_cache_total{cached,outcome}               counter; hit, stale, joined, miss, bypass, unreachable
    tocsin_http_exports_total{signal,outcome}             counter; sent, or lost: full, failed, limited, left
    tocsin_database_pool_limit{database}                  gauge; connections at most
    tocsin_database_pool_size{database}                   gauge; connections there are
    tocsin_database_pool_in_use{database}                 gauge
    tocsin_database_pool_waiting{database}                gauge; who waits for one
    tocsin_database_wait_seconds{database}                histogram; for a connection
    tocsin_database_statement_seconds{database,route}     histogram; `outside` is what no request asked
    tocsin_database_slow_statements_total{database,route} counter; each is logged, storms counted
    tocsin_database_refusals_total{database,reason}       counter; saturated, unreachable, took_too_long

They are in `prometheus_client.REGISTRY` unless another registry is given, so the application's own /metrics has them;
`protect(metrics_token=…)` serves them where there is none. With PROMETHEUS_MULTIPROC_DIR the gauges are summed.
"""

from __future__ import annotations

import os
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from tocsin.model import Metric, MetricType

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FINE: Final = (0.0005, 0.001, 0.0025, *BUCKETS)
"""Of what is a part of a request."""
OTHER: Final = "other"
MOST_FINGERPRINTS: Final = 200
"""Series of single fingerprints; what comes after is `other`, and in the log by its own name."""

DECLARED: Final = (
    Metric(
        name="tocsin_http_request_duration_seconds", type=MetricType.HISTOGRAM, labels=("method", "route"),
        help="From a request's arrival to the last byte of its answer",
    ),
    Metric(
        name="tocsin_http_requests_total", type=MetricType.COUNTER, labels=("method", "route", "status"),
        help="Requests answered",
    ),
    Metric(name="tocsin_http_requests_in_flight", type=MetricType.GAUGE, help="Requests being answered now"),
    Metric(
        name="tocsin_http_sockets_open", type=MetricType.GAUGE, labels=("route",), help="WebSockets that are open now",
    ),
    Metric(
        name="tocsin_http_errors_total", type=MetricType.COUNTER, labels=("category", "route"),
        help="Requests that went wrong, by whose matter it is",
    ),
    Metric(
        name="tocsin_http_error_occurrences_total", type=MetricType.COUNTER, labels=("category", "fingerprint"),
        help="Errors by fingerprint: exception type and last frame of the application",
    ),
    Metric(
        name="tocsin_http_refusals_total", type=MetricType.COUNTER, labels=("reason",),
        help="Requests that access refused",
    ),
    Metric(
        name="tocsin_http_limited_total", type=MetricType.COUNTER, labels=("limit",),
        help="Requests that a limit ended: body, time, concurrency, sockets",
    ),
    Metric(
        name="tocsin_http_requests_waiting", type=MetricType.GAUGE,
        help="Requests that wait for a place under the concurrency limit",
    ),
    Metric(
        name="tocsin_http_log_lines_total", type=MetricType.COUNTER, labels=("outcome",),
        help="Request log lines: kept, sampled_out (counted in the next kept one), lost",
    ),
    Metric(
        name="tocsin_http_cache_total", type=MetricType.COUNTER, labels=("cached", "outcome"),
        help="What became of questions to the cache: hit, stale, joined (waited for an equal one), miss, bypass, "
        "unreachable (the shared store was not there)",
    ),
    Metric(
        name="tocsin_http_exports_total", type=MetricType.COUNTER, labels=("signal", "outcome"),
        help="What leaves for a collector or Sentry: sent; or lost: full, failed, limited, left (at the end)",
    ),
    Metric(
        name="tocsin_database_pool_limit", type=MetricType.GAUGE, labels=("database",),
        help="Connections that the pool may have",
    ),
    Metric(
        name="tocsin_database_pool_size", type=MetricType.GAUGE, labels=("database",), help="Connections of the pool",
    ),
    Metric(
        name="tocsin_database_pool_in_use", type=MetricType.GAUGE, labels=("database",),
        help="Connections that are given out",
    ),
    Metric(
        name="tocsin_database_pool_waiting", type=MetricType.GAUGE, labels=("database",),
        help="Requests that wait for a connection",
    ),
    Metric(
        name="tocsin_database_wait_seconds", type=MetricType.HISTOGRAM, labels=("database",),
        help="How long a connection was waited for, also in vain",
    ),
    Metric(
        name="tocsin_database_statement_seconds", type=MetricType.HISTOGRAM, labels=("database", "route"),
        help="How long statements took, by the route that asked; outside: no request did",
    ),
    Metric(
        name="tocsin_database_slow_statements_total", type=MetricType.COUNTER, labels=("database", "route"),
        help="Statements that were slow, each in the log",
    ),
    Metric(
        name="tocsin_database_refusals_total", type=MetricType.COUNTER, labels=("database", "reason"),
        help="What the database could not do in time: saturated (no connection free), unreachable, took_too_long",
    ),
)  # fmt: skip
"""What an application behind the layers yields; the shipped rules read it."""


class UnderWay:
    """One layer's requests under way: counted by whoever has it, in one event loop."""

    __slots__ = ("__weakref__", "now")

    def __init__(self) -> None:
        self.now = 0

    def inc(self) -> None:
        """One more."""
        self.now += 1

    def dec(self) -> None:
        """One less."""
        self.now -= 1


_made: WeakKeyDictionary[CollectorRegistry, Measures] = WeakKeyDictionary()


class Measures:
    """The instruments of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Use `measures_of`: a registry takes a name once."""
        made = {metric.name: _instrument(metric, registry) for metric in DECLARED}
        self.registry = registry
        self.seconds: Histogram = made["tocsin_http_request_duration_seconds"]
        self.requests: Counter = made["tocsin_http_requests_total"]
        self.in_flight: Gauge = made["tocsin_http_requests_in_flight"]
        self.sockets: Gauge = made["tocsin_http_sockets_open"]
        self.errors: Counter = made["tocsin_http_errors_total"]
        self.occurrences: Counter = made["tocsin_http_error_occurrences_total"]
        self.refusals: Counter = made["tocsin_http_refusals_total"]
        self.limited: Counter = made["tocsin_http_limited_total"]
        self.waiting: Gauge = made["tocsin_http_requests_waiting"]
        self.log_lines: Counter = made["tocsin_http_log_lines_total"]
        self.cache: Counter = made["tocsin_http_cache_total"]
        self.exports: Counter = made["tocsin_http_exports_total"]
        self.database_limit: Gauge = made["tocsin_database_pool_limit"]
        self.database_size: Gauge = made["tocsin_database_pool_size"]
        self.database_in_use: Gauge = made["tocsin_database_pool_in_use"]
        self.database_waiting: Gauge = made["tocsin_database_pool_waiting"]
        self.database_wait: Histogram = made["tocsin_database_wait_seconds"]
        self.database_seconds: Histogram = made["tocsin_database_statement_seconds"]
        self.database_slow: Counter = made["tocsin_database_slow_statements_total"]
        self.database_refusals: Counter = made["tocsin_database_refusals_total"]
        self._fingerprints: set[str] = set()
        self._under_way: WeakSet[UnderWay] = WeakSet()
        if not _several_processes():
            self.in_flight.set_function(lambda: sum(one.now for one in list(self._under_way)))

    def under_way(self) -> UnderWay | Gauge:
        """What a layer counts its requests in flight by. A gauge costs more than all the rest of it, so it is asked
        only when it is scraped; between processes it can't be asked, and is written."""
        if _several_processes():
            return self.in_flight
        made = UnderWay()
        self._under_way.add(made)
        return made

    def fingerprint_label(self, fingerprint: str) -> str:
        """`fingerprint`, or `other` once there are MOST_FINGERPRINTS."""
        if fingerprint in self._fingerprints:
            return fingerprint
        if len(self._fingerprints) >= MOST_FINGERPRINTS:
            return OTHER
        self._fingerprints.add(fingerprint)
        return fingerprint


def measures_of(registry: CollectorRegistry | None = None) -> Measures:
    """The instruments of `registry`, made when they are first asked for."""
    registry = REGISTRY if registry is None else registry
    if registry not in _made:
        _made[registry] = Measures(registry)
    return _made[registry]


def method_label(method: str) -> str:
    """One of METHODS, or `other`: a client may send any word."""
    return method if method in METHODS else OTHER


def status_label(status: int) -> str:
    """The code; `other` for what is none."""
    return str(status) if 100 <= status <= 599 else OTHER


def _several_processes() -> bool:
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


def _instrument(metric: Metric, registry: CollectorRegistry):  # type: ignore[no-untyped-def]
    if metric.type is MetricType.HISTOGRAM:
        buckets = _FINE if metric.name.startswith("tocsin_database_") else BUCKETS
        return Histogram(metric.name, metric.help, metric.labels, buckets=buckets, registry=registry)
    if metric.type is MetricType.GAUGE:
        return Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode="livesum")
    return Counter(metric.name, metric.help, metric.labels, registry=registry)
