"""Native histograms: what is added up, measured, written and read is the same observations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import EvaluationError
from tocsin.model import Labels, Sample, utc
from tocsin.promql import Round, compile_expr
from tocsin.promql.native import Hint, Histogram, Incompatible
from tocsin.promql.native.arithmetic import added, scaled, subtracted, to_schema, total, was_reset
from tocsin.promql.native.beside import Beside
from tocsin.promql.native.measure import fraction, quantile
from tocsin.promql.native.notation import expression, parse_histogram
from tocsin.promql.native.stored import as_stored
from tocsin.series import Store

ONE = "count:1 buckets:[1]"
some = settings(max_examples=40)


def histogram(text: str) -> Histogram:
    return parse_histogram(text)


def figures(each: Histogram) -> str:
    return expression(each.hinted(Hint.UNKNOWN))


@st.composite
def exponential(draw: st.DrawFn) -> Histogram:
    """Observations as a client library counts them: the zero bucket, and buckets by the schema's bounds."""
    schema = draw(st.integers(-4, 8))
    threshold = draw(st.sampled_from([0.0, 1e-9, 0.5]))
    values = draw(st.lists(st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-12), max_size=20))
    return observed(values, schema, threshold)


def observed(values: list[float], schema: int, threshold: float = 0.0) -> Histogram:
    positive: dict[int, float] = {}
    negative: dict[int, float] = {}
    zero = 0.0
    for value in values:
        if abs(value) <= threshold or value == 0:
            zero += 1
        else:
            index = math.ceil(math.log2(abs(value)) * 2.0**schema)
            side = positive if value > 0 else negative
            side[index] = side.get(index, 0.0) + 1
    return Histogram(
        schema=schema, count=float(len(values)), sum=float(len(values)), zero_count=zero, zero_threshold=threshold,
        positive=positive, negative=negative,
    )  # fmt: skip


def in_buckets(each: Histogram) -> float:
    return sum(bucket.held for bucket in each.buckets())


@some
@given(exponential(), exponential())
def test_a_sum_holds_every_observation_once(a: Histogram, b: Histogram) -> None:
    """Whatever the schemas and zero buckets, and in either order."""
    both, swapped = added(a, b).value, added(b, a).value
    assert in_buckets(both) == both.count == a.count + b.count
    assert figures(swapped) == figures(both)


@some
@given(exponential(), exponential(), exponential())
def test_a_total_is_the_sum_one_by_one(a: Histogram, b: Histogram, c: Histogram) -> None:
    """sum() and `+` agree; the mean of one histogram thrice is that histogram, at its own layout."""
    assert figures(added(added(a, b).value, c).value) == figures(total([a, b, c]).value)
    assert figures(a) == figures(total([a, a, a], mean=True).value)


@some
@given(exponential(), exponential())
def test_subtraction_undoes_addition(a: Histogram, b: Histogram) -> None:
    """But for the layout, which is the coarser of the two; the result is a gauge."""
    back = subtracted(added(a, b).value, b)
    assert (in_buckets(back.value), back.value.count, back.value.hint) == (a.count, a.count, Hint.GAUGE)


@some
@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=20), st.integers(-4, 8), st.integers(0, 12))
def test_a_coarser_schema_is_what_would_have_been_observed(values: list[float], schema: int, by: int) -> None:
    """The same observations counted at the coarser schema in the first place."""
    coarse = max(-4, schema - by)
    assert figures(observed(values, coarse)) == figures(to_schema(observed(values, schema), coarse))


@some
@given(exponential(), st.floats(0.01, 0.99))
def test_a_fraction_up_to_a_quantile_is_its_share(each: Histogram, q: float) -> None:
    """histogram_fraction(-Inf, histogram_quantile(q, h), h) is q, but where the quantile ends a stretch of nothing."""
    value = quantile(q, each).value
    if each.count:
        share = fraction(-math.inf, value, each).value
        above = fraction(-math.inf, math.nextafter(value + abs(value) * 1e-9, math.inf), each).value
        assert share - 1e-6 <= q <= above + 1e-6


@some
@given(exponential(), st.sampled_from(Hint))
def test_what_is_written_is_read_back(each: Histogram, hint: Hint) -> None:
    """With its hint."""
    written = expression(each.hinted(hint))
    assert expression(parse_histogram(written.strip("{}"))) == written


