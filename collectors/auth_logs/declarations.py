"""What the auth_logs collector yields."""

from __future__ import annotations

from typing import Final

from tocsin.model import Metric, MetricType


def _counter(name: str, help_: str, *labels: str) -> Metric:
    return Metric(name=name, type=MetricType.COUNTER, help=help_, labels=labels)


def _gauge(name: str, help_: str, *labels: str, unit: str = "") -> Metric:
    return Metric(name=name, type=MetricType.GAUGE, help=help_, labels=labels, unit=unit)


SIGN_INS: Final = _counter(
    "tocsin_auth_sign_in_attempts_total",
    "Sign-in attempts by outcome (success, failure, error: 5xx) and method; refreshes, second factors are none.",
    "outcome",
    "method",
)
FAILURES: Final = _counter(
    "tocsin_auth_failures_total",
    "Failed authentications by flow (sign_in, otp, mfa, refresh), error code and hashed address (other: the rest).",
    "flow",
    "reason",
    "ip",
)
REFUSALS: Final = _counter(
    "tocsin_auth_refusals_total",
    "Failed authentications by flow, error code and provider (password, otp, pkce, oidc, web3, mfa, refresh).",
    "flow",
    "reason",
    "provider",
)
USER_FAILURES: Final = _counter(
    "tocsin_auth_user_failures_total", "Wrong passwords by hashed user, as Auth's hook tells (other: the rest).", "user"
)
ADDRESS_SIGN_INS: Final = _counter(
    "tocsin_auth_address_sign_ins_total", "Sign-ins from addresses that failed too and have a series for it.", "ip"
)
ADDRESS_USERS: Final = _gauge(
    "tocsin_auth_address_failing_users",
    "Different users that an address had a wrong password for in a window (15m, 30m, 1h), two and more; estimated.",
    "ip",
    "window",
)
USER_IPS: Final = _gauge(
    "tocsin_auth_user_failing_ips",
    "Different addresses that had a wrong password for a user in a window (15m, 30m, 1h), two and more; estimated.",
    "user",
    "window",
)
FAILING_IPS: Final = _gauge(
    "tocsin_auth_failing_ips", "Different addresses that failed to sign in, in a window; estimated.", "window"
)
FAILING_USERS: Final = _gauge(
    "tocsin_auth_failing_users", "Different users with a wrong password in a window, as the hook tells.", "window"
)
MFA: Final = _counter("tocsin_auth_mfa_verifications_total", "Second-factor verifications by outcome.", "outcome")
MFA_FAILURES: Final = _counter(
    "tocsin_auth_mfa_failures_total", "Failed second-factor verifications by hashed factor.", "factor"
)
REFRESHES: Final = _counter("tocsin_auth_refreshes_total", "Token refreshes by outcome.", "outcome")
SIGN_UPS: Final = _counter("tocsin_auth_sign_ups_total", "Sign-up requests by outcome.", "outcome")
HOOK_ERRORS: Final = _counter(
    "tocsin_auth_hook_errors_total", "Auth hooks that denied a request, or failed (kind).", "hook", "kind"
)
ADMIN_ACTIONS: Final = _counter(
    "tocsin_auth_admin_actions_total",
    "Successful changes through the admin API; quiet: yes for those of quiet_admin_actions.",
    "action",
    "quiet",
)
AUDIT_EVENTS: Final = _counter(
    "tocsin_auth_audit_events_total", "Audit events by action and actor (user, service_role).", "action", "actor"
)
RATE_LIMITED: Final = _counter(
    "tocsin_auth_rate_limited_total", "Requests that Auth refused with status 429.", "error_code"
)
ERRORS: Final = _counter("tocsin_auth_errors_total", "Answers that carried an error code.", "error_code")
REQUESTS: Final = _counter("tocsin_auth_requests_total", "Requests to Auth by route and HTTP status.", "route", "code")
DURATION: Final = Metric(
    name="tocsin_auth_request_duration_seconds",
    type=MetricType.HISTOGRAM,
    help="How long Auth took to answer, as it logged it.",
    labels=("route",),
    unit="seconds",
)
LINES: Final = _counter(
    "tocsin_auth_log_lines_total",
    "Lines read by outcome: request, login, audit, hook, attempt, ignored, broken, oversize.",
    "outcome",
)
GAPS: Final = _counter("tocsin_auth_log_gaps_total", "Times that unread lines of the log were lost.")
BACKFILLED: Final = _counter(
    "tocsin_auth_log_backfilled_total", "Lines that the drain missed, and that were fetched from the Management API."
)
UP: Final = _gauge("tocsin_auth_log_up", "1 while the log can be read.")
UNREAD: Final = _gauge("tocsin_auth_log_unread_bytes", "Bytes of the log that are not read yet.", unit="bytes")
LAST_EVENT: Final = _gauge(
    "tocsin_auth_log_last_event_timestamp_seconds", "The time that the newest line of the log bears.", unit="seconds"
)
POSTURE: Final = Metric(
    name="tocsin_auth_posture",
    type=MetricType.GAUGE,
    help="Switches of Auth's own settings, 1 where on: mailer_autoconfirm, disable_signup, external_google, ….",
    labels=("setting",),
)
KEPT: Final = _gauge("tocsin_auth_events_kept_bytes", "Size of the events that are kept in clear.", "bytes")

