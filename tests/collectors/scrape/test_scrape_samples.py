"""What a scrape says: labels, births, timestamps. No socket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from collectors.scrape.parse import Exposition
from collectors.scrape.samples import TargetState
from collectors.scrape.settings import Target
from tocsin.model import Sample

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
TICK = timedelta(seconds=10)


def state(*, from_zero: bool = True, **target: Any) -> TargetState:
    return TargetState(Target(**{"url": "http://127.0.0.1:8000/metrics", **target}), from_zero)


def scraped(of: TargetState, text: str, at: datetime, *, open_metrics: bool = False) -> list[Sample]:
    exposition = Exposition(open_metrics=open_metrics)
    of.parser.feed(exposition, text.split("\n"))
    of.parser.finish(exposition)
    return list(of.samples(exposition, at))


def births(samples: list[Sample]) -> dict[str, datetime | None]:
    return {f"{s.name}{s.labels.without('instance')!r}": s.created for s in samples}


def test_a_new_label_set_of_a_known_counter_began_at_the_last_scrape() -> None:
    """The first burst of an error that never happened before counts from zero."""
    target = state()
    scraped(target, '# TYPE e_total counter\ne_total{code="200"} 7', AT)
    second = scraped(target, '# TYPE e_total counter\ne_total{code="200"} 8\ne_total{code="500"} 40', AT + TICK)
    assert births(second) == {'e_total{code="200"}': None, 'e_total{code="500"}': AT}
    third = scraped(target, '# TYPE e_total counter\ne_total{code="500"} 41', AT + 2 * TICK)
    assert births(third) == {'e_total{code="500"}': AT}


def test_an_announced_counter_without_series_is_known() -> None:
    """prometheus_client writes the TYPE line of a labelled counter before its first label set."""
    target = state()
    scraped(target, "# TYPE e_total counter", AT)
    assert births(scraped(target, '# TYPE e_total counter\ne_total{code="500"} 4', AT + TICK)) == {
        'e_total{code="500"}': AT
    }


def test_the_first_scrape_knows_no_birth() -> None:
    """What a target has counted before we came is no burst."""
    assert births(scraped(state(), "# TYPE a counter\na_total 1000000", AT)) == {"a_total{}": None}


def test_a_metric_that_is_new_as_a_whole_has_no_birth() -> None:
    """An exporter whose database was away shows nothing, and then totals of years."""
    target = state()
    scraped(target, "# TYPE up_total counter\nup_total 1", AT)
    both = "# TYPE up_total counter\nup_total 1\n# TYPE commits_total counter\ncommits_total 9000000"
    assert births(scraped(target, both, AT + TICK))["commits_total{}"] is None


def test_a_gauge_has_no_birth() -> None:
    """It never stood at zero for being new."""
    target = state()
    scraped(target, '# TYPE g gauge\ng{a="1"} 1', AT)
    assert births(scraped(target, '# TYPE g gauge\ng{a="2"} 5', AT + TICK)) == {'g{a="2"}': None}


def test_it_can_be_switched_off() -> None:
    """`new_series_from_zero: false` is Prometheus' behaviour."""
    target = state(from_zero=False)
    scraped(target, "# TYPE e_total counter", AT)
    assert births(scraped(target, '# TYPE e_total counter\ne_total{a="1"} 4', AT + TICK)) == {'e_total{a="1"}': None}


def test_created_lines_say_when_a_counter_began() -> None:
    """In OpenMetrics and in prometheus_client's text form; they are no series of their own."""
    began = (AT - timedelta(hours=1)).timestamp()
    open_metrics = (
        f'# TYPE c counter\nc_total{{a="1"}} 5\nc_created{{a="1"}} {began}\n'
        f'# TYPE h histogram\nh_bucket{{le="1"}} 1\nh_bucket{{le="+Inf"}} 2\nh_count 2\n'
        f"h_sum 3\nh_created {began}\n# EOF\n"
    )
    text = f"# TYPE c_total counter\nc_total 5\n# TYPE c_created gauge\nc_created {began}\n"
    for found in (
        scraped(state(), open_metrics, AT, open_metrics=True),
        scraped(state(), text, AT),
    ):
        assert {sample.created for sample in found} == {AT - timedelta(hours=1)}
        assert [sample.name for sample in found if "created" in sample.name] == []


def test_a_creation_in_the_future_is_not_believed() -> None:
    """A target whose clock is ahead says nothing about when it began."""
    text = f"# TYPE c counter\nc_total 5\nc_created {(AT + TICK).timestamp()}\n# EOF"
    assert births(scraped(state(), text, AT, open_metrics=True)) == {"c_total{}": None}


def test_clashing_labels_are_kept_as_exported() -> None:
    """`instance` and `job` are ours; the exposed ones stay readable."""
    text = 'a{instance="x",job="y",exported_job="z",code="1"} 1'
    (sample,) = scraped(state(labels={"service": "api"}), text, AT)
    assert dict(sample.labels) == {
        "instance": "127.0.0.1:8000",
        "service": "api",
        "code": "1",
        "exported_instance": "x",
        "exported_job": "z",
        "exported_exported_job": "y",
    }


def test_honoured_labels_win() -> None:
    """A Pushgateway's `instance` is the one to keep; `job` names the collector, so the exposed one is renamed."""
    (sample,) = scraped(state(honor_labels=True), 'a{instance="x",job="y"} 1', AT)
    assert dict(sample.labels) == {"instance": "x", "exported_job": "y"}


def test_timestamps_are_honoured_unless_told_otherwise() -> None:
    """As Prometheus' honor_timestamps."""
    text = f"a 1 {int((AT - TICK).timestamp() * 1000)}"
    assert [s.at for s in scraped(state(), text, AT)] == [AT - TICK]
    assert [s.at for s in scraped(state(honor_timestamps=False), text, AT)] == [AT]


def test_a_timestamp_from_the_far_future_is_left_out() -> None:
    """It would keep every later sample of its series out of the store. So would one in no calendar."""
    target = state()
    stamp = int((AT + timedelta(hours=1)).timestamp() * 1000)
    assert scraped(target, f"a 1 {stamp}\nb 1 1e300\nc 1 NaN\n", AT) == []
    assert target.dropped == 3
