"""Auth: who gets in, who does not and why, who attacks, and what administrators did."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.panels import Query, board, chart, figure, listing


def dashboard() -> Dashboard:
    """What to open when an alert on sign-ins fires."""
    return board(
        "tocsin-auth",
        "Tocsin / Auth",
        "Sign-ins through Supabase Auth. Addresses, users and factors are hashes; the runbooks tell how to find them.",
        [
            ("Now", _now()),
            ("Signing in", _signing_in()),
            ("Attacks", _attacks()),
            ("Sessions and second factors", _sessions()),
            ("Who is signed in", _tables()),
            ("Accounts and administrators", _accounts()),
            ("The service and its log", _service()),
        ],
    )


def _now() -> list[object]:
    return [
        figure(
            "Sign-ins that succeed",
            "Of the last 10 minutes. Under a half, with many addresses failing, users can't get in.",
            Query(
                expr='sum(increase(tocsin_auth_sign_in_attempts_total{outcome="success"}[10m])) '
                "/ sum(increase(tocsin_auth_sign_in_attempts_total[10m]))"
            ),
            unit="percentunit",
        ),
        figure(
            "Addresses that fail",
            "Different ones in 30 minutes; compare with the same time yesterday below.",
            Query(expr='max(tocsin_auth_failing_ips{window="30m"})'),
        ),
        figure(
            "Users with a wrong password",
            "Different ones in 30 minutes; stays 0 without Auth's hook password_verification_attempt.",
            Query(expr='max(tocsin_auth_failing_users{window="30m"})'),
        ),
        figure(
            "Refused as too many",
            "429s in 10 minutes; 50 and more are told.",
            Query(expr="sum(increase(tocsin_auth_rate_limited_total[10m]))"),
            bad_above=50,
            nothing="0",
            runbook="AuthRateLimited",
        ),
        figure(
            "Changes by administrators",
            "In an hour, less those that are everyday work. Know of each.",
            Query(expr='sum(increase(tocsin_auth_admin_actions_total{quiet="no"}[1h]))'),
            nothing="0",
            runbook="AuthAdminAction",
        ),
        figure(
            "Log that can't be read",
            "While it is over 0, calm below means nothing.",
            Query(expr="sum(1 - tocsin_auth_log_up)"),
            bad_above=0,
            runbook="TocsinSourceBlind",
        ),
    ]


def _signing_in() -> list[object]:
    return [
        chart(
            "Sign-ins by outcome",
            "Per 5 minutes. failure: they were refused; error: Auth broke.",
            Query(expr="sum by (outcome) (increase(tocsin_auth_sign_in_attempts_total[5m]))", legend="{{outcome}}"),
        ),
        chart(
            "Sign-ins by method",
            "Those that succeeded, per 5 minutes. One method that ends while others go on is that provider's outage.",
            Query(
                expr='sum by (method) (increase(tocsin_auth_sign_in_attempts_total{outcome="success"}[5m]))',
                legend="{{method}}",
            ),
        ),
        chart(
            "Why they fail",
            "Refused credentials by error code, per 5 minutes.",
            Query(
                expr="sum by (flow, reason) (increase(tocsin_auth_refusals_total[5m]))", legend="{{flow}} {{reason}}"
            ),
        ),
        chart(
            "Failures beside the days before",
            "Per 30 minutes. Five times the usual from many addresses is an attack.",
            Query(expr='sum(increase(tocsin_auth_refusals_total{flow="sign_in"}[30m]))', legend="now"),
            Query(expr='sum(increase(tocsin_auth_refusals_total{flow="sign_in"}[30m] offset 1d))', legend="a day ago"),
            Query(expr='sum(increase(tocsin_auth_refusals_total{flow="sign_in"}[30m] offset 7d))', legend="a week ago"),
        ),
    ]


def _attacks() -> list[object]:
    return [
        chart(
            "Failures by address",
            "The ten busiest, per 10 minutes; an office has more sign-ins than failures, an attacker has not.",
            Query(
                expr="topk(10, sum by (ip) (increase("
                'tocsin_auth_failures_total{flow=~"sign_in|otp", ip!="other"}[10m])))',
                legend="{{ip}}",
            ),
        ),
        chart(
            "Sign-ins from addresses that fail",
            "Per 10 minutes. After a burst of failures from the same address, one is a stolen account.",
            Query(expr="topk(10, sum by (ip) (increase(tocsin_auth_address_sign_ins_total[10m])))", legend="{{ip}}"),
        ),
        listing(
            "Users that one address fails for",
            "In an hour, estimated. Many with one or two tries each are a stolen list, a few tries each a spray.",
            Query(expr='topk(20, tocsin_auth_address_failing_users{window="1h"})'),
        ),
        listing(
            "Addresses that fail for one user",
            "In an hour, estimated. A person has two or three.",
            Query(expr='topk(20, tocsin_auth_user_failing_ips{window="1h"})'),
        ),
        chart(
            "How many fail",
            "Different addresses and users in sliding windows, estimated.",
            Query(expr="max by (window) (tocsin_auth_failing_ips)", legend="addresses, {{window}}"),
            Query(expr="max by (window) (tocsin_auth_failing_users)", legend="users, {{window}}"),
        ),
        chart(
            "Wrong passwords by user",
            "The ten most, per 30 minutes; empty without the hook.",
            Query(
                expr='topk(10, sum by (user) (increase(tocsin_auth_user_failures_total{user!="other"}[30m])))',
                legend="{{user}}",
            ),
        ),
    ]


def _sessions() -> list[object]:
    return [
        chart(
            "Token refreshes",
            "Per 5 minutes. When more than one in twenty fails, users are signed out in the middle of their work.",
            Query(expr="sum by (outcome) (increase(tocsin_auth_refreshes_total[5m]))", legend="{{outcome}}"),
        ),
        chart(
            "Refresh tokens shown twice",
            "By address, per 10 minutes: two tabs, or a stolen session.",
            Query(
                expr="topk(10, sum by (ip) (increase("
                'tocsin_auth_failures_total{flow="refresh", reason="refresh_token_already_used"}[10m])))',
                legend="{{ip}}",
            ),
        ),
        chart(
            "Second factors",
            "Verifications per 5 minutes.",
            Query(expr="sum by (outcome) (increase(tocsin_auth_mfa_verifications_total[5m]))", legend="{{outcome}}"),
        ),
        chart(
            "Wrong second factors by factor",
            "Per 10 minutes: whoever guesses one has the right password already.",
            Query(
                expr="topk(10, sum by (factor) (increase(tocsin_auth_mfa_failures_total[10m])))", legend="{{factor}}"
            ),
        ),
    ]


def _tables() -> list[object]:
    """From Auth's tables: empty without `source: {sql: …}`."""
    return [
        chart(
            "Sessions",
            "That have not ended, by assurance level, and those that were used within the hour. From Auth's tables.",
            Query(expr="sum by (aal) (tocsin_auth_sessions)", legend="{{aal}}"),
            Query(expr="sum(tocsin_auth_sessions_active)", legend="used within the hour"),
            Query(expr="sum(tocsin_auth_sessions_third_party)", legend="of others' applications"),
        ),
        chart(
            "Sessions that go on elsewhere",
            "Per 15 minutes. address: they roam; agent: an update or a web view; both: somebody else, perhaps.",
            Query(expr="sum by (changed) (increase(tocsin_auth_session_changes_total[15m]))", legend="{{changed}}"),
        ),
        listing(
            "Whose session moved",
            "In an hour, by user: another address and another client at once.",
            Query(expr="sum by (job, user) (increase(tocsin_auth_session_moves_total[1h])) > 0"),
        ),
        chart(
            "Users with a second factor",
            "Verified, and enrolments that were never finished.",
            Query(expr="sum(tocsin_auth_users_with_mfa)", legend="users"),
            Query(expr='sum(tocsin_auth_mfa_factors{status="unverified"})', legend="unfinished"),
            Query(expr="sum(1 - tocsin_auth_admin_has_mfa)", legend="administrators without"),
        ),
        chart(
            "Users by state",
            "Of all that Auth knows.",
            Query(expr="sum by (state) (tocsin_auth_users)", legend="{{state}}"),
        ),
        chart(
            "Refresh tokens in an hour",
            "issued and revoked go together; revoked alone are sign-outs, or families ended because one was reused.",
            Query(expr="sum by (event) (tocsin_auth_refresh_tokens)", legend="{{event}}"),
        ),
    ]