SESSIONS: Final = _gauge(
    "tocsin_auth_sessions", "Sessions that have not ended, by assurance level (aal1, aal2).", "aal"
)
SESSIONS_ACTIVE: Final = _gauge("tocsin_auth_sessions_active", "Sessions that began or were refreshed within the hour.")
SESSIONS_THIRD_PARTY: Final = _gauge(
    "tocsin_auth_sessions_third_party", "Sessions that an application of somebody else holds, through OAuth."
)
SESSION_CHANGES: Final = _counter(
    "tocsin_auth_session_changes_total",
    "Sessions that went on from another address, with another kind of client (agent), or both at once.",
    "changed",
)
SESSION_MOVES: Final = _counter(
    "tocsin_auth_session_moves_total",
    "Sessions that went on from another address with another kind of client, by hashed user (other: the rest).",
    "user",
)
TOKENS: Final = _gauge(
    "tocsin_auth_refresh_tokens", "Refresh tokens that were issued, and revoked, within the hour.", "event"
)
FACTORS: Final = _gauge(
    "tocsin_auth_mfa_factors", "Second factors by status (verified, unverified) and type.", "status", "type"
)
USERS_WITH_FACTOR: Final = _gauge("tocsin_auth_users_with_mfa", "Users with a verified second factor.")
CHALLENGES: Final = _gauge(
    "tocsin_auth_mfa_challenges", "Second factors that were asked for within the hour: open, verified.", "state"
)
USERS: Final = _gauge(
    "tocsin_auth_users", "Users by state: confirmed, unconfirmed, anonymous, banned, deleted (each in one).", "state"
)
USERS_CREATED: Final = _gauge("tocsin_auth_users_created", "Users that came to be in a window (1h, 1d).", "window")
USERS_SIGNED_IN: Final = _gauge(
    "tocsin_auth_users_signed_in", "Users whose last sign-in was in a window (1h, 1d).", "window"
)
IDENTITIES: Final = _gauge("tocsin_auth_identities", "Identities by provider (other: the rest).", "provider")
ONE_TIME_TOKENS: Final = _gauge("tocsin_auth_one_time_tokens", "Codes by mail or SMS that were not used yet.", "type")
ADMIN_FACTOR: Final = _gauge(
    "tocsin_auth_admin_has_mfa", "1 for each of `admins` with a verified second factor, else 0.", "user"
)
TABLE_ROWS: Final = _gauge("tocsin_auth_table_rows", "Rows of Auth's tables, as Postgres estimates them.", "table")

TABLES: Final = (
    SESSIONS,
    SESSIONS_ACTIVE,
    SESSIONS_THIRD_PARTY,
    SESSION_CHANGES,
    SESSION_MOVES,
    TOKENS,
    FACTORS,
    USERS_WITH_FACTOR,
    CHALLENGES,
    USERS,
    USERS_CREATED,
    USERS_SIGNED_IN,
    IDENTITIES,
    ONE_TIME_TOKENS,
    ADMIN_FACTOR,
    TABLE_ROWS,
)
"""Of source.sql.tables."""

METRICS: Final = (
    SIGN_INS,
    FAILURES,
    REFUSALS,
    USER_FAILURES,
    ADDRESS_SIGN_INS,
    ADDRESS_USERS,
    USER_IPS,
    FAILING_IPS,
    FAILING_USERS,
    MFA,
    MFA_FAILURES,
    REFRESHES,
    SIGN_UPS,
    HOOK_ERRORS,
    ADMIN_ACTIONS,
    AUDIT_EVENTS,
    RATE_LIMITED,
    ERRORS,
    REQUESTS,
    DURATION,
    LINES,
    GAPS,
    BACKFILLED,
    UP,
    UNREAD,
    LAST_EVENT,
    POSTURE,
    KEPT,
    *TABLES,
)
