"""What a watched system shows of what the shipped rules and dashboards ask for, and what one without trouble can't.

Series of collectors that the demo is not configured with are out of its sight, as each one's declaration says. Beside
them `OUT_OF_SIGHT` is short on purpose: a series that is asked for and that the demo does not show is either here, with
the reason and the file that yields it or sees it yielded, or nobody yields it as it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.content.declared import ANYWHERE, Declared
from tocsin.cli.inspection.content import with_variables
from tocsin.promql import Plan, compile_expr
from tocsin.rules import Group
from tocsin.runtime import plugins
from tocsin.testing.demo.settings import Addresses, configuration


@dataclass(frozen=True, kw_only=True)
class Absent:
    """Series that the demo does not show."""

    why: str
    where: str
    """A file that names them all: the test that sees them, or what yields them."""
    names: tuple[str, ...]


_AUTH: Final = "collectors/auth_logs/declarations.py"
_OURSELVES: Final = "tocsin/telemetry/instruments.py"
OUT_OF_SIGHT: Final = (
    Absent(
        why="needs a replica", where="tests/collectors/postgres/test_postgres_yields_what_it_declares.py",
        names=("pg_replication_lag_seconds", "pg_stat_replication_pg_wal_lsn_diff"),
    ),
    Absent(
        why="is told by a replica", where="collectors/postgres/groups/replication.sql",
        names=("tocsin_pg_wal_receiver_up",),
    ),
    Absent(
        why="needs a replication slot", where="collectors/postgres/groups/slots.sql",
        names=(
            "pg_replication_slots_active", "tocsin_pg_replication_slot_lost", "tocsin_pg_replication_slot_unreserved",
        ),
    ),
    Absent(
        why="the demo's role may not read sequences", where="collectors/postgres/groups/sequences.sql",
        names=("tocsin_pg_sequence_used_ratio",),
    ),
    Absent(
        why="needs sessions that block others", where="collectors/postgres/declared.py",
        names=("tocsin_pg_blocking_root_victims", "tocsin_pg_blocking_root_wait_seconds"),
    ),
    Absent(
        why="needs Auth's tables (`source: {sql: …}`) or its settings; the demo reads the log", where=_AUTH,
        names=(
            "tocsin_auth_admin_has_mfa", "tocsin_auth_mfa_factors", "tocsin_auth_posture", "tocsin_auth_refresh_tokens",
            "tocsin_auth_session_changes_total", "tocsin_auth_session_moves_total", "tocsin_auth_sessions",
            "tocsin_auth_sessions_active", "tocsin_auth_sessions_third_party", "tocsin_auth_users",
            "tocsin_auth_users_with_mfa",
        ),
    ),
    Absent(
        why="needs an attack, an administrator at work, a refusing hook or a gap in the log", where=_AUTH,
        names=(
            "tocsin_auth_address_failing_users", "tocsin_auth_admin_actions_total", "tocsin_auth_hook_errors_total",
            "tocsin_auth_log_backfilled_total", "tocsin_auth_mfa_failures_total", "tocsin_auth_rate_limited_total",
            "tocsin_auth_user_failing_ips", "tocsin_auth_user_failures_total",
        ),
    ),
    Absent(
        why="needs https", where="tests/collectors/endpoint/test_endpoint_tls.py",
        names=("tocsin_endpoint_certificate_expiry_timestamp_seconds",),
    ),
    Absent(
        why="needs an endpoint that fails, or retries", where="tests/collectors/endpoint/test_endpoint_collect.py",
        names=("tocsin_endpoint_failure", "tocsin_endpoint_probe_tries"),
    ),
    Absent(
        why="needs a journey", where="tests/collectors/endpoint/test_endpoint_journey.py",
        names=("tocsin_endpoint_cleanup_failure", "tocsin_endpoint_step_failure", "tocsin_endpoint_step_seconds"),
    ),
    Absent(
        why="needs a pool without a free connection", where="tocsin/asgi/measures.py",
        names=("tocsin_database_refusals_total",),
    ),
    Absent(
        why="needs a cache; the example has none", where="tocsin/asgi/measures.py", names=("tocsin_http_cache_total",)
    ),
    Absent(
        why="needs WebSockets; the example has none", where="tests/asgi/test_sockets_limited.py",
        names=("tocsin_http_sockets_open",),
    ),
    Absent(
        why="needs a collector of traces, logs or errors", where="tests/asgi/test_exports.py",
        names=("tocsin_http_exports_total",),
    ),
    Absent(
        why="needs a remote engine or a remote write", where=_OURSELVES,
        names=(
            "tocsin_engine_up", "tocsin_remote_write_dropped_samples_total", "tocsin_remote_write_lag_seconds",
        ),
    ),
    Absent(
        why="there while a message waits", where=_OURSELVES,
        names=("tocsin_outbox_oldest_seconds", "tocsin_outbox_pending"),
    ),
    Absent(
        why="needs somebody who took an incident, and one that ended more than five minutes ago", where=_OURSELVES,
        names=("tocsin_response_acknowledge_seconds", "tocsin_response_resolve_seconds"),
    ),
)  # fmt: skip
EMPTY: Final = {
    ("auth", "429s and captchas"): "needs a captcha that failed",
    ("auth", "Failures beside the days before"): "there is no yesterday yet",
    ("auth", "Refresh tokens shown twice"): "needs a token that is used twice",
    ("overview", "What fires"): "nothing, most of the time",
    ("response", "Precision"): "needs a page that ended",
    ("response", "Flap rate"): "counted every five minutes",
    ("response", "Alerts for each first message"): "counted every five minutes",
    ("response", "Decision to receipt, p99"): "counted every five minutes",
    ("response", "Incidents by severity"): "counted every five minutes",
    ("response", "Silence debt"): "counted every five minutes",
}
"""Panels (dashboard, title) whose series are all there, and of which none may match now."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A panel's query, with every choice at All."""

    board: str
    title: str
    query: str
    plan: Plan

    @property
    def may_be_empty(self) -> bool:
        """By one of the two lists."""
        return (self.board, self.title) in EMPTY or not set(self.plan.reads or ()).isdisjoint(out_of_sight())


