"""What the store takes, refuses and remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.errors import SeriesLimit
from tocsin.model import STALE, Labels, Matcher, MatchOp, Sample
from tocsin.promql import Round, compile_expr
from tocsin.series import Refused, Store

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def sample(value: float, seconds: float, created: float | None = None, **labels: str) -> Sample:
    return Sample(
        name="m", labels=Labels(labels), value=value, at=EPOCH + timedelta(seconds=seconds),
        created=None if created is None else EPOCH + timedelta(seconds=created),
    )  # fmt: skip


def vector(store: Store, expression: str, seconds: float) -> dict[Labels, float]:
    return dict(Round(store, EPOCH + timedelta(seconds=seconds)).evaluate(compile_expr(expression)))  # type: ignore[arg-type]


def test_a_burst_of_a_new_series_counts_from_zero() -> None:
    """The first sample of a counter that says when it was created has a rise."""
    store = Store()
    store.append([sample(0, 0, a="old")])
    store.append([sample(0, 10, a="old"), sample(40, 10, created=0, a="new")])
    assert vector(store, 'increase(m{a="new"}[10m]) * 10 / 10', 10)[Labels(a="new")] == 40


def test_late_and_double_samples_are_refused_and_counted() -> None:
    """A series' past does not change."""
    store = Store()
    assert store.append([sample(1, 10)]) == 1
    assert store.append([sample(2, 5), sample(3, 10)]) == 0
    assert Refused(out_of_order=1, duplicate=1) == store.refused
    assert {Labels(__name__="m"): 1.0} == vector(store, "m", 10)


def test_a_series_that_misses_a_poll_keeps_its_own_times() -> None:
    """Samples are counted per series, not per poll."""
    store = Store()
    for second in range(10):
        store.append([sample(1, second, a="x"), *([sample(1, second, a="y")] if second % 3 else [])])
    assert {Labels(a="x"): 10.0, Labels(a="y"): 6.0} == vector(store, "count_over_time(m[1m])", 9)


def test_a_staleness_marker_ends_a_series() -> None:
    """No value after the marker, and no sample of a range."""
    store = Store()
    store.append([sample(1, 0)])
    store.append([sample(STALE, 5)])
    assert vector(store, "m", 5) == {}
    assert {Labels(): 1.0} == vector(store, "count_over_time(m[1m])", 5)


def test_the_cap_names_the_metric_and_stores_the_rest() -> None:
    """One label that explodes does not stop the others."""
    store = Store(max_series=2)
    with pytest.raises(SeriesLimit, match=r"refused new series of m \(2\)"):
        store.append([sample(1, 0, a=str(i)) for i in range(4)])
    assert (store.series_count, store.refused.over_limit) == (2, 2)
    assert store.append([sample(1, 1, a=str(i)) for i in range(2)]) == 2


def test_samples_beyond_the_retention_are_forgotten_with_their_series() -> None:
    """A series without samples is no series."""
    store = Store(retention=100)
    store.append([sample(1, 0, a="gone")])
    for second in range(0, 400, 10):
        store.append([sample(1, second, a="here")])
    assert [Labels(__name__="m", a="here")] == store.series()
    assert store.sample_count <= 13


@pytest.mark.untraced  # thousands of turns of the same code: traced, they take three times as long
def test_labels_of_series_that_are_gone_take_no_room() -> None:
    """A label that takes a new value each minute does not grow the store for ever."""
    store = Store(retention=600, raw=60)
    for second in range(0, 30_000, 60):
        store.append([sample(1, second, a=f"{second}-{number}") for number in range(50)])
    assert len(store.dictionary.values) < 15_000
    assert store.series_count < 1000
    assert vector(store, "count(m)", 29_940) == {Labels(): 250.0}
    assert store.label_values("a")[-1].startswith("29940-")


def test_the_store_lists_what_it_holds() -> None:
    """Names, values and series, all of them or those that match, or that have samples in a time."""
    store = Store()
    store.append([sample(1, 0, a="x", b="1"), sample(1, 0, a="y")])
    store.append([Sample(name="n", labels=Labels(a="z"), value=1.0, at=EPOCH + timedelta(seconds=100))])
    matcher = Matcher(name="a", op=MatchOp.REGEX, value="x|z")
    assert store.metric_names() == ["m", "n"]
    assert store.label_names() == ["__name__", "a", "b"]
    assert store.label_values("a") == ["x", "y", "z"]
    assert store.label_values("a", [matcher]) == ["x", "z"]
    assert store.label_values("a", after=EPOCH + timedelta(seconds=50)) == ["z"]
    assert store.label_names([matcher], until=EPOCH) == ["__name__", "a", "b"]
    assert store.series([matcher], until=EPOCH) == [Labels(__name__="m", a="x", b="1")]
    assert store.series_by_metric() == {"m": 2, "n": 1}
    assert (store.newest, store.newest_of("m")) == (EPOCH + timedelta(seconds=100), EPOCH)
    assert store.newest_of("nope") is None


def test_a_series_that_ended_long_ago_is_no_defect() -> None:
    """Sealed samples of the time that is asked for may all be of other series: there is nothing then."""
    store = Store(retention=1e6, raw=60)
    for seconds in range(0, 3600, 15):
        store.append(
            [sample(seconds, seconds, a="on"), *([sample(seconds, seconds, a="off")] if seconds < 600 else [])]
        )
    assert vector(store, 'increase(m{a="off"}[5m])', 3000) == {}
    assert list(vector(store, 'm{a=~"on|off"}', 3000)) == [Labels({"__name__": "m", "a": "on"})]
