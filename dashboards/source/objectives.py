"""Objectives: is what was promised of each endpoint kept, and how fast does its error budget burn?"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.panels import Query, board, chart, figure, listing

_ON: Final = "on (job, instance, service)"


def _burn(window: str) -> str:
    """How many times too fast the budget burns over `window`; 1 is just what the objective allows."""
    failed = f'sum by (job, instance, service) (increase(tocsin_endpoint_probes_total{{outcome="failure"}}[{window}]))'
    probed = f"sum by (job, instance, service) (increase(tocsin_endpoint_probes_total[{window}]))"
    return f"({failed} / {probed}) / {_ON} (1 - tocsin_endpoint_slo_ratio)"


def dashboard() -> Dashboard:
    """The page for who has promised something."""
    return board(
        "tocsin-objectives",
        "Tocsin / Objectives",
        "Uptime of every endpoint over 30 days, and the error budgets of those with an objective (`slo`).",
        [("Now", _now()), ("Budgets", _budgets()), ("Uptime", _uptime()), ("Journeys and tries", _journeys())],
    )


def _now() -> list[object]:
    return [
        figure(
            "Endpoints down",
            "Now. EndpointDown has fired or is about to.",
            Query(expr="count(tocsin_endpoint_up == 0)"),
            bad_above=0,
        ),
        figure(
            "Lowest uptime, 30 days",
            "Of all endpoints. The table below says which.",
            Query(expr='min(tocsin_endpoint_uptime_ratio{window="30d"})'),
            unit="percentunit",
        ),
        figure(
            "Below their objective, 30 days",
            "Endpoints whose promise of the month is broken already.",
            Query(
                expr=f'count(max by (job, instance, service) (tocsin_endpoint_uptime_ratio{{window="30d"}}) '
                f"< {_ON} tocsin_endpoint_slo_ratio)"
            ),
            bad_above=0,
        ),
        figure(
            "Fastest burn, 1 h",
            "Times too fast. From 14.4 EndpointBudgetBurns fires.",
            Query(expr=f"max({_burn('1h')})"),
            bad_above=14.4,
        ),
    ]


def _budgets() -> list[object]:
    return [
        chart(
            "Budget left, 30 days",
            "1 is untouched, 0 is spent, below 0 the promise is broken. A step is an outage, a slope an illness.",
            Query(
                expr=f'1 - (1 - max by (job, instance, service) (tocsin_endpoint_uptime_ratio{{window="30d"}})) '
                f"/ {_ON} (1 - tocsin_endpoint_slo_ratio)",
                legend="{{instance}}",
            ),
            unit="percentunit",
        ),
        chart(
            "Burn rate, 1 h",
            "At 1 the budget lasts just the month. 14.4 for an hour is 2 % of it.",
            Query(expr=_burn("1h"), legend="{{instance}}"),
        ),
    ]


def _uptime() -> list[object]:
    return [
        listing(
            "Uptime by endpoint, 30 days",
            "Of the probes that were made, across restarts of the daemon.",
            Query(expr='sort(tocsin_endpoint_uptime_ratio{window="30d"})'),
        ),
        chart(
            "Failing probes by reason",
            "Where to begin: status and body are the application's, dns, connect and tls the way's.",
            Query(expr="sum by (instance, reason) (tocsin_endpoint_failure)", legend="{{instance}} {{reason}}"),
        ),
    ]


def _journeys() -> list[object]:
    return [
        chart(
            "Steps of journeys",
            "Which step takes the time. A step that failed without an answer has none.",
            Query(expr="max by (instance, step) (tocsin_endpoint_step_seconds)", legend="{{instance}} {{step}}"),
            unit="s",
        ),
        chart(
            "Failing steps by reason",
            "Where a journey ends; of a clean-up, what it leaves behind. EndpointDown names the step.",
            Query(
                expr="max by (instance, step, reason) (tocsin_endpoint_step_failure)",
                legend="{{instance}} {{step}} {{reason}}",
            ),
            Query(
                expr="max by (instance, step, reason) (tocsin_endpoint_cleanup_failure)",
                legend="{{instance}} {{step}} {{reason}} (clean-up)",
            ),
        ),
        chart(
            "Tries that failed, 10 min",
            "Those that a retry made good are among them: users don't retry. From 5 % EndpointFlaky fires.",
            Query(
                expr='sum by (instance) (increase(tocsin_endpoint_tries_total{outcome="failure"}[10m])) '
                "/ sum by (instance) (increase(tocsin_endpoint_tries_total[10m]))",
                legend="{{instance}}",
            ),
            unit="percentunit",
        ),
        chart(
            "Tries that a probe took",
            "2 is up after two tries. Only of targets with `retries`.",
            Query(expr="max by (instance) (tocsin_endpoint_probe_tries)", legend="{{instance}}"),
        ),
    ]
