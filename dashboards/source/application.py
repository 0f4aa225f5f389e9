"""Application: what users of an application behind tocsin.asgi wait for, what fails, and what it turns away."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.panels import Choice, Query, board, chart, figure, listing

_JOB: Final = Choice(
    label="job",
    title="Application",
    metric='{__name__=~"tocsin_http_requests_in_flight|tocsin_sentry_events_total"}',
)
_of: Final = _JOB.of


def _increase(by: str, metric: str, *matchers: str, window: str = "5m") -> str:
    return f"sum by ({by}) (increase({_of(metric, *matchers)}[{window}]))"


def _quantile(quantile: float, by: str, metric: str = "tocsin_http_request_duration_seconds") -> str:
    return f"histogram_quantile({quantile:g}, sum by ({by}) (rate({_of(f'{metric}_bucket')}[5m])))"


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
            ("Saturation, limits and cache", _limits()),
            ("Database", _database()),
        ],
        choices=[_JOB],
    )


def _now() -> list[object]:
    requests, failed = _of("tocsin_http_requests_total"), _of("tocsin_http_requests_total", 'status=~"5.."')
    reported = _of("tocsin_sentry_events_total", 'level=~"fatal|error"')
    return [
        figure(
            "p95",
            "Of all routes, 5 minutes; of several applications the slowest. Above 2 s users feel it: see the routes.",
            Query(expr=f"max({_quantile(0.95, 'job, le')})"),
            unit="s",
            bad_above=2,
            runbook="ApplicationSlow",
        ),
        figure(
            "Requests failing",
            "Share answered with a 5xx. Above 5 % ApplicationErrors fires; which: the errors by category.",
            # Before the first 5xx there is no such series, and the share is 0 and not unknown.
            Query(expr=f"(sum(increase({failed}[5m])) or vector(0)) / sum(increase({requests}[5m]))"),
            unit="percentunit",
            bad_above=0.05,
            runbook="ApplicationErrors",
        ),
        figure(
            "Requests a second",
            "Sudden silence is a finding too: is the way to the application open?",
            Query(expr=f"sum(rate({requests}[5m]))"),
            unit="reqps",
        ),
        figure(
            "In flight",
            "Requests being answered. When it climbs while the rate does not, something further in is slow.",
            Query(expr=f"sum({_of('tocsin_http_requests_in_flight')})"),
        ),
        figure(
            "Waiting for a place",
            "Above 0 the concurrency limit is reached: ApplicationSaturated says what to do.",
            Query(expr=f"sum({_of('tocsin_http_requests_waiting')})"),
            bad_above=0,
            runbook="ApplicationSaturated",
        ),
        figure(
            "Errors from Sentry SDKs",
            "In 5 minutes, level error and fatal, of everything that reports here.",
            Query(expr=f"sum(increase({reported}[5m]))"),
            nothing="0",
            runbook="SentryErrors",
        ),
    ]


def _latency() -> list[object]:
    requests = _of("tocsin_http_requests_total")
    return [
        chart(
            "p95 by route",
            "The slowest on top: begin there, with the request log's slow lines of that route. A dot is a trace.",
            Query(expr=f"topk(8, {_quantile(0.95, 'route, le')})", legend="{{route}}", exemplars=True),
            unit="s",
            limit=2,
            runbook="ApplicationSlow",
        ),
        chart(
            "p50, p95 and p99 of all",
            "A p99 that climbs alone is a few slow requests (a lock, a cold cache); all together is saturation.",
            Query(expr=_quantile(0.5, "le"), legend="p50"),
            Query(expr=_quantile(0.95, "le"), legend="p95"),
            Query(expr=_quantile(0.99, "le"), legend="p99", exemplars=True),
            unit="s",
        ),
        chart(
            "Requests by route",
            "What users do. A new shape after a deployment is worth a look.",
            Query(expr=f"topk(8, sum by (route) (rate({requests}[5m])))", legend="{{route}}"),
            unit="reqps",
        ),
        chart(
            "Answers by status",
            "4xx are the callers' matter, unless they begin with a deployment.",
            Query(expr=f"sum by (status) (rate({requests}[5m]))", legend="{{status}}"),
            unit="reqps",
        ),
    ]


def _errors() -> list[object]:
    occurrences = _increase("fingerprint", "tocsin_http_error_occurrences_total")
    reported = _increase("job, type, where", "tocsin_sentry_error_occurrences_total", window="1h")
    return [
        chart(
            "Errors by category",
            "Whose matter it is: database and dependency lead to other runbooks, bug to the last deployment.",
            Query(expr=_increase("category", "tocsin_http_errors_total"), legend="{{category}}"),
            runbook="ApplicationErrorsOfCategory",
        ),
        chart(
            "Errors by fingerprint",
            "The most frequent ones. The request log has the stack: look for the fingerprint.",
            Query(expr=f"topk(8, {occurrences})", legend="{{fingerprint}}"),
            runbook="ApplicationNewError",
        ),
        chart(
            "Errors by category, from Sentry SDKs",
            "The same for applications in any language. A type that is known nowhere is a bug: see the key categories.",
            Query(expr=_increase("job, category", "tocsin_sentry_errors_total"), legend="{{job}} {{category}}"),
        ),
        listing(
            "From Sentry SDKs, in an hour",
            "By type and place, the most frequent ones.",
            Query(expr=f"topk(15, {reported} > 0)"),
            runbook="SentryNewError",
        ),
        chart(
            "Refused by access",
            "By reason. Many of one reason at once: an attack, or a key that was rotated.",
            Query(expr=_increase("reason", "tocsin_http_refusals_total"), legend="{{reason}}"),
        ),
    ]


def _limits() -> list[object]:
    answered = _increase("cached", "tocsin_http_cache_total", 'outcome=~"hit|stale|joined"')
    asked = _increase("cached", "tocsin_http_cache_total", 'outcome!="bypass"')
    return [
        chart(
            "In flight and waiting",
            "Waiting begins where the concurrency limit is reached; how long that has been coming, in flight shows.",
            Query(expr=f"sum by (job) ({_of('tocsin_http_requests_in_flight')})", legend="{{job}} in flight"),
            Query(expr=f"sum by (job) ({_of('tocsin_http_requests_waiting')})", legend="{{job}} waiting"),
            Query(expr=f"sum by (job) ({_of('tocsin_http_sockets_open')})", legend="{{job}} WebSockets"),
            runbook="ApplicationSaturated",
        ),
        chart(
            "Ended by a limit",
            "Body, time, concurrency. Time: an answer took too long; concurrency: more requests than places.",
            Query(expr=_increase("limit", "tocsin_http_limited_total"), legend="{{limit}}"),
            runbook="ApplicationSaturated",
        ),
        chart(
            "Cache",
            "Share of questions that it answers. Half of what it was: ApplicationCacheCollapsed.",
            # Before the first hit there is no such series: asked and not answered is 0, and not a gap.
            Query(expr=f"({answered} or 0 * {asked}) / {asked}", legend="{{cached}}"),
            unit="percentunit",
            runbook="ApplicationCacheCollapsed",
        ),
        chart(
            "Lost on the way out",
            "Spans, log records and Sentry events that did not arrive, and why. Many: ApplicationTelemetryLost.",
            Query(
                expr=_increase("signal, outcome", "tocsin_http_exports_total", 'outcome!="sent"'),
                legend="{{signal}} {{outcome}}",
            ),
            runbook="ApplicationTelemetryLost",
        ),
    ]


def _database() -> list[object]:
    in_use, limit = _of("tocsin_database_pool_in_use"), _of("tocsin_database_pool_limit")
    seconds = _of("tocsin_database_statement_seconds_sum")
    return [
        chart(
            "Connections in use",
            "Of those the pool may have. At 1 requests wait, and get 503: ApplicationDatabaseSaturated.",
            Query(expr=f"max by (job, instance, database) ({in_use} / {limit})", legend="{{job}} {{database}}"),
            unit="percentunit",
            limit=1,
            runbook="ApplicationDatabaseSaturated",
        ),
        chart(
            "Statements by route",
            "Seconds of statements a second: how many connections each route holds on average.",
            Query(expr=f"topk(8, sum by (route) (rate({seconds}[5m])))", legend="{{route}}"),
        ),
        chart(
            "Waiting for a connection, p95",
            "A wait is time in which the database does nothing for this request.",
            Query(expr=_quantile(0.95, "database, le", "tocsin_database_wait_seconds"), legend="{{database}}"),
            unit="s",
            runbook="ApplicationDatabaseSaturated",
        ),
        chart(
            "Slow statements",
            "Each is a line database.slow in the log, with the place in the code.",
            Query(expr=_increase("route", "tocsin_database_slow_statements_total"), legend="{{route}}"),
        ),
    ]