def absent_names() -> set[str]:
    """All that is listed."""
    return {name for absent in OUT_OF_SIGHT for name in absent.names}


@cache
def out_of_sight() -> frozenset[str]:
    """All that the demo can't show."""
    nowhere = Addresses(app="", slack="", auth_log=Path(), user_token=Path(), rules=Path())
    watching = {one["kind"] for one in configuration(nowhere)["collectors"]}
    yielded: dict[bool, set[str]] = {True: set(), False: set()}
    for kind, spec in plugins.collectors().load_all().items():
        yielded[kind in watching] |= {name for metric in spec.metrics for name in metric.series_names()}
    return frozenset(absent_names() | (yielded[False] - yielded[True]))


def queries(root: Path) -> Iterator[Asked]:
    """Of every panel of every dashboard."""
    for path in sorted((root / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"]
                for variable in board["templating"]["list"]:
                    query = query.replace(f"${variable['name']}", variable.get("allValue") or "")
                query = with_variables(query)
                yield Asked(board=path.stem, title=panel["title"], query=query, plan=compile_expr(query))


def read_by(groups: Iterable[Group], asked: Iterable[Asked]) -> set[str]:
    """Every metric's name that a rule or a panel reads, recorded ones apart."""
    plans = [rule.plan for group in groups for rule in group.rules] + [one.plan for one in asked]
    recorded = {rule.name for group in groups for rule in group.rules}
    return {name for plan in plans for name in plan.reads or ()} - recorded


def borne_beyond(declared: Declared, series: Iterable[dict[str, Any]]) -> set[str]:
    """`label of metric` that a series bears and its declaration does not tell: what the static tests go by is wrong."""
    return {
        f"{label} of {one['__name__']}"
        for one in series
        if (known := declared.labels.get(one["__name__"])) is not None
        for label in set(one) - known - ANYWHERE
    }
