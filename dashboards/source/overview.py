"""Overview: is everything well, is anyone being told, and does Tocsin see what it should?"""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.panels import Query, board, chart, figure, listing


def dashboard() -> Dashboard:
    """The first page of an on-call shift."""
    return board(
        "tocsin-overview",
        "Tocsin / Overview",
        "Open incidents, what is watched, and how fast and how reliably people are told.",
        [
            ("Now", _now()),
            ("Endpoints", _endpoints()),
            ("Postgres", _postgres()),
            ("Sign-ins", _sign_ins()),
            ("Tocsin itself", _itself()),
        ],
    )


def _now() -> list[object]:
    return [
        figure(
            "P0 and P1 incidents open",
            "Somebody should be working on these.",
            Query(expr='sum(tocsin_incidents_open{severity=~"P0|P1"})'),
            bad_above=0,
        ),
        figure(
            "Alerts firing",
            "All severities.",
            Query(expr='sum(tocsin_alerts{state="firing"})'),
        ),
        figure(
            "Alerts frozen",
            "Their input is unknown: see which source is blind.",
            Query(expr="sum(tocsin_alerts_frozen)"),
            bad_above=0,
        ),
        figure(
            "Sources blind",
            "Collectors that can't see all they should.",
            Query(expr="sum(tocsin_collector_up == bool 0)"),
            bad_above=0,
            runbook="TocsinSourceBlind",
        ),
        figure(
            "Messages waiting",
            "In the outbox, not yet taken by their destination.",
            Query(expr="sum(tocsin_outbox_pending)"),
            bad_above=10,
            nothing="0",
            runbook="TocsinDeliveryLate",
        ),
        figure(
            "Poll to acknowledgement, p99",
            "From the poll that saw it to Slack's answer, P0 and P1, over a day.",
            Query(
                expr="histogram_quantile(0.99, sum by (le) (increase("
                'tocsin_stage_duration_seconds_bucket{stage="acknowledged", severity=~"P0|P1"}[1d])))'
            ),
            unit="s",
            bad_above=20,
        ),
        listing(
            "What fires",
            "Every active alert, as the rules see it.",
            Query(expr='ALERTS{alertstate="firing"}'),
            width=24,
        ),
    ]


def _endpoints() -> list[object]:
    return [
        chart(
            "Up",
            "0: an expectation was not met.",
            Query(expr="min by (instance) (tocsin_endpoint_up)", legend="{{instance}}"),
            runbook="EndpointDown",
        ),
        chart(
            "Latency, p95 of 5 minutes",
            "By endpoint; the alert's limit is 2 s.",
            Query(
                expr="histogram_quantile(0.95, sum by (instance, le) ("
                "rate(tocsin_endpoint_duration_seconds_bucket[5m])))",
                legend="{{instance}}",
            ),
            unit="s",
            limit=2,
            runbook="EndpointSlow",
        ),
        chart(
            "Where the time goes",
            "Phases of the last probe; first_byte is the application, the rest the way to it.",
            Query(expr="max by (instance, phase) (tocsin_endpoint_phase_seconds)", legend="{{instance}} {{phase}}"),
            unit="s",
            width=24,
        ),
    ]


def _postgres() -> list[object]:
    return [
        chart(
            "Connections by state",
            "Idle in transaction holds locks and keeps vacuum from its work.",
            Query(expr="sum by (job, state) (pg_stat_activity_count)", legend="{{job}} {{state}}"),
        ),
        chart(
            "Share of connections used",
            "Over 90 % new ones are about to be refused.",
            Query(
                expr="sum by (job) (pg_stat_activity_count) / max by (job) (pg_settings_max_connections)",
                legend="{{job}}",
            ),
            unit="percentunit",
            limit=0.9,
            runbook="PostgresConnections",
        ),
        chart(
            "Transactions per second",
            "Commits and rollbacks; many rollbacks are errors of the application.",
            Query(expr="sum by (job) (rate(pg_stat_database_xact_commit[5m]))", legend="{{job}} commit"),
            Query(expr="sum by (job) (rate(pg_stat_database_xact_rollback[5m]))", legend="{{job}} rollback"),
            unit="ops",
        ),
        chart(
            "Statements over 1 s",
            "Per minute.",
            Query(
                expr="sum by (job, datname) (increase(tocsin_pg_slow_queries_total[1m]))", legend="{{job}} {{datname}}"
            ),
        ),
    ]


def _sign_ins() -> list[object]:
    return [
        chart(
            "Sign-ins per minute",
            "By outcome.",
            Query(expr="sum by (outcome) (increase(tocsin_auth_sign_in_attempts_total[1m]))", legend="{{outcome}}"),
        ),
        chart(
            "Why they fail",
            "Error codes of failed authentications, per 5 minutes.",
            Query(
                expr="sum by (flow, reason) (increase(tocsin_auth_refusals_total[5m]))", legend="{{flow}} {{reason}}"
            ),
        ),
    ]


def _itself() -> list[object]:
    return [
        chart(
            "Polls by outcome",
            "Per second; anything but ok deserves a look.",
            Query(
                expr="sum by (collector, outcome) (rate(tocsin_polls_total[5m]))", legend="{{collector}} {{outcome}}"
            ),
            unit="ops",
        ),
        chart(
            "Deliveries by outcome",
            "Per hour and notifier.",
            Query(
                expr="sum by (notifier, outcome) (increase(tocsin_deliveries_total[1h]))",
                legend="{{notifier}} {{outcome}}",
            ),
        ),
        chart(
            "Series",
            "Near the limit new ones are refused.",
            Query(expr="tocsin_series", legend="series"),
        ),
        chart(
            "Memory",
            "Of the daemon: resident.",
            Query(expr='process_resident_memory_bytes{job="tocsin"}', legend="resident"),
            unit="bytes",
            width=6,
        ),
        chart(
            "Processor",
            "Of the daemon: share of one core.",
            Query(expr='rate(process_cpu_seconds_total{job="tocsin"}[5m])', legend="of a core"),
            unit="percentunit",
            width=6,
        ),
    ]
