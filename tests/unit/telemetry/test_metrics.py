"""Tocsin's own metrics: declared, and samples like any other."""

from datetime import UTC, datetime

from tocsin.telemetry.metrics import Telemetry

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_every_sample_of_the_registry_is_declared() -> None:
    """A rule on a metric that nobody declared is refused by `tocsin check`, so the list must be whole."""
    telemetry = Telemetry()
    telemetry.polls.labels("db", "ok").inc()
    telemetry.poll_lag.observe(0.1)
    declared = {name for metric in telemetry.declarations() for name in metric.series_names()}
    assert {sample.name for sample in telemetry.samples_at(NOW)} - declared == set()


def test_two_daemons_in_one_process_count_apart() -> None:
    """A registry belongs to a daemon, not to the interpreter."""
    one, other = Telemetry(), Telemetry()
    one.rescued.inc()
    values = [
        sample.value
        for telemetry in (one, other)
        for sample in telemetry.samples_at(NOW)
        if sample.name == "tocsin_scheduler_rescues_total"
    ]
    assert values == [1.0, 0.0]
