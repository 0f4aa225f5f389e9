"""Tocsin's own metrics: declared, and samples like any other."""

from datetime import UTC, datetime, timedelta

from tocsin.model import Labels
from tocsin.promql import Round, Vector, compile_expr
from tocsin.series import Store
from tocsin.telemetry.metrics import Telemetry

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REFUSED = 'increase(tocsin_deliveries_total{outcome="refused"}[1m])'


def read_into(store: Store, telemetry: Telemetry, at: datetime) -> None:
    store.append(list(telemetry.samples_at(at)))


def rises(store: Store, text: str, at: datetime) -> list[bool]:
    result = Round(store, at).evaluate(compile_expr(text))
    assert isinstance(result, Vector)
    return [value > 0 for _, value in result]


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
        if sample.name == "tocsin_scheduler_rescues_total" and sample.at == NOW
    ]
    assert values == [1.0, 0.0]


def test_the_first_event_of_a_counter_with_labels_is_a_rise() -> None:
    """A label set is there from its first event on: the zero before it is told with it, after the last reading."""
    telemetry, store, now = Telemetry(), Store(), datetime.now(UTC)
    read_into(store, telemetry, now)
    telemetry.deliveries.labels("slack", "refused").inc()
    telemetry.stage_seconds.labels("decided", "P1").observe(0.1)
    later = now + timedelta(seconds=5)
    read_into(store, telemetry, later)
    assert rises(store, REFUSED, later) == [True]
    assert rises(store, 'increase(tocsin_stage_duration_seconds_count{stage="decided"}[1m])', later) == [True]
    assert set(rises(store, 'increase(tocsin_stage_duration_seconds_bucket{le="+Inf"}[1m])', later)) == {True}
    assert store.refused.out_of_order + store.refused.duplicate == 0


def test_the_first_event_after_a_restart_is_a_rise_whatever_was_counted_before() -> None:
    """One message was refused before the restart and one after: that the counter ends where it ended is no peace."""
    store, now = Store(), datetime.now(UTC)
    for life in range(2):
        telemetry, begun = Telemetry(), now + timedelta(minutes=2 * life)
        read_into(store, telemetry, begun)
        telemetry.deliveries.labels("slack", "refused").inc()
        read_into(store, telemetry, begun + timedelta(seconds=5))
    assert rises(store, REFUSED, begun + timedelta(seconds=5)) == [True]


def test_a_zero_is_told_once_and_not_of_what_may_fall() -> None:
    """What was read before rises from there, and a gauge from nothing."""
    telemetry, now = Telemetry(), datetime.now(UTC)
    list(telemetry.samples_at(now))
    telemetry.deliveries.labels("slack", "refused").inc()
    telemetry.blind.labels("db", "1").set(1)
    first = [each for each in telemetry.samples_at(now + timedelta(seconds=5)) if each.at != now + timedelta(seconds=5)]
    again = [each for each in telemetry.samples_at(now + timedelta(seconds=9)) if each.at != now + timedelta(seconds=9)]
    labels = Labels(job="tocsin", notifier="slack", outcome="refused")
    assert ([(each.name, each.labels, each.value) for each in first], again) == (
        [("tocsin_deliveries_total", labels, 0.0)],
        [],
    )
