"""Labels, staleness and blindness of what collectors yield."""

from datetime import UTC, datetime, timedelta

from tocsin.model import Blind, Labels, Metric, MetricType, Sample, is_stale
from tocsin.ports import CollectorSettings, CollectorSpec
from tocsin.runtime.polling import Poll
from tocsin.runtime.sources import Source, new_source

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def source(*, open_ended: bool = False, foreign: frozenset[str] = frozenset(), **labels: str) -> Source:
    settings = CollectorSettings(kind="k", name="db", labels=labels)
    declared = (
        Metric(name="up", type=MetricType.GAUGE, help="h"),
        Metric(name="rows", type=MetricType.GAUGE, help="h"),
    )
    spec = CollectorSpec(
        kind="k", settings=CollectorSettings, build=lambda *_: None, metrics=declared, open_ended=open_ended
    )
    return new_source(settings, spec, foreign=foreign, now=NOW)


def poll(seconds: float, *samples: tuple[str, Labels], blind: tuple[Blind, ...] = (), last: bool = True) -> Poll:
    taken = tuple(Sample(name=name, labels=labels, value=1.0, at=at(seconds)) for name, labels in samples)
    return Poll(source="db", at=at(seconds), samples=taken, blind=blind, last=last)


def stale(samples: list[Sample]) -> list[tuple[str, Labels]]:
    return [(sample.name, sample.labels) for sample in samples if is_stale(sample.value)]


def value(samples: list[Sample], name: str) -> list[float]:
    return [sample.value for sample in samples if sample.name == name]


def test_every_series_carries_its_job_and_the_settings_labels() -> None:
    """A rule can always tell whose series it reads."""
    taken = source(service="shop").take(poll(0, ("rows", Labels(table="t"))))
    assert taken[0].labels == Labels(job="db", service="shop", table="t")


def test_a_series_that_a_good_poll_no_longer_yields_has_ended() -> None:
    """As after a Prometheus scrape: no five minutes of a value that is not true any more."""
    db = source()
    db.take(poll(0, ("rows", Labels(table="a")), ("rows", Labels(table="b"))))
    assert stale(db.take(poll(1, ("rows", Labels(table="a"))))) == [("rows", Labels(job="db", table="b"))]


def test_a_series_that_could_not_be_seen_has_not_ended() -> None:
    """Unknown is not gone: no staleness marker while the source is blind, nor once it sees the series again."""
    db = source()
    db.take(poll(0, ("up", Labels()), ("rows", Labels(table="a"))))
    dark = db.take(poll(1, ("up", Labels()), blind=(Blind(why="down"),)))
    light = db.take(poll(2, ("up", Labels()), ("rows", Labels(table="a"))))
    assert (stale(dark), stale(light)) == ([], [])


def test_what_vanished_while_the_source_was_blind_ends_with_the_first_good_poll() -> None:
    """The end is told once it is known."""
    db = source()
    db.take(poll(0, ("up", Labels()), ("rows", Labels(table="a"))))
    db.take(poll(1, ("up", Labels()), blind=(Blind(why="down"),)))
    assert stale(db.take(poll(2, ("up", Labels())))) == [("rows", Labels(job="db", table="a"))]


def test_a_blind_poll_hides_what_it_did_not_yield() -> None:
    """`up 0` is known, the rest isn't."""
    db = source()
    db.take(poll(0, ("up", Labels()), blind=(Blind(why="down"),)))
    assert [(spot.metrics, spot.why) for spot in db.spots] == [(frozenset({"rows"}), "down")]


def test_blindness_remembers_when_it_began() -> None:
    """ "blind for 7 minutes" counts from the first blind poll, whatever the reason says by now."""
    db = source()
    db.take(poll(0, ("up", Labels()), ("rows", Labels())))
    for second, why in ((1, "timeout"), (2, "timeout"), (3, "refused")):
        db.take(poll(second, ("up", Labels()), blind=(Blind(why=why),)))
    assert [spot.since for spot in db.spots] == [at(1)]


def test_one_dead_target_of_several_hides_only_its_own_series() -> None:
    """The others' series end as usual."""
    db = source()
    db.take(poll(0, *(("rows", Labels(instance=name)) for name in ("a", "b", "c"))))
    dark = Blind(why="refused", labels=Labels(instance="a"))
    taken = db.take(poll(1, ("rows", Labels(instance="b")), blind=(dark,)))
    assert stale(taken) == [("rows", Labels(job="db", instance="c"))]


