"""Reading the text format and OpenMetrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as their_openmetrics
from prometheus_client.parser import text_string_to_metric_families as their_text

from collectors.scrape.parse import BrokenLine, Exposition, Parser
from tocsin.model import Labels


def plain(exposed: Mapping[str, str]) -> Labels:
    return Labels(exposed)


def read(text: str, *, open_metrics: bool = False, parser: Parser | None = None) -> Exposition:
    parser = parser or Parser(plain)
    exposition = Exposition(open_metrics=open_metrics)
    parser.feed(exposition, text.split("\n"))
    parser.finish(exposition)
    return exposition


def rows(text: str, *, open_metrics: bool = False) -> list[tuple[str, dict[str, str], float, float | None]]:
    found = read(text, open_metrics=open_metrics).rows
    return [(known.name, dict(known.labels), value, stamp) for known, value, stamp in found]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("a 1", ("a", {}, 1.0, None)),
        ("a{} 1", ("a", {}, 1.0, None)),
        ('a:b_c{x="1"} 2.5e3', ("a:b_c", {"x": "1"}, 2500.0, None)),
        ('a{x="1",y="2",} 3', ("a", {"x": "1", "y": "2"}, 3.0, None)),
        ('a { x = "1" , y = "2" } 3 ', ("a", {"x": "1", "y": "2"}, 3.0, None)),
        ("a\t4", ("a", {}, 4.0, None)),
        ("a  4", ("a", {}, 4.0, None)),
        ("a +Inf", ("a", {}, math.inf, None)),
        ("a -Inf", ("a", {}, -math.inf, None)),
        ("a 1 1395066363000", ("a", {}, 1.0, 1395066363.0)),
        ("a 1 -1000", ("a", {}, 1.0, -1.0)),
        (r'a{x="\\ \" \n \t"} 1', ("a", {"x": '\\ " \n \\t'}, 1.0, None)),
        ('a{x="} 2 # {"} 1', ("a", {"x": "} 2 # {"}, 1.0, None)),
        ('a{x="é,=\'"} 1', ("a", {"x": "é,='"}, 1.0, None)),
        ('{"my.metric"} 1', ("my.metric", {}, 1.0, None)),
        ('{"my.metric","my label"="1",y="2"} 1', ("my.metric", {"my label": "1", "y": "2"}, 1.0, None)),
        ('a{x=""} 1', ("a", {}, 1.0, None)),
        ("a 1\r", ("a", {}, 1.0, None)),
    ],
)
def test_a_line_is_read(line: str, row: object) -> None:
    """Every form the formats allow; twice, so that the remembered series is read the same way."""
    parser = Parser(plain)
    for _ in range(2):
        (found,) = read(line, parser=parser).rows
        assert (found[0].name, dict(found[0].labels), found[1], found[2]) == row


def test_nan_is_a_value() -> None:
    """Quantiles of an empty summary are NaN."""
    ((_, _, value, _),) = rows("a NaN")
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a 1\nb\n", "line 2: no value"),
        ("a one", "line 1: value 'one' is no number"),
        ("a 1_000", "line 1: value '1_000' is no number"),
        ("a 1 soon", "line 1: timestamp 'soon' is no number"),
        ("a 1 2 3", "line 1: no value and timestamp"),
        ("1a 1", "line 1: no metric name"),
        ("{} 1", "line 1: no metric name"),
        ('a{x="1} 1', "line 1: not a label"),
        ("a{x=1} 1", "line 1: not a label"),
        ('a{x="1" y="2"} 1', "line 1: not a label"),
        ('a{x="1",x="2"} 1', "line 1: label 'x' is there twice"),
        ('a{__name__="b"} 1', "line 1: label '__name__'"),
        ("# TYPE a thing\na 1", "line 1: 'thing' is no metric type"),
        ("a 1 # {} 1", "line 1: no value and timestamp"),
        ("<html>", "line 1: no metric name"),
    ],
)
def test_a_broken_line_is_named(text: str, says: str) -> None:
    """The number of the line and what is wrong with it."""
    with pytest.raises(BrokenLine, match=says.replace("(", r"\(").replace("{", r"\{")):
        read(text)


def test_openmetrics_that_does_not_end_was_cut_off() -> None:
    """Without `# EOF` half of the metrics may be missing."""
    with pytest.raises(BrokenLine, match="cut off"):
        read("a 1\n", open_metrics=True)
    with pytest.raises(BrokenLine, match="line 2: text after"):
        read("# EOF\na 1\n", open_metrics=True)


def test_exemplars_are_read_over() -> None:
    """With timestamps and with braces in their labels."""
    text = (
        'a_bucket{le="1"} 3 # {trace_id="} 1"} 0.5 1.5\na_bucket{le="2"} 4 1.5 # {} 1\na_total 1 # {x="y"} 1\n# EOF\n'
    )
    assert [(value, stamp) for _, _, value, stamp in rows(text, open_metrics=True)] == [(3, None), (4, 1.5), (1, None)]


@pytest.mark.parametrize(
    ("text", "rises"),
    [
        ("# TYPE a_total counter\na_total 1", [True]),
        ("# TYPE a counter\na_total 1", [True]),
        ("# TYPE a gauge\na 1", [False]),
        ("a_total 1", [False]),
        ('# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1', [True, True, True]),
        ('# TYPE a summary\na{quantile="0.5"} 1\na_sum 1\na_count 1', [False, True, True]),
        ("# TYPE a gaugehistogram\na_gsum 1", [False]),
        ('# TYPE "my.a" counter\n{"my.a_total"} 1', [True]),
    ],
)
def test_counters_are_known_by_their_type(text: str, rises: list[bool]) -> None:
    """Only what is declared to count up can be assumed to have begun at zero."""
    assert [known.rises for known, _, _ in read(text).rows] == rises


def test_a_type_that_changes_is_taken_up() -> None:
    """A target that was redeployed may make a gauge of a counter."""
    parser = Parser(plain)
    assert [known.rises for known, _, _ in read("# TYPE a counter\na 1", parser=parser).rows] == [True]
    assert [known.rises for known, _, _ in read("# TYPE a gauge\na 1", parser=parser).rows] == [False]


def test_series_that_are_gone_are_let_go_of() -> None:
    """A target whose labels change at every scrape costs no memory for ever."""
    parser = Parser(plain)
    for scrape in range(1, 30):
        exposition = read("\n".join(f'a{{x="{scrape}-{n}"}} 1' for n in range(500)), parser=parser)
        for known, _, _ in exposition.rows:
            known.seen = scrape
        parser.forget(scrape)
    assert len(parser._known) <= 1500


# Against prometheus_client's own exposition and parser ------------------------------------------------------------

_value = st.floats(allow_nan=False) | st.integers(-(10**12), 10**12).map(float)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def registries(draw: st.DrawFn) -> CollectorRegistry:
    registry = CollectorRegistry()
    gauge = Gauge("g", draw(_text), ["a", "b"], registry=registry)
    counter = Counter("c", "help", ["a"], registry=registry)
    for a, b in draw(st.lists(st.tuples(_text, _text), max_size=5)):
        gauge.labels(a, b).set(draw(_value))
        counter.labels(a).inc(draw(st.floats(0, 1e12)), exemplar={"t": "x"} if draw(st.booleans()) else None)
    histogram, summary = Histogram("h", "", registry=registry), Summary("s", "", registry=registry)
    for seconds in draw(st.lists(st.floats(0, 100), max_size=5)):
        histogram.observe(seconds)
        summary.observe(seconds)
    return registry


def key(row: tuple[str, dict[str, str], float]) -> tuple[str, list[tuple[str, str]], float]:
    return row[0], sorted(row[1].items()), row[2]


@given(registries())
def test_it_reads_what_prometheus_client_reads(registry: CollectorRegistry) -> None:
    """Text and OpenMetrics, any label value and any float: the same samples as the reference parser's."""
    text = generate_latest(registry).decode()
    ours = [(name, labels, value) for name, labels, value, _ in rows(text)]
    want = [(s.name, {k: v for k, v in s.labels.items() if v}, s.value) for f in their_text(text) for s in f.samples]
    assert sorted(map(key, ours)) == sorted(map(key, want))
    text = generate_openmetrics(registry).decode()
    ours = [(name, labels, value) for name, labels, value, _ in rows(text, open_metrics=True)]
    want = [
        (s.name, {k: v for k, v in s.labels.items() if v}, s.value) for f in their_openmetrics(text) for s in f.samples
    ]
    assert sorted(map(key, ours)) == sorted(map(key, want))


@given(st.lists(st.text(max_size=60), max_size=8), st.booleans())
def test_no_text_raises_anything_else(lines: list[str], open_metrics: bool) -> None:
    """Whatever a target answers is read, or is a BrokenLine."""
    with suppress(BrokenLine):
        read("\n".join(lines), open_metrics=open_metrics)


@given(st.lists(st.text(alphabet='ab_{}"\\,= 1.#eE\tx', max_size=40), max_size=6))
def test_remembering_changes_nothing(lines: list[str]) -> None:
    """A line reads the same when its series is remembered as when it isn't."""
    parser = Parser(plain)
    for line in lines * 2:
        assert outcome(line, parser) == outcome(line, Parser(plain))


def outcome(line: str, parser: Parser) -> object:
    try:
        return [
            (known.name, known.labels, repr(value), stamp) for known, value, stamp in read(line, parser=parser).rows
        ]
    except BrokenLine as broken:
        return str(broken)
