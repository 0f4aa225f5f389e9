"""Compares what the engine gives with what a script expects."""

from __future__ import annotations

import math
import re

from tests.conformance.promqltest.data import Loaded
from tests.conformance.promqltest.notation import SeriesLine, seconds
from tests.conformance.promqltest.script import Eval
from tocsin.errors import EvaluationError, PromQLError
from tocsin.model import Labels, utc
from tocsin.promql import Annotations, Matrix, Plan, Result, Round, Scalar, String, Vector, compile_expr, evaluate_range
from tocsin.promql.native import Histogram

EPSILON = 1e-6
"""Relative, as promqltest's own."""


class Mismatch(AssertionError):
    """The engine gave something else."""


def check(command: Eval, loaded: Loaded, *, strict: bool) -> None:
    """The engine gives what is expected. Raises Mismatch."""
    fails = command.expects("fail")
    try:
        plan = compile_expr(command.expression)
        result = _evaluate(plan, command, loaded)
    except (PromQLError, EvaluationError) as error:
        if not fails:
            raise Mismatch(f"failed: {error}") from error
        if strict:
            _check_failure(command, str(error))
        return
    if fails:
        raise Mismatch("should have failed, but gave a result")
    _compare(command, result)
    if strict:
        _check_annotations(command, result.annotations)
        _check_order(command, result)
    if command.end is None and isinstance(result, Vector) and "sort" not in command.expression:
        _check_as_range(plan, command, loaded, result)


def _evaluate(plan: Plan, command: Eval, loaded: Loaded) -> Result:
    if command.end is None:
        return Round(loaded, utc(command.start)).evaluate(plan)
    return evaluate_range(plan, loaded, utc(command.start), utc(command.end), command.step)


def _check_failure(command: Eval, message: str) -> None:
    for expected in command.expects("fail"):
        if expected.match == "msg" and expected.text not in message:
            raise Mismatch(f"failed with {message!r}, not {expected.text!r}")
        if expected.match == "regex" and not re.search(expected.text, message):
            raise Mismatch(f"failed with {message!r}, which does not match {expected.text!r}")


def _check_annotations(command: Eval, annotations: Annotations) -> None:
    for kind, found in (("warn", annotations.warnings), ("info", annotations.infos)):
        if command.expects(f"no_{kind}") and found:
            raise Mismatch(f"unexpected {kind}: {found}")
        expected = command.expects(kind)
        if expected and not found:
            raise Mismatch(f"no {kind}, but one was expected: {expected}")
        texts = [each for each in expected if each.match]
        for each in texts:
            if not any(_matches(each.match, each.text, text) for text in found):
                raise Mismatch(f"{kind} {found} lacks {each.text!r}")
        for text in found if texts else ():
            if not any(_matches(each.match, each.text, text) for each in texts):
                raise Mismatch(f"{kind} {text!r} was not expected")


def _matches(how: str, expected: str, found: str) -> bool:
    return expected == found if how == "msg" else re.search(expected, found) is not None


def _check_order(command: Eval, result: Result) -> None:
    if command.expects("ordered"):
        expected = [line.labels for line in command.series]
        found = list(result.labels) if isinstance(result, Vector) else []
        if expected != found:
            raise Mismatch(f"order is {found}, not {expected}")


def _compare(command: Eval, result: Result) -> None:
    if isinstance(result, String):
        (expected,) = command.expects("string")
        if expected.text[1:-1] != result.value:
            raise Mismatch(f"string {result.value!r}, not {expected.text}")
    elif isinstance(result, Scalar):
        if command.scalar is None or not close(command.scalar, result.value):
            raise Mismatch(f"scalar {result.value}, not {command.scalar}")
    elif isinstance(result, Vector):
        _same(_instant(command), {labels: {command.start: value} for labels, value in result.samples()})
        _check_hints(command, _instant(command), {labels: {command.start: v} for labels, v in result.samples()})
        if len(dict(result.samples())) != len(result):
            raise Mismatch("two series of the same labels")
    else:
        _same(_points(command), matrix_points(result))
        _check_hints(command, _points(command), matrix_points(result))


Found = dict[Labels, dict[float, float | Histogram]]