def test_a_series_without_a_hidden_targets_label_may_be_the_targets() -> None:
    """What can't be told apart from what was not seen has not ended; another target's series has."""
    db = source()
    db.take(poll(0, ("rows", Labels()), ("rows", Labels(instance="a", table="t")), ("rows", Labels(instance="b"))))
    dark = (
        Blind(why="refused", labels=Labels(instance="a")),
        Blind(why="late", labels=Labels(instance="c", table="u"), metrics=frozenset({"rows"})),
        Blind(why="gone", labels=Labels(table="v"), metrics=frozenset({"up"})),
    )
    assert stale(db.take(poll(1, blind=dark))) == [("rows", Labels(job="db", instance="b"))]


def test_before_the_first_poll_everything_declared_is_hidden() -> None:
    """A restart resolves nothing that it has not looked at."""
    assert [spot.metrics for spot in source().spots] == [frozenset({"up", "rows"})]


def test_an_open_ended_source_may_hide_whatever_rules_read_and_nobody_declares() -> None:
    """A scrape target that is dead at boot has names that only the rules know."""
    spots = source(open_ended=True, foreign=frozenset({"http_requests_total"})).spots
    assert [spot.metrics for spot in spots] == [frozenset({"up", "rows", "http_requests_total"})]


def test_parts_of_a_poll_are_one_poll() -> None:
    """What an early part yielded is not gone when the last part doesn't repeat it."""
    db = source()
    db.take(poll(0, ("rows", Labels(table="a"))))
    db.take(poll(1, ("rows", Labels(table="a")), last=False))
    assert stale(db.take(poll(1, ("up", Labels())))) == []


def test_up_is_zero_while_anything_is_hidden() -> None:
    """And the time of the last success stands still."""
    db = source()
    taken = db.take(poll(0, blind=(Blind(why="no grant", metrics=frozenset({"rows"})),)))
    assert (value(taken, "tocsin_collector_up"), value(taken, "tocsin_collector_last_success_timestamp_seconds")) == (
        [0.0],
        [],
    )


def test_a_source_that_shows_nothing_says_so_in_every_poll() -> None:
    """What TocsinSourceStale reads must not end with the lookback, as the time of the last success does."""
    db = source()
    db.take(poll(0, ("rows", Labels(table="a"))))
    polls = [db.take(poll(seconds, blind=(Blind(why="refused"),))) for seconds in (10, 400, 700)]
    found = [(value(each, "tocsin_collector_up"), value(each, "tocsin_collector_samples")) for each in polls]
    assert found == [([0.0], [0.0])] * 3


def test_what_was_stored_before_a_restart_ends_with_the_first_good_poll() -> None:
    """A failure that was mended while the daemon was down is not believed for another five minutes."""
    db = source()
    db.remember([Labels(__name__="rows", job="db", table="a"), Labels(__name__="tocsin_collector_up", job="db")])
    assert stale(db.take(poll(0, ("up", Labels())))) == [("rows", Labels(job="db", table="a"))]


def test_what_was_stored_before_a_restart_and_can_not_be_seen_has_not_ended() -> None:
    """A source that is dead at boot says nothing about its series."""
    db = source()
    db.remember([Labels(__name__="rows", job="db", table="a")])
    assert stale(db.take(poll(0, ("up", Labels()), blind=(Blind(why="down"),)))) == []


def test_what_was_last_seen_too_long_ago_is_hidden() -> None:
    """The machine slept or the clock was set forward: what the source showed has not ended, it is not known."""
    db = source()
    db.take(poll(0, ("rows", Labels(table="a"))))
    # An interval of 10 s, 10 s that the poll may take, 10 s of grace.
    assert db.hidden(at(30)) == ()
    (spot,) = db.hidden(at(7200))
    assert (spot.labels, spot.since) == (Labels(job="db"), NOW)
    assert {"up", "rows", "tocsin_collector_up"} <= spot.metrics
    assert spot.why == "not polled since 2026-03-01 00:00:00 UTC"
    db.take(poll(7200, ("rows", Labels(table="a"))))
    assert db.hidden(at(7201)) == ()
