"""Objectives: is what was promised of each endpoint kept, and how fast does its error budget burn?"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.panels import Choice, Query, board, chart, figure, listing

_ENDPOINT: Final = Choice(label="instance", title="Endpoint", metric="tocsin_endpoint_up")
_EACH: Final = "by (job, instance, service)"
_ON: Final = "on (job, instance, service)"
_of: Final = _ENDPOINT.of
_OBJECTIVE: Final = _of("tocsin_endpoint_slo_ratio")
_UPTIME: Final = f"max {_EACH} (" + _of("tocsin_endpoint_uptime_ratio", 'window="30d"') + ")"
_LEFT: Final = f"1 - (1 - {_UPTIME}) / {_ON} (1 - {_OBJECTIVE})"


def _burn(window: str) -> str:
    """How many times too fast the budget burns over `window`; 1 is just what the objective allows."""
    failed, probed = _of("tocsin_endpoint_probes_total", 'outcome="failure"'), _of("tocsin_endpoint_probes_total")
    share = f"(sum {_EACH} (increase({failed}[{window}])) / sum {_EACH} (increase({probed}[{window}])))"
    return f"{share} / {_ON} (1 - {_OBJECTIVE})"


def dashboard() -> Dashboard:
    """The page for who has promised something."""
    return board(
        "tocsin-objectives",
        "Tocsin / Objectives",
        "Uptime of every endpoint over 30 days, and the error budgets of those with an objective (`slo`).",
        [("Now", _now()), ("Budgets", _budgets()), ("Uptime", _uptime()), ("Journeys and tries", _journeys())],
        choices=[_ENDPOINT],
    )


def _now() -> list[object]:
    return [
        figure(
            "Endpoints down",
            "Now. EndpointDown has fired or is about to.",
            Query(expr=f"sum({_of('tocsin_endpoint_up')} == bool 0)"),
            bad_above=0,
            runbook="EndpointDown",
        ),
        figure(
            "Lowest uptime, 30 days",
            "Of all endpoints. The table below says which.",
            Query(expr=f"min({_UPTIME})"),
            unit="percentunit",
        ),
        figure(
            "Below their objective, 30 days",
            "Endpoints whose promise of the month is broken already.",
            Query(expr=f"sum({_UPTIME} < bool {_ON} {_OBJECTIVE})"),
            bad_above=0,
            runbook="EndpointBudgetBurnsSlowly",
        ),
        figure(
            "Least budget left, 30 days",
            "Of what may fail in a month. Below 0 the promise is broken; the chart below says of which endpoint.",
            Query(expr=f"min({_LEFT})"),
            unit="percentunit",
        ),
        figure(
            "Fastest burn, 1 h",
            "Times too fast. From 14.4 EndpointBudgetBurns fires.",
            Query(expr=f"max({_burn('1h')})"),
            bad_above=14.4,
            runbook="EndpointBudgetBurns",
        ),
        figure(
            "Fastest burn, 6 h",
            "Times too fast. From 6 EndpointBudgetBurns fires: what is too slow an illness for the hour.",
            Query(expr=f"max({_burn('6h')})"),
            bad_above=6,
            runbook="EndpointBudgetBurns",
        ),
    ]


def _budgets() -> list[object]:
    return [
        chart(
            "Budget left, 30 days",
            "1 is untouched, 0 is spent, below 0 the promise is broken. A step is an outage, a slope an illness.",
            Query(expr=_LEFT, legend="{{instance}}"),
            unit="percentunit",
            limit=0,
        ),
        listing(
            "Budget left by endpoint, 30 days",
            "The least first. An endpoint is here when it has an objective: `slo: 99.9` in its target.",
            Query(expr=f"sort({_LEFT})"),
            unit="percentunit",
        ),
        chart(
            "Burn rate, 1 h",
            "At 1 the budget lasts just the month. 14.4 for an hour is 2 % of it.",
            Query(expr=_burn("1h"), legend="{{instance}}"),
            limit=14.4,
            runbook="EndpointBudgetBurns",
        ),
        chart(
            "Burn rate, 6 h",
            "6 for six hours is 5 % of the month's budget.",
            Query(expr=_burn("6h"), legend="{{instance}}"),
            limit=6,
            runbook="EndpointBudgetBurns",
        ),
    ]


def _uptime() -> list[object]:
    return [
        listing(
            "Uptime by endpoint, 30 days",
            "Of the probes that were made, across restarts of the daemon.",
            Query(expr=f"sort({_UPTIME})"),
            unit="percentunit",
        ),
        chart(
            "Failing probes by reason",
            "Where to begin: status and body are the application's, dns, connect and tls the way's.",
            Query(
                expr=f"sum by (instance, reason) ({_of('tocsin_endpoint_failure')})", legend="{{instance}} {{reason}}"
            ),
            runbook="EndpointDown",
        ),
    ]


def _journeys() -> list[object]:
    failed, tried = _of("tocsin_endpoint_tries_total", 'outcome="failure"'), _of("tocsin_endpoint_tries_total")
    return [
        chart(
            "Steps of journeys",
            "Which step takes the time. A step that failed without an answer has none.",
            Query(
                expr=f"max by (instance, step) ({_of('tocsin_endpoint_step_seconds')})", legend="{{instance}} {{step}}"
            ),
            unit="s",
        ),
        chart(
            "Failing steps by reason",
            "Where a journey ends; of a clean-up, what it leaves behind. EndpointDown names the step.",
            Query(
                expr=f"max by (instance, step, reason) ({_of('tocsin_endpoint_step_failure')})",
                legend="{{instance}} {{step}} {{reason}}",
            ),
            Query(
                expr=f"max by (instance, step, reason) ({_of('tocsin_endpoint_cleanup_failure')})",
                legend="{{instance}} {{step}} {{reason}} (clean-up)",
            ),
            runbook="EndpointCleanupFails",
        ),
        chart(
            "Tries that failed, 10 min",
            "Those that a retry made good are among them: users don't retry. From 5 % EndpointFlaky fires.",
            Query(
                expr=f"sum by (instance) (increase({failed}[10m])) / sum by (instance) (increase({tried}[10m]))",
                legend="{{instance}}",
            ),
            unit="percentunit",
            limit=0.05,
            runbook="EndpointFlaky",
        ),
        chart(
            "Tries that a probe took",
            "2 is up after two tries. Only of targets with `retries`.",
            Query(expr=f"max by (instance) ({_of('tocsin_endpoint_probe_tries')})", legend="{{instance}}"),
        ),
    ]
