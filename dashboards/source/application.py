"""Application: what users of an application behind tocsin.asgi wait for, what fails, and what it turns away."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.panels import Query, board, chart, figure, listing


def dashboard() -> Dashboard:
    """The page for who is called for an application."""
    return board(
        "tocsin-application",
        "Tocsin / Application",
        "An application behind tocsin.asgi, and what Sentry SDKs report. From the promise (p95) to the cause.",
        [
            ("Now", _now()),
            ("Latency", _latency()),
            ("Errors", _errors()),
            ("Limits and cache", _limits()),
            ("Database", _database()),
        ],
    )


def _now() -> list[object]:
    return [
        figure(
            "p95",
            "Of all routes, 5 minutes. Above 2 s users feel it: see the slowest routes below.",
            Query(
                expr="max(histogram_quantile(0.95, sum by (job, le) ("
                "rate(tocsin_http_request_duration_seconds_bucket[5m]))))"
            ),
            unit="s",
            bad_above=2,
        ),
        figure(
            "Requests failing",
            "Share answered with a 5xx. Above 5 % ApplicationErrors fires; which: the errors by category.",
            Query(
                expr='sum(increase(tocsin_http_requests_total{status=~"5.."}[5m])) '
                "/ sum(increase(tocsin_http_requests_total[5m]))"
            ),
            unit="percentunit",
            bad_above=0.05,
        ),
        figure(
            "Requests a second",
            "Sudden silence is a finding too: is the way to the application open?",
            Query(expr="sum(rate(tocsin_http_requests_total[5m]))"),
            unit="reqps",
        ),
        figure(
            "In flight",
            "Requests being answered. When it climbs while the rate does not, something further in is slow.",
            Query(expr="sum(tocsin_http_requests_in_flight)"),
        ),
        figure(
            "Waiting for a place",
            "Above 0 the concurrency limit is reached: ApplicationSaturated says what to do.",
            Query(expr="sum(tocsin_http_requests_waiting)"),
            bad_above=0,
        ),
        figure(
            "Errors from Sentry SDKs",
            "In 5 minutes, level error and fatal, of everything that reports here.",
            Query(expr='sum(increase(tocsin_sentry_events_total{level=~"fatal|error"}[5m]))'),
        ),
    ]


def _latency() -> list[object]:
    return [
        chart(
            "p95 by route",
            "The slowest on top: begin there, with the request log's slow lines of that route.",
            Query(
                expr="topk(8, histogram_quantile(0.95, sum by (route, le) ("
                "rate(tocsin_http_request_duration_seconds_bucket[5m]))))",
                legend="{{route}}",
            ),
            unit="s",
        ),
        chart(
            "p50 and p99 of all",
            "A p99 that climbs alone is a few slow requests (a lock, a cold cache); both together is saturation.",
            Query(
                expr="histogram_quantile(0.5, sum by (le) (rate(tocsin_http_request_duration_seconds_bucket[5m])))",
                legend="p50",
            ),
            Query(
                expr="histogram_quantile(0.99, sum by (le) (rate(tocsin_http_request_duration_seconds_bucket[5m])))",
                legend="p99",
            ),
            unit="s",
        ),
        chart(
            "Requests by route",
            "What users do. A new shape after a deployment is worth a look.",
            Query(expr="topk(8, sum by (route) (rate(tocsin_http_requests_total[5m])))", legend="{{route}}"),
            unit="reqps",
        ),
        chart(
            "Answers by status",
            "4xx are the callers' matter, unless they begin with a deployment.",
            Query(expr="sum by (status) (rate(tocsin_http_requests_total[5m]))", legend="{{status}}"),
            unit="reqps",
        ),
    ]


def _errors() -> list[object]:
    return [
        chart(
            "Errors by category",
            "Whose matter it is: database and dependency lead to other runbooks, bug to the last deployment.",
            Query(expr="sum by (category) (increase(tocsin_http_errors_total[5m]))", legend="{{category}}"),
        ),
        chart(
            "Errors by fingerprint",
            "The most frequent ones. The request log has the stack: look for the fingerprint.",
            Query(
                expr="topk(8, sum by (fingerprint) (increase(tocsin_http_error_occurrences_total[5m])))",
                legend="{{fingerprint}}",
            ),
        ),
        chart(
            "Errors by category, from Sentry SDKs",
            "The same for applications in any language. A type that is known nowhere is a bug: see the key categories.",
            Query(
                expr="sum by (job, category) (increase(tocsin_sentry_errors_total[5m]))", legend="{{job}} {{category}}"
            ),
        ),
        listing(
            "From Sentry SDKs, in an hour",
            "By type and place, the most frequent ones.",
            Query(expr="topk(15, sum by (job, type, where) (increase(tocsin_sentry_error_occurrences_total[1h])) > 0)"),
        ),
        chart(
            "Refused by access",
            "By reason. Many of one reason at once: an attack, or a key that was rotated.",
            Query(expr="sum by (reason) (increase(tocsin_http_refusals_total[5m]))", legend="{{reason}}"),
        ),
    ]


def _limits() -> list[object]:
    return [
        chart(
            "Ended by a limit",
            "Body, time, concurrency. Time: an answer took too long; concurrency: more requests than places.",
            Query(expr="sum by (limit) (increase(tocsin_http_limited_total[5m]))", legend="{{limit}}"),
        ),
        chart(
            "Cache",
            "Share of questions that it answers. Half of what it was: ApplicationCacheCollapsed.",
            Query(
                expr='sum by (cached) (increase(tocsin_http_cache_total{outcome=~"hit|stale|joined"}[5m])) '
                '/ sum by (cached) (increase(tocsin_http_cache_total{outcome!="bypass"}[5m]))',
                legend="{{cached}}",
            ),
            unit="percentunit",
        ),
        chart(
            "Lost on the way out",
            "Spans, log records and Sentry events that did not arrive, and why. Many: ApplicationTelemetryLost.",
            Query(
                expr='sum by (signal, outcome) (increase(tocsin_http_exports_total{outcome!="sent"}[5m]))',
                legend="{{signal}} {{outcome}}",
            ),
        ),
    ]


def _database() -> list[object]:
    return [
        chart(
            "Connections in use",
            "Of those the pool may have. At 1 requests wait, and get 503: ApplicationDatabaseSaturated.",
            Query(
                expr="max by (job, instance, database) (tocsin_database_pool_in_use / tocsin_database_pool_limit)",
                legend="{{job}} {{database}}",
            ),
            unit="percentunit",
        ),
        chart(
            "Statements by route",
            "Seconds of statements a second: how many connections each route holds on average.",
            Query(expr="topk(8, sum by (route) (rate(tocsin_database_statement_seconds_sum[5m])))", legend="{{route}}"),
        ),
        chart(
            "Waiting for a connection, p95",
            "A wait is time in which the database does nothing for this request.",
            Query(
                expr="histogram_quantile(0.95, sum by (database, le) (rate(tocsin_database_wait_seconds_bucket[5m])))",
                legend="{{database}}",
            ),
            unit="s",
        ),
        chart(
            "Slow statements",
            "Each is a line database.slow in the log, with the place in the code.",
            Query(
                expr="sum by (route) (increase(tocsin_database_slow_statements_total[5m]))",
                legend="{{route}}",
            ),
        ),
    ]
