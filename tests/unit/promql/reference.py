"""A slow, obvious evaluator: one step, one series, one sample at a time, straight from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from tocsin.errors import EvaluationError
from tocsin.model import Labels, MatchOp, is_stale
from tocsin.promql.matchers import compile_regex
from tocsin.promql.syntax import Aggregate, Binary, Call, Node, Number, Paren, Selector, Subquery, Unary

Points = list[tuple[int, float]]
Data = dict[Labels, Points]
Vector = dict[Labels, float]


@dataclass
class Reference:
    """Evaluates over `data`: label sets (with __name__) to samples in time order, times in milliseconds."""

    data: Data

    def at(self, node: Node, now: int) -> Vector | float:
        """The value at one instant; names are left out at the end of each function, as Prometheus 2 did."""
        match node:
            case Paren():
                return self.at(node.expr, now)
            case Number():
                return node.value
            case Unary():
                value = self.at(node.expr, now)
                return -value if isinstance(value, float) else apart((nameless(k), -v) for k, v in value.items())
            case Selector():
                return self.current(node, now)
            case Call():
                return self.call(node, now)
            case Aggregate():
                return self.aggregate(node, now)
            case Binary():
                return self.binary(node, now)
        raise NotImplementedError(type(node))

    def matching(self, node: Selector) -> Data:
        def fits(labels: Labels) -> bool:
            for matcher in node.matchers:
                value = labels.get(matcher.name, "")
                if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
                    hit = value == matcher.value
                else:
                    hit = compile_regex(matcher.value).fullmatch(value) is not None
                if hit is (matcher.op in (MatchOp.NOT_EQUAL, MatchOp.NOT_REGEX)):
                    return False
            return True

        return {labels: points for labels, points in self.data.items() if fits(labels)}

    def current(self, node: Selector, now: int) -> Vector:
        now -= shift(node)
        found = {}
        for labels, points in self.matching(node).items():
            past = [(at, value) for at, value in points if now - 300_000 < at <= now]
            if past and not is_stale(past[-1][1]):
                found[labels] = past[-1][1]
        return found

    def window(self, node: Node, now: int) -> tuple[Data, int, int]:
        """The samples in (start, end] of each series."""
        if isinstance(node, Paren):
            return self.window(node.expr, now)
        assert isinstance(node, Selector | Subquery)
        assert node.window is not None
        end = now - shift(node)
        start = end - round(node.window.value * 1000)
        if isinstance(node, Selector):
            series = {
                labels: [(at, v) for at, v in points if start < at <= end and not is_stale(v)]
                for labels, points in self.matching(node).items()
            }
            return {labels: points for labels, points in series.items() if points}, start, end
        step = round(node.step.value * 1000) if node.step else 60_000
        gathered: Data = {}
        at = start // step * step + step
        while at <= end:
            inner = self.at(node.expr, at)
            assert isinstance(inner, dict)
            for labels, value in inner.items():
                gathered.setdefault(labels, []).append((at, value))
            at += step
        return gathered, start, end

    def call(self, node: Call, now: int) -> Vector:
        if node.function in OVER_TIME:
            series, start, end = self.window(node.args[-1], now)
            keep = node.function == "last_over_time"
            outcomes = ((labels, OVER_TIME[node.function](points, start, end)) for labels, points in series.items())
            return apart((labels if keep else nameless(labels), each) for labels, each in outcomes if each is not None)
        value = self.at(node.args[0], now)
        assert isinstance(value, dict)
        return apart((nameless(labels), PLAIN[node.function](each)) for labels, each in value.items())

    def aggregate(self, node: Aggregate, now: int) -> Vector:
        value = self.at(node.expr, now)
        assert isinstance(value, dict)
        groups: dict[Labels, list[float]] = {}
        for labels, each in value.items():
            key = labels.without("__name__", *node.labels) if node.without else labels.only(*node.labels)
            groups.setdefault(key, []).append(each)
        if node.op == "quantile":
            assert isinstance(node.param, Number)
            return {key: quantile(node.param.value, values) for key, values in groups.items()}
        return {key: AGGREGATE[node.op](values) for key, values in groups.items()}

    def binary(self, node: Binary, now: int) -> Vector | float:
        left, right = self.at(node.left, now), self.at(node.right, now)
        if isinstance(left, float) and isinstance(right, float):
            return float(OPERATORS[node.op](left, right))
        if isinstance(left, dict) and isinstance(right, dict):
            return self.vectors(node, left, right)
        results: list[tuple[Labels, float]] = []
        for labels, value in (left if isinstance(left, dict) else right).items():  # type: ignore[union-attr]
            a, b = (value, right) if isinstance(left, dict) else (left, value)
            outcome = OPERATORS[node.op](a, b)  # type: ignore[arg-type]
            if node.op not in COMPARISONS or node.bool_:
                results.append((nameless(labels), float(outcome)))
            elif outcome:
                results.append((labels, value))
        return apart(results)

    def vectors(self, node: Binary, left: Vector, right: Vector) -> Vector:
        matching = node.matching
        assert matching is not None

        def key(labels: Labels) -> Labels:
            return labels.only(*matching.labels) if matching.on else labels.without("__name__", *matching.labels)

        theirs = {key(labels) for labels in right}
        mine = {key(labels) for labels in left}
        match node.op:
            case "and":
                return {labels: value for labels, value in left.items() if key(labels) in theirs}
            case "unless":
                return {labels: value for labels, value in left.items() if key(labels) not in theirs}
            case "or":
                return {**left, **{labels: value for labels, value in right.items() if key(labels) not in mine}}
        if not left or not right:
            return {}
        if len(theirs) < len(right):
            raise EvaluationError("found duplicate series")
        ones = {key(labels): value for labels, value in right.items()}
        results: list[tuple[Labels, float]] = []
        seen = set()
        many = matching.card == "many-to-one"
        for labels, value in left.items():
            where = key(labels)
            if where not in ones:
                continue
            if where in seen and not many:
                raise EvaluationError("multiple matches")
            seen.add(where)
            outcome = OPERATORS[node.op](value, ones[where])
            kept = labels.only(*matching.labels) if matching.on else labels.without(*matching.labels)
            if many:
                kept = labels
            if node.op not in COMPARISONS or node.bool_:
                results.append((nameless(kept), float(outcome)))
            elif outcome:
                results.append((kept, value))
        return apart(results)


def shift(node: Selector | Subquery) -> int:
    return 0 if node.offset is None else round(node.offset.seconds(0, 0) * 1000)


def nameless(labels: Labels) -> Labels:
    return labels.without("__name__")


def apart(results: Iterable[tuple[Labels, float]]) -> Vector:
    """As a vector; two series of the same labels are an error."""
    listed = list(results)
    vector = dict(listed)
    if len(vector) < len(listed):
        raise EvaluationError("vector cannot contain metrics with the same labelset")
    return vector


def extrapolated(points: Points, start: int, end: int, *, counter: bool, per_second: bool) -> float | None:
    """As described in Prometheus' documentation of rate(), one line per sentence."""
    if len(points) < 2:
        return None
    (first_at, first), (last_at, last) = points[0], points[-1]
    change = last - first
    if counter:
        change += sum(a for (_, a), (_, b) in pairwise(points) if b < a)
    sampled = (last_at - first_at) / 1000
    spacing = sampled / (len(points) - 1)
    before, after = (first_at - start) / 1000, (end - last_at) / 1000
    if before >= spacing * 1.1:
        before = spacing / 2
    if counter and change > 0 and first >= 0:
        before = min(before, sampled * (first / change))
    if after >= spacing * 1.1:
        after = spacing / 2
    result = change * ((sampled + before + after) / sampled)
    return result / ((end - start) / 1000) if per_second else result


