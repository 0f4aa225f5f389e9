"""The metrics that are computed here rather than read from one statement's columns."""

from __future__ import annotations

from typing import Final

from tocsin.model import Metric, MetricType


def _gauge(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    return Metric(name=name, type=MetricType.GAUGE, help=text, labels=labels, unit=unit)


def _counter(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    return Metric(name=name, type=MetricType.COUNTER, help=text, labels=labels, unit=unit)


UP: Final = _gauge(
    "pg_up",
    "1 if the server serves clients (also when it is saturated, or refuses only our password); else 0: "
    "down, hanging, starting or shutting down.",
)
STATE: Final = _gauge(
    "tocsin_pg_state",
    "1 for the state that the server is in, 0 for the others: up, in_recovery, saturated, auth_failure, starting, "
    "shutting_down, hanging, down, unknown.",
    "state",
)
SCRAPE_ERROR: Final = _gauge("pg_exporter_last_scrape_error", "1 if any group of this poll could not be read.")
CONNECTED: Final = _gauge("tocsin_pg_connected", "1 if the monitoring connection is held and answered.")
RECONNECTS: Final = _counter("tocsin_pg_reconnects_total", "Times the monitoring connection was opened anew.")
POOLED: Final = _gauge("tocsin_pg_pooled", "1 if we reach the server through a pooler that refuses session settings.")
OWN_TIME: Final = _counter(
    "tocsin_pg_observer_seconds_total", "Time our own statements took, by group.", "group", unit="seconds"
)
OWN_CALLS: Final = _counter("tocsin_pg_observer_statements_total", "Our own statements, by group.", "group")
GROUP_AT: Final = _gauge(
    "tocsin_pg_group_last_success_timestamp_seconds",
    "When the group was read last, as a Unix time: the age of what is served from cache.",
    "group",
)
CAPABILITY: Final = _gauge(
    "tocsin_pg_capability", "1 if the role may see this, 0 if the collector is blind there (doctor says why).",
    "capability",
)  # fmt: skip

SLOW: Final = _counter(
    "tocsin_pg_slow_queries_total",
    "Queries longer than slow_query_seconds, each counted once. evidence: certain or possible; "
    "source: activity (seen running) or statements (proved by pg_stat_statements' moments).",
    "datname", "evidence", "source",
)  # fmt: skip
SLOW_FAILED: Final = _counter(
    "tocsin_pg_slow_queries_cancelled_total",
    "Slow queries that did not complete: cancelled (statement_timeout) or failed. Needs pg_stat_statements.",
    "datname",
)
SLOW_MAX: Final = _gauge(
    "tocsin_pg_slow_query_max_seconds",
    "The longest slow query known since the poll before (its age so far, or its proved lower bound); 0 for none.",
    "datname", unit="seconds",
)  # fmt: skip
SLOW_RUNNING: Final = _gauge(
    "tocsin_pg_slow_queries_running", "Queries that run now and are over slow_query_seconds.", "datname"
)
LONGEST: Final = _gauge(
    "tocsin_pg_longest_query_seconds", "Age of the longest query that runs now; 0 for none.", "datname", unit="seconds"
)
LOOKS: Final = _counter("tocsin_pg_activity_looks_total", "Looks at pg_stat_activity between and at polls.")

BLOCKED: Final = _gauge("tocsin_pg_blocked_sessions", "Sessions that wait for a lock somebody holds.", "datname")
BLOCKED_MAX: Final = _gauge(
    "tocsin_pg_blocked_max_seconds", "How long the one that waits longest has waited; 0 for none.", "datname",
    unit="seconds",
)  # fmt: skip
ROOT_VICTIMS: Final = _gauge(
    "tocsin_pg_blocking_root_victims",
    "Sessions that wait, directly or not, for this session, which waits for none; at most 10 roots, those whose "
    "victims have waited a second or more.",
    "datname", "pid", "usename", "application_name", "state",
)  # fmt: skip
ROOT_SECONDS: Final = _gauge(
    "tocsin_pg_blocking_root_wait_seconds", "How long the longest-waiting of its victims has waited.",
    "datname", "pid", "usename", "application_name", "state", unit="seconds",
)  # fmt: skip

_STATEMENT = ("user", "datname", "queryid")
PGSS_CALLS: Final = _counter(
    "pg_stat_statements_calls_total", "Executions. The costliest statements, the rest as queryid other.", *_STATEMENT
)
PGSS_SECONDS: Final = _counter("pg_stat_statements_seconds_total", "Time spent executing.", *_STATEMENT, unit="seconds")
PGSS_ROWS: Final = _counter("pg_stat_statements_rows_total", "Rows returned or changed.", *_STATEMENT)
PGSS_READ: Final = _counter(
    "pg_stat_statements_block_read_seconds_total", "Time spent reading blocks.", *_STATEMENT, unit="seconds"
)
PGSS_WRITE: Final = _counter(
    "pg_stat_statements_block_write_seconds_total", "Time spent writing blocks.", *_STATEMENT, unit="seconds"
)
PGSS_TRACKED: Final = _gauge("tocsin_pg_statements_tracked", "Rows in pg_stat_statements.")
PGSS_DEALLOC: Final = _counter(
    "tocsin_pg_statements_dealloc_total", "Times pg_stat_statements forgot its rarest rows (14 and later)."
)

SLOW_METRICS: Final = (SLOW, SLOW_MAX, SLOW_RUNNING, LONGEST, LOOKS)
BLOCKING_METRICS: Final = (BLOCKED, BLOCKED_MAX, ROOT_VICTIMS, ROOT_SECONDS)
STATEMENT_METRICS: Final = (
    PGSS_CALLS, PGSS_SECONDS, PGSS_ROWS, PGSS_READ, PGSS_WRITE, PGSS_TRACKED, PGSS_DEALLOC, SLOW_FAILED,
)  # fmt: skip
ALWAYS: Final = (UP, STATE, CONNECTED, RECONNECTS, SCRAPE_ERROR)
"""Yielded by every poll, also by one that finds no server."""

COMPUTED: Final = (
    *ALWAYS, POOLED, OWN_TIME, OWN_CALLS, GROUP_AT, CAPABILITY, *SLOW_METRICS, *BLOCKING_METRICS, *STATEMENT_METRICS,
)  # fmt: skip
