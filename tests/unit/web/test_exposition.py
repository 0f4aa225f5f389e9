"""The /metrics page is what Prometheus' own parser reads back."""

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tocsin.model import Labels, Metric, MetricType
from tocsin.web.exposition import exposition


def page(latest: list[tuple[Labels, float]], declared: list[Metric]) -> dict[str, object]:
    text = exposition(CollectorRegistry(), latest, declared, "tocsin").decode()
    return {
        family.name: (family.type, [(sample.name, sample.labels, sample.value) for sample in family.samples])
        for family in text_string_to_metric_families(text)
    }


def test_a_declared_histogram_comes_back_as_one_family() -> None:
    """Its buckets, sum and count stand under one TYPE."""
    latest = [(Labels(__name__=f"d_{part}", le="1"), 2.0) for part in ("bucket",)]
    latest += [(Labels(__name__="d_sum"), 0.5), (Labels(__name__="d_count"), 2.0)]
    read = page(latest, [Metric(name="d", type=MetricType.HISTOGRAM, help="Durations")])
    assert [(name, kind) for name, (kind, _) in read.items()] == [("d", "histogram")]  # type: ignore[misc]


def test_odd_label_values_survive() -> None:
    """Quotes, backslashes and newlines in a label are escaped as the format says."""
    odd = 'a"b\\c\nd'
    read = page([(Labels(__name__="m", path=odd), 1.0)], [])
    assert read["m"][1] == [("m", {"path": odd}, 1.0)]  # type: ignore[index]


def test_series_of_tocsins_own_job_are_not_said_twice() -> None:
    """They come from the registry; a scrape with duplicates would be refused whole."""
    assert page([(Labels(__name__="tocsin_series", job="tocsin"), 1.0)], []) == {}