def _accounts() -> list[object]:
    return [
        chart(
            "Sign-ups",
            "Requests per hour, by outcome.",
            Query(expr="sum by (outcome) (increase(tocsin_auth_sign_ups_total[1h]))", legend="{{outcome}}"),
        ),
        chart(
            "Hooks",
            "Per hour. denied: the hook said no; failed: it broke, and nobody gets through.",
            Query(expr="sum by (hook, kind) (increase(tocsin_auth_hook_errors_total[1h]))", legend="{{hook}} {{kind}}"),
        ),
        chart(
            "Changes by administrators",
            "Per hour; quiet ones are named in quiet_admin_actions.",
            Query(
                expr="sum by (action, quiet) (increase(tocsin_auth_admin_actions_total[1h]))",
                legend="{{action}}, quiet: {{quiet}}",
            ),
        ),
        listing(
            "How Auth is set up",
            "1 where on. A change that nobody made is an incident.",
            Query(expr="tocsin_auth_posture"),
        ),
    ]


def _service() -> list[object]:
    return [
        chart(
            "Answers by status",
            "Per second. 5xx burn the error budget.",
            Query(expr="sum by (code) (rate(tocsin_auth_requests_total[5m]))", legend="{{code}}"),
            unit="reqps",
        ),
        chart(
            "How long it takes, p95",
            "By route, as Auth logged it. Passwords are slow to check by intent: about 0.1 s.",
            Query(
                expr="histogram_quantile(0.95, sum by (route, le) ("
                "rate(tocsin_auth_request_duration_seconds_bucket[5m])))",
                legend="{{route}}",
            ),
            unit="s",
        ),
        chart(
            "429s and captchas",
            "Per 10 minutes.",
            Query(expr="sum by (error_code) (increase(tocsin_auth_rate_limited_total[10m]))", legend="{{error_code}}"),
            Query(
                expr='sum(increase(tocsin_auth_errors_total{error_code="captcha_failed"}[10m]))',
                legend="captcha_failed",
            ),
        ),
        chart(
            "Lines of the log",
            "Per minute, by what they are. broken and oversize should be 0.",
            Query(expr="sum by (outcome) (increase(tocsin_auth_log_lines_total[1m]))", legend="{{outcome}}"),
            Query(
                expr="sum(increase(tocsin_auth_log_backfilled_total[1m]))", legend="fetched, for the drain missed them"
            ),
        ),
    ]
