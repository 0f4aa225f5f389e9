"""What the scrape collector yields of its own; the rest is what the targets expose."""

from __future__ import annotations

from typing import Final

from tocsin.model import Metric, MetricType

METRICS: Final = (
    Metric(
        name="up",
        type=MetricType.GAUGE,
        help="1 when the target's metrics were read whole, else 0.",
        labels=("instance",),
    ),
    Metric(
        name="scrape_duration_seconds",
        type=MetricType.GAUGE,
        help="How long the scrape took.",
        labels=("instance",),
        unit="seconds",
    ),
    Metric(
        name="scrape_samples_scraped",
        type=MetricType.GAUGE,
        help="Samples that the target exposed; 0 when the scrape failed.",
        labels=("instance",),
    ),
    Metric(
        name="tocsin_scrape_samples_dropped",
        type=MetricType.GAUGE,
        help="Samples of the last scrape that were left out: their timestamp is more than 10 minutes in the future.",
        labels=("instance",),
    ),
)
