"""The engine and a slow, obvious evaluator give the same answers to random questions about random data."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.promql import reference
from tocsin.errors import EvaluationError
from tocsin.model import STALE, Labels, Sample, utc
from tocsin.promql import Matrix, Round, Vector, compile_expr, evaluate_range
from tocsin.promql.parse import parse
from tocsin.series import Store

BASE = 1_767_225_600
VALUES = st.one_of(
    st.integers(-5, 60).map(float), st.floats(-1e6, 1e6, allow_nan=False), st.sampled_from([math.nan, STALE, math.inf])
)
LABELS = [Labels(__name__=name, a=a, b=b) for name in ("m", "n") for a in ("x", "y") for b in ("1", "2")]


@st.composite
def data(draw: st.DrawFn) -> reference.Data:
    """A few series; some polls bring all, some a part, at irregular times."""
    chosen = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=6, unique=True))
    points: reference.Data = {labels: [] for labels in chosen}
    at = BASE * 1000
    for _ in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from([15_000, 15_000, 15_000, 1_000, 47_123, 400_000]))
        absent = draw(st.sets(st.sampled_from(chosen), max_size=2)) if draw(st.booleans()) else set()
        for labels in chosen:
            if labels not in absent:
                points[labels].append((at, draw(VALUES)))
    return points


MATCHERS = st.sampled_from(
    ["m", "n", 'm{a="x"}', '{a=~"x|y", b="1"}', 'm{b!="2"}', 'n{a!~"y.*"}', '{__name__=~"m|n", b="2"}']
)
OFFSETS = st.sampled_from(["", "", " offset 1m", " offset -30s"])
WINDOWS = st.sampled_from(["[1m]", "[5m]", "[47s]", "[20m]"])
RANGES = st.one_of(st.tuples(MATCHERS, WINDOWS, OFFSETS).map("".join))
GROUPINGS = st.sampled_from(["", " by (a)", " by (b, a)", " without (a)", " without ()"])
MATCHING = st.sampled_from(["", " on (a)", " ignoring (b)", " on (a, b)", " on ()"])


def _deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    plain = st.sampled_from(sorted(reference.PLAIN))
    return st.one_of(
        st.tuples(st.sampled_from(sorted(reference.AGGREGATE)), GROUPINGS, inner).map(
            lambda t: f"{t[0]}{t[1]} ({t[2]})"
        ),
        st.tuples(plain, inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, st.sampled_from(["+", "-", "*", "> bool", "<=", "!="]), st.sampled_from(["2", "0"])).map(
            " ".join
        ),
        st.tuples(inner, st.sampled_from(["+", "-", "==", ">", "< bool", "and", "or", "unless"]), MATCHING, inner).map(
            lambda t: f"({t[0]}) {t[1]}{t[2]} ({t[3]})"
        ),
        st.tuples(st.sampled_from(["sum_over_time", "max_over_time", "rate", "changes"]), inner).map(
            lambda t: f"{t[0]}(({t[1]})[3m:40s])"
        ),
        st.tuples(st.sampled_from(["+", "> bool", "<"]), st.sampled_from(["a", "b"]), inner, inner).map(
            lambda t: f"({t[2]}) {t[0]} on ({t[1]}) group_left () (max by ({t[1]}) ({t[3]}))"
        ),
        st.tuples(st.sampled_from(["0", "0.3", "0.5", "1"]), GROUPINGS, inner).map(
            lambda t: f"quantile{t[1]} ({t[0]}, {t[2]})"
        ),
        inner.map(lambda text: f"-({text})"),
    )


LEAVES = st.one_of(
    st.tuples(MATCHERS, OFFSETS).map("".join),
    st.tuples(st.sampled_from(sorted(reference.OVER_TIME)), RANGES).map(lambda t: f"{t[0]}({t[1]})"),
)
EXPRESSIONS = st.recursive(LEAVES, _deeper, max_leaves=3)


def stored(points: reference.Data) -> Store:
    store = Store(retention=1e9)
    samples = [
        Sample(name=labels["__name__"], labels=labels.without("__name__"), value=value, at=utc(at / 1000))
        for labels, each in points.items()
        for at, value in each
    ]
    for at in sorted({sample.at for sample in samples}):
        store.append([sample for sample in samples if sample.at == at])
    return store


def expected(points: reference.Data, text: str, now: int) -> reference.Vector | None:
    """None where the reference refuses, or meets what only delayed name removal can tell apart."""
    try:
        value = reference.Reference(points).at(parse(text), now)
    except EvaluationError:
        return None
    assert isinstance(value, dict)
    return value


def close(a: float, b: float) -> bool:
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(points=data(), text=EXPRESSIONS, start=st.integers(0, 900))
def test_the_engine_gives_what_the_reference_gives(points: reference.Data, text: str, start: int) -> None:
    """At single instants, and at many steps at once."""
    store = stored(points)
    plan = compile_expr(text)
    first, step, count = BASE + start, 73, 9
    instants = [first + step * number for number in range(count)]
    wanted = {now: expected(points, text, now * 1000) for now in instants}
    try:
        matrix: Matrix | None = evaluate_range(plan, store, utc(first), utc(instants[-1]), step)
    except EvaluationError:
        matrix = None
    for now in instants:
        want = wanted[now]
        if want is None:
            continue
        try:
            result = Round(store, utc(now)).evaluate(plan)
        except EvaluationError as error:
            # The reference drops names early; series that the engine keeps apart until the end may clash there.
            if "same labelset" not in str(error):
                raise
            continue
        assert isinstance(result, Vector)
        found = dict(result)
        assert found.keys() == want.keys()
        assert all(close(found[labels], want[labels]) for labels in want), (found, want)
        if matrix is None:
            continue
        row = {
            line.labels: float(line.values[line.times == now * 1000][0])
            for line in matrix
            if (line.times == now * 1000).any()
        }
        if row.keys() == found.keys():
            assert all(close(row[labels], found[labels]) for labels in row), (row, found)
        else:
            # Over a range the first step of a series decides for all whether its name goes, as in Prometheus.
            assert sorted(map(str, map(reference.nameless, row))) == sorted(map(str, map(reference.nameless, found)))
