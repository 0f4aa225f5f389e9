"""Response: how well people are told, how well they can answer, and what it costs them."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.panels import Query, board, chart, figure, listing


def dashboard() -> Dashboard:
    """The page of a weekly review."""
    return board(
        "tocsin-response",
        "Tocsin / Response",
        "Over the last 7 days, counted every 5 minutes: what on-call was told, how soon it answered, what was noise.",
        [("On call", _load()), ("Answers", _answers()), ("Messages", _messages())],
    )


def _load() -> list[object]:
    return [
        figure(
            "Pages in 12 hours",
            "P0 and P1. More than two a shift is more than people can work on: tocsin rules noise names the rules.",
            Query(expr="sum(tocsin_response_pages)"),
            bad_above=2,
        ),
        figure(
            "Precision",
            "Share of paged incidents that somebody took or closed. The rest ended by itself: noise.",
            Query(expr='tocsin_response_ratio{figure="precision"}'),
            unit="percentunit",
        ),
        figure(
            "Flap rate",
            "Share of incidents that came back. A keep_firing_for may help: tocsin rules noise names it.",
            Query(expr='tocsin_response_ratio{figure="flaps"}'),
            unit="percentunit",
            bad_above=0.2,
        ),
        figure(
            "Alerts for each first message",
            "What grouping, storm summaries and flap folding spare; 1 is nothing.",
            Query(expr='tocsin_response_ratio{figure="folded"}'),
        ),
        figure(
            "Silence debt",
            "How long what fires now has been hidden by silences, in sum. Something that nobody mends is not silenced.",
            Query(expr="tocsin_response_silenced_seconds"),
            unit="s",
            bad_above=86_400,
        ),
        figure(
            "Incidents",
            "All severities, of 7 days.",
            Query(expr="sum(tocsin_response_incidents)"),
        ),
    ]


def _answers() -> list[object]:
    return [
        chart(
            "Time to acknowledge",
            "From begin to the first who took it, by severity: p50 and p90. Escalation begins at 5 minutes for P0.",
            Query(expr="tocsin_response_acknowledge_seconds", legend="{{severity}} p{{quantile}}"),
            unit="s",
        ),
        chart(
            "Time to resolve",
            "From begin to end, by severity: p50 and p90.",
            Query(expr="tocsin_response_resolve_seconds", legend="{{severity}} p{{quantile}}"),
            unit="s",
        ),
    ]


def _messages() -> list[object]:
    return [
        chart(
            "Decision to receipt, p99",
            "How long a page is on its way. Rises when the destination is slow, limits us or is away.",
            Query(expr="tocsin_response_sent_seconds", legend="{{severity}}"),
            unit="s",
        ),
        listing(
            "Incidents by severity",
            "Of 7 days.",
            Query(expr="tocsin_response_incidents"),
        ),
    ]
