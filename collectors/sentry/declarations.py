"""What the sentry collector yields."""

from __future__ import annotations

from typing import Final

from tocsin.model import Metric, MetricType

EVENTS: Final = Metric(
    name="tocsin_sentry_events_total",
    type=MetricType.COUNTER,
    help="Events by level (fatal, error, warning, info, debug) and environment.",
    labels=("level", "environment"),
)
ERRORS: Final = Metric(
    name="tocsin_sentry_errors_total",
    type=MetricType.COUNTER,
    help="Events of level fatal and error by category (client, auth, validation, dependency, database, timeout, bug).",
    labels=("category", "environment"),
)
OCCURRENCES: Final = Metric(
    name="tocsin_sentry_error_occurrences_total",
    type=MetricType.COUNTER,
    help="Errors by fingerprint: exception type and last frame of the application (other: past the first 200).",
    labels=("category", "fingerprint", "type", "where"),
)
ENVELOPES: Final = Metric(
    name="tocsin_sentry_envelopes_total",
    type=MetricType.COUNTER,
    help="Envelopes by outcome: event, other (nothing in it is counted), broken.",
    labels=("outcome",),
)
LAST_EVENT: Final = Metric(
    name="tocsin_sentry_last_event_timestamp_seconds",
    type=MetricType.GAUGE,
    help="When the last event arrived.",
    unit="seconds",
)

METRICS: Final = (EVENTS, ERRORS, OCCURRENCES, ENVELOPES, LAST_EVENT)
