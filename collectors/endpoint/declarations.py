"""What the endpoint collector yields."""

from __future__ import annotations

from typing import Final

from tocsin.model import Metric, MetricType

_GAUGE: Final = MetricType.GAUGE

METRICS: Final = (
    Metric(
        name="tocsin_endpoint_up",
        type=_GAUGE,
        help="1 when the answer met every expectation, else 0.",
        labels=("instance", "service"),
    ),
    Metric(
        name="tocsin_endpoint_failure",
        type=_GAUGE,
        help="1 for each expectation that was not met: dns, connect, tls, timeout, protocol, http_version, redirect, "
        "status, body, json, header, extract, nxdomain, servfail, rcode, records, slow.",
        labels=("instance", "service", "reason"),
    ),
    Metric(
        name="tocsin_endpoint_phase_seconds",
        type=_GAUGE,
        help="How long a phase of the last probe took: dns, connect, tls, first_byte, total.",
        labels=("instance", "service", "phase"),
        unit="seconds",
    ),
    Metric(
        name="tocsin_endpoint_status_code",
        type=_GAUGE,
        help="HTTP status of the last answer.",
        labels=("instance", "service"),
    ),
    Metric(
        name="tocsin_endpoint_certificate_expiry_timestamp_seconds",
        type=_GAUGE,
        help="When the first of the endpoint's certificates expires (notAfter), intermediates too, trusted or not.",
        labels=("instance", "service"),
        unit="seconds",
    ),
    Metric(
        name="tocsin_endpoint_duration_seconds",
        type=MetricType.HISTOGRAM,
        help="Total time of a probe that was answered, or that waited until its deadline.",
        labels=("instance", "service"),
        unit="seconds",
    ),
    Metric(
        name="tocsin_endpoint_probes_total",
        type=MetricType.COUNTER,
        help="Probes by outcome: success, failure.",
        labels=("instance", "service", "outcome"),
    ),
    Metric(
        name="tocsin_endpoint_tries_total",
        type=MetricType.COUNTER,
        help="Tries by outcome: success, failure; a failure that a further try made good is counted here only.",
        labels=("instance", "service", "outcome"),
    ),
    Metric(
        name="tocsin_endpoint_probe_tries",
        type=_GAUGE,
        help='Tries that the last probe of a target with `retries` took: 2 with up 1 is "up after 2 tries".',
        labels=("instance", "service"),
    ),
    Metric(
        name="tocsin_endpoint_step_seconds",
        type=_GAUGE,
        help="How long a step of a journey took, clean-up included; absent without an answer.",
        labels=("instance", "service", "step"),
        unit="seconds",
    ),
    Metric(
        name="tocsin_endpoint_step_failure",
        type=_GAUGE,
        help="1 for each reason why a step of a journey failed, which ended it.",
        labels=("instance", "service", "step", "reason"),
    ),
    Metric(
        name="tocsin_endpoint_cleanup_failure",
        type=_GAUGE,
        help="1 for each reason why a clean-up step failed; what the journey created may still be there.",
        labels=("instance", "service", "step", "reason"),
    ),
    Metric(
        name="tocsin_endpoint_uptime_ratio",
        type=_GAUGE,
        help="Share of the probes that were up, of the last 1d, 3d, 7d, 30d, by the hour; across restarts.",
        labels=("instance", "service", "window"),
    ),
    Metric(
        name="tocsin_endpoint_slo_ratio",
        type=_GAUGE,
        help="The objective that was configured (`slo`), as a ratio.",
        labels=("instance", "service"),
    ),
    Metric(
        name="probe_success",
        type=_GAUGE,
        help="blackbox_exporter's name of tocsin_endpoint_up.",
        labels=("instance", "service"),
    ),
    Metric(
        name="probe_duration_seconds",
        type=_GAUGE,
        help="blackbox_exporter's name of the phase `total`; a probe without an answer has one too.",
        labels=("instance", "service"),
        unit="seconds",
    ),
    Metric(
        name="probe_http_status_code",
        type=_GAUGE,
        help="blackbox_exporter's name of tocsin_endpoint_status_code; 0 without an answer.",
        labels=("instance", "service"),
    ),
    Metric(
        name="probe_ssl_earliest_cert_expiry",
        type=_GAUGE,
        help="blackbox_exporter's name of tocsin_endpoint_certificate_expiry_timestamp_seconds.",
        labels=("instance", "service"),
        unit="seconds",
    ),
)