@pytest.mark.parametrize(
    ("before", "now", "reset"),
    [
        ("count:2 buckets:[2]", "count:3 buckets:[3]", False),
        ("count:2 buckets:[2]", "count:1 buckets:[1]", True),
        ("count:2 buckets:[2]", "count:5 buckets:[1 4]", True),
        ("count:2 buckets:[2]", "count:1 buckets:[1] counter_reset_hint:not_reset", False),
        ("count:2 buckets:[2]", "count:3 buckets:[3] counter_reset_hint:reset", True),
        ("schema:1 count:2 buckets:[1 1]", "count:2 buckets:[2] schema:2", True),
        ("schema:1 count:2 buckets:[0 1 1]", "schema:0 count:2 buckets:[0 2]", False),
        ("count:2 z_bucket:2 z_bucket_w:0.1", "count:3 z_bucket:3 z_bucket_w:0.01", True),
        (
            "schema:-53 count:1 custom_values:[1 2] buckets:[1]",
            "schema:-53 count:1 custom_values:[2] buckets:[1]",
            False,
        ),
        ("schema:-53 count:1 custom_values:[1] buckets:[1]", "count:1 buckets:[1]", True),
    ],
)
def test_resets_are_seen(before: str, now: str, reset: bool) -> None:
    """By the hint, or where anything fell or became finer."""
    assert was_reset(histogram(now), histogram(before)) is reset


def test_exponential_and_custom_buckets_do_not_add_up() -> None:
    """Nothing could be said of both."""
    with pytest.raises(Incompatible):
        added(histogram("count:1 buckets:[1]"), histogram("schema:-53 count:1 custom_values:[1] buckets:[1]"))


def test_bounds_that_differ_come_down_to_those_that_both_have() -> None:
    """And it is told."""
    a = histogram("schema:-53 count:4 custom_values:[1 2 4] buckets:[1 1 1 1]")
    b = histogram("schema:-53 count:2 custom_values:[2 3] buckets:[1 0 1]")
    outcome = added(a, b)
    assert (figures(outcome.value), outcome.reconciled) == (
        "{{schema:-53 count:6 custom_values:[2] buckets:[3 3]}}", True,
    )  # fmt: skip


def test_less_than_nothing_is_a_gauge() -> None:
    """A counter never falls."""
    assert scaled(histogram("count:1 buckets:[1]"), -1).hint is Hint.GAUGE


def test_a_store_says_of_a_chunks_first_sample_nothing() -> None:
    """Within a chunk a counter goes on; a reset or another layout begins a new one."""
    counts = ["count:1", "count:2", "count:1", "count:2", "schema:1 count:3", "count:4 counter_reset_hint:gauge"]
    hints = [each.hint.value for each in as_stored(map(histogram, counts)) if isinstance(each, Histogram)]
    assert hints == ["unknown", "not_reset", "unknown", "not_reset", "unknown", "gauge"]


@pytest.fixture
def mixed() -> Beside:
    """`h` is a histogram at 0, 1 and 2 minutes; `m` a number beside it, on the same labels but `kind`."""
    storage = Beside(Store(retention=1e9))
    for minute in range(3):
        value = histogram(f"sum:{minute + 1} count:{minute + 1} buckets:[{minute + 1}]")
        storage.put(Labels(__name__="h", kind="native"), minute * 60_000, value)
        storage.append([Sample(name="m", labels=Labels(kind="float"), value=float(minute), at=utc(minute * 60))])
    return storage


@pytest.mark.parametrize(
    "expression", ["h", "h * 2", "rate(h[2m1s])", "sum(h)", "h or m", "label_replace(h, 'a', 'b', '', '')"]
)
def test_a_histogram_never_passes_for_a_number(mixed: Beside, expression: str) -> None:
    """Whoever wants numbers of such a result is told what to ask instead."""
    result = Round(mixed, utc(120)).evaluate(compile_expr(expression))
    with pytest.raises(EvaluationError, match=r"use histogram_quantile\(\)"):
        list(result)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "numbers", "told"),
    [
        ("histogram_count(h)", [3.0], ""),
        ("histogram_sum(increase(h[2m1s]))", [2 * 121 / 120], ""),
        ("histogram_avg(h)", [1.0], ""),
        ("histogram_quantile(0.5, h)", [0.7071067811865476], ""),
        ("count({kind=~'.+'})", [2.0], ""),
        ("abs({kind=~'.+'})", [2.0], ""),
        ("{kind=~'.+'} > 1", [2.0], "incompatible sample types"),
        ("max({kind=~'.+'})", [2.0], "ignored histogram in max aggregation"),
        ("sum({kind=~'.+'})", [], "encountered a mix of histograms and floats in aggregation"),
        ("h + on () m", [], "incompatible sample types"),
        ("h == on () h", None, ""),
        ("max_over_time(h[2m])", [], ""),
    ],
)
def test_numbers_of_histograms(mixed: Beside, expression: str, numbers: list[float] | None, told: str) -> None:
    """What a histogram has no number for is left out, and where Prometheus says so, it is said."""
    result = Round(mixed, utc(120)).evaluate(compile_expr(expression))
    notes = (*result.annotations.warnings, *result.annotations.infos)
    if numbers is not None:
        assert [value for _, value in result] == pytest.approx(numbers)  # type: ignore[union-attr]
    assert any(told in note for note in notes) if told else not notes