def irate(points: Points, start: int, end: int) -> float | None:
    if len(points) < 2:
        return None
    (earlier, a), (later, b) = points[-2:]
    return (b if b < a else b - a) / ((later - earlier) / 1000)


def numbers(function: Callable[[list[float]], float]) -> Callable[[Points, int, int], float | None]:
    return lambda points, start, end: function([value for _, value in points])


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values) / len(values)


def variance(values: list[float]) -> float:
    return mean([(value - mean(values)) ** 2 for value in values])


def extreme(pick: Callable[[list[float]], float]) -> Callable[[list[float]], float]:
    return lambda values: pick([v for v in values if not math.isnan(v)] or [math.nan])


def total(values: list[float]) -> float:
    return mean(values) * len(values) if not all(map(math.isfinite, values)) else math.fsum(values)


def quantile(q: float, values: list[float]) -> float:
    """On the line between the two neighbours of the rank; NaN counts as the least."""
    ordered = sorted(values, key=lambda value: -math.inf if math.isnan(value) else value)
    ordered.sort(key=lambda value: not math.isnan(value))
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    share = rank - low
    return ordered[low] * (1 - share) + ordered[high] * share


def pairs(values: list[float], event: Callable[[float, float], bool]) -> float:
    return float(sum(event(a, b) for a, b in pairwise(values)))


OVER_TIME: dict[str, Callable[[Points, int, int], float | None]] = {
    "rate": lambda p, s, e: extrapolated(p, s, e, counter=True, per_second=True),
    "increase": lambda p, s, e: extrapolated(p, s, e, counter=True, per_second=False),
    "delta": lambda p, s, e: extrapolated(p, s, e, counter=False, per_second=False),
    "irate": irate,
    "sum_over_time": numbers(total),
    "avg_over_time": numbers(mean),
    "min_over_time": numbers(extreme(min)),
    "max_over_time": numbers(extreme(max)),
    "count_over_time": numbers(lambda values: float(len(values))),
    "last_over_time": numbers(lambda values: values[-1]),
    "stdvar_over_time": numbers(variance),
    "changes": numbers(lambda v: pairs(v, lambda a, b: a != b and not (math.isnan(a) and math.isnan(b)))),
    "resets": numbers(lambda v: pairs(v, lambda a, b: b < a)),
}
PLAIN: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "ceil": lambda v: math.ceil(v) if math.isfinite(v) else v,
    "sgn": lambda v: v if math.isnan(v) else math.copysign(1, v) if v else 0.0,
}
AGGREGATE: dict[str, Callable[[list[float]], float]] = {
    "sum": total, "avg": mean, "min": extreme(min), "max": extreme(max), "count": lambda v: float(len(v)),
    "stdvar": variance,
}  # fmt: skip
COMPARISONS = ("==", "!=", "<", ">", "<=", ">=")
OPERATORS: dict[str, Callable[[float, float], float | bool]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b, "<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}  # fmt: skip
