"""What the store refuses of a source is a counter that begins at zero."""

from __future__ import annotations

from tocsin.runtime.observing import append
from tocsin.series import Store
from tocsin.telemetry.metrics import Telemetry


def test_a_source_that_fits_has_a_zero_to_rise_from() -> None:
    """increase() sees nothing of a counter that begins above zero: the alert would miss the first."""
    telemetry = Telemetry()
    append("orders", (), Store(), telemetry)
    limit = {"collector": "orders", "reason": "limit"}
    assert telemetry.registry.get_sample_value("tocsin_samples_refused_total", limit) == 0.0