def _instant(command: Eval) -> Found:
    return {line.labels: {command.start: line.points[0]} for line in command.series if line.points[0] is not None}


def _points(command: Eval) -> Found:
    start, step = command.start, command.step
    for each in command.expects("range vector"):
        words = each.text.split()
        start, step = seconds(words[1]), seconds(words[5])
    return {line.labels: _timed(line, start, step) for line in command.series}


def _timed(line: SeriesLine, start: float, step: float) -> dict[float, float | Histogram]:
    return {round(start + index * step, 3): point for index, point in enumerate(line.points) if point is not None}


def matrix_points(matrix: Matrix) -> Found:
    """Labels to time to value."""
    found: Found = {}
    for line in matrix:
        natives = [None] * len(line.times) if line.natives is None else line.natives.tolist()
        samples = zip(line.times.tolist(), line.values.tolist(), natives, strict=True)
        found[line.labels] = {at / 1000: value if native is None else native for at, value, native in samples}
    return found


def _same(expected: Found, found: Found) -> None:
    expected = {labels: points for labels, points in expected.items() if points}
    if expected.keys() != found.keys():
        missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
        raise Mismatch(f"missing {sorted(map(str, missing))}, unexpected {sorted(map(str, extra))}")
    for labels, points in expected.items():
        if points.keys() != found[labels].keys():
            raise Mismatch(f"{labels}: at {sorted(found[labels])}, not {sorted(points)}")
        for at, value in points.items():
            if not alike(value, found[labels][at]):
                raise Mismatch(f"{labels} at {at}: {found[labels][at]!r}, not {value!r}")


def _check_hints(command: Eval, expected: Found, found: Found) -> None:
    """Where a line names a hint, all of its hints count: unknown as well."""
    for line in command.series if any(line.hinted for line in command.series) else ():
        for at, value in expected[line.labels].items() if line.hinted else ():
            other = found[line.labels][at]
            if isinstance(value, Histogram) and isinstance(other, Histogram) and value.hint is not other.hint:
                raise Mismatch(f"{line.labels} at {at}: hint {other.hint}, not {value.hint}")


def alike(expected: float | Histogram, found: float | Histogram) -> bool:
    """Numbers that are close, or histograms whose figures all are."""
    if isinstance(expected, Histogram) and isinstance(found, Histogram):
        return _alike_histograms(expected, found)
    if isinstance(expected, Histogram) or isinstance(found, Histogram):
        return False
    return close(expected, found)


def _alike_histograms(expected: Histogram, found: Histogram) -> bool:
    if (expected.schema, expected.bounds) != (found.schema, found.bounds):
        return False
    pairs = [
        (expected.count, found.count), (expected.sum, found.sum), (expected.zero_count, found.zero_count),
        (expected.zero_threshold, found.zero_threshold),
    ]  # fmt: skip
    for mine, theirs in ((expected.positive, found.positive), (expected.negative, found.negative)):
        pairs += [(mine.get(index, 0.0), theirs.get(index, 0.0)) for index in {*mine, *theirs}]
    return all(close(a, b) for a, b in pairs)


def close(a: float, b: float) -> bool:
    """Equal within EPSILON, relative; NaN equals NaN. Source: prometheus/util/almost."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if a == b:
        return True
    total = abs(a) + abs(b)
    if a == 0 or b == 0 or total < 2.2250738585072014e-308:
        return abs(a - b) < EPSILON * 2.2250738585072014e-308
    return abs(a - b) / min(total, 1.7976931348623157e308) < EPSILON


def _check_as_range(plan: Plan, command: Eval, loaded: Loaded, result: Vector) -> None:
    """The same query over three steps gives, at the middle one, what the instant query gave."""
    if any(token in command.expression for token in ("step()", "range()", "start()", "end()")):
        return
    at = command.start
    try:
        matrix = evaluate_range(plan, loaded, utc(at - 60), utc(at + 60), 60.0)
    except EvaluationError:
        return  # Another step may rightly fail.
    middle = {labels: points[at] for labels, points in matrix_points(matrix).items() if at in points}
    try:
        _same({k: {at: v} for k, v in result.samples()}, {k: {at: v} for k, v in middle.items()})
    except Mismatch as error:
        raise Mismatch(f"as a range query: {error}") from None
