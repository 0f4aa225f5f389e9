"""The figures of response as series: counted every five minutes from the state store, not when somebody scrapes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from prometheus_client import Gauge

from tocsin.incidents import Book
from tocsin.incidents.response import figures, silence_debt
from tocsin.model import Seconds, Severity
from tocsin.state.response import read_response
from tocsin.telemetry.metrics import Telemetry

if TYPE_CHECKING:
    from tocsin.state import State

RESPONSE_EVERY: Final[int] = 300
"""Ticks between two counts."""


async def measure_response(state: State, book: Book, telemetry: Telemetry, now: datetime) -> None:
    """Set the gauges tocsin_response_*. Raises StateError."""
    record = await read_response(state, now)
    found = figures(record.handled, record.said, record.rang, now)
    for severity in Severity:
        telemetry.response_incidents.labels(severity.value).set(found.incidents[severity])
    for severity, pages in found.pages.items():
        telemetry.response_pages.labels(severity.value).set(pages)
    for gauge, values in (
        (telemetry.response_acknowledge, found.acknowledge),
        (telemetry.response_resolve, found.resolve),
        (telemetry.response_sent, found.sent),
    ):
        _set(gauge, values)
    for name, share in (("precision", found.precision), ("flaps", found.flaps), ("folded", found.folded)):
        if share is None:
            telemetry.response_ratio.remove(name)
        else:
            telemetry.response_ratio.labels(name).set(share)
    firing = [alert for incident in book.open for alert in incident.firing]
    telemetry.response_silenced.set(silence_debt(firing, book.silences.values(), now))


def _set(gauge: Gauge, values: Mapping[tuple[Severity, float], Seconds]) -> None:
    gauge.clear()
    for (severity, quantile), seconds in values.items():
        gauge.labels(severity.value, f"{quantile:g}").set(seconds)
