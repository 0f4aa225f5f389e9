"""rate, increase, delta, irate and idelta of native histograms.

Source: prometheus/promql/functions.go, extrapolatedRate(), histogramRate(), instantValue().
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.promql.native.arithmetic import added, divided, scaled, subtracted, to_schema
from tocsin.promql.native.value import Hint, Histogram, Incompatible
from tocsin.promql.native.window import MIXED, Point, Value, Window, anew


def extrapolated(*, counter: bool, per_second: bool) -> Callable[[Window], Value | None]:
    """rate, increase (counter) or delta."""

    def function(window: Window) -> Value | None:
        if window.is_mixed:
            window.warn(MIXED)
            return None
        points = _from_start(window) if counter else window.points
        if len(points) < 2:
            return None
        change = change_of(window, points, counter=counter)
        # From one sample and the start of its counter alone nothing is said of the time after them.
        factor = 1.0 if len(window.points) == 1 else _stretch(window, points, change, counter=counter)
        if per_second:
            factor /= (window.end - window.start) / 1000
        return scaled(change, factor)

    return function


def _from_start(window: Window) -> list[Point]:
    """Where a start time inside the window is known, the counter stood at 0 then: one sample more."""
    first = window.points[0]
    if not window.start < first.began < first.at or not first.began or not isinstance(first.value, Histogram):
        return window.points
    nothing = Histogram(
        schema=first.value.schema, bounds=first.value.bounds, zero_threshold=first.value.zero_threshold,
    )  # fmt: skip
    return [Point(first.began, nothing), *window.points]


def change_of(window: Window, points: Sequence[Point], *, counter: bool) -> Histogram:
    """From the first sample to the last, what resets took away given back. Raises Incompatible."""
    found = [point.value for point in points if isinstance(point.value, Histogram)]
    first, last = found[0], found[-1]
    wrong = found if counter else [first, last]
    if any((each.hint is Hint.GAUGE) is counter for each in wrong):
        window.kind("counter" if counter else "gauge")
    if counter and anew(points, 1, found[1], first):
        # The layout of a sample that a reset follows does not matter.
        first = Histogram(schema=found[1].schema, bounds=found[1].bounds)
    if any(each.custom != first.custom for each in (found[1:] if counter else [last])):
        raise Incompatible
    coarsest = min(each.schema for each in ([first, *found[1:]] if counter else [first, last]))
    change = window.checked(subtracted(to_schema(last, coarsest), first), "subtraction")
    before = first
    for index, now in enumerate(found[1:], start=1) if counter else ():
        if anew(points, index, now, before):
            change = window.checked(added(change, before), "addition")
        before = now
    return change.hinted(Hint.GAUGE)


def _stretch(window: Window, points: Sequence[Point], change: Histogram, *, counter: bool) -> float:
    """How much larger the change is over the whole window. As rates.extrapolated() does it for numbers."""
    first, last = points[0], points[-1]
    assert isinstance(first.value, Histogram)
    sampled = (last.at - first.at) / 1000
    average = sampled / (len(points) - 1)
    to_start, to_end = (first.at - window.start) / 1000, (window.end - last.at) / 1000
    if to_start >= average * 1.1:
        to_start = average / 2
    if counter and change.count > 0 and first.value.count >= 0:
        to_start = min(to_start, sampled * (first.value.count / change.count))
    if to_end >= average * 1.1:
        to_end = average / 2
    return (sampled + to_start + to_end) / sampled


def instant(*, counter: bool) -> Callable[[Window], Value | None]:
    """irate (counter) or idelta: the last two samples."""

    def function(window: Window) -> Value | None:
        if len(window.points) < 2:
            return None
        points = window.points[-2:]
        before, now = points[0].value, points[1].value
        if not isinstance(before, Histogram) or not isinstance(now, Histogram):
            return _instant_of_numbers(window, points, counter=counter)
        if any((each.hint is Hint.GAUGE) is counter for each in (before, now)):
            window.kind("counter" if counter else "gauge")
        result = now
        if not counter or not anew(points, 1, now, before):
            result = window.checked(subtracted(now, before), "subtraction")
        result = result.hinted(Hint.GAUGE)
        return divided(result, (points[1].at - points[0].at) / 1000) if counter else result

    return function


def _instant_of_numbers(window: Window, points: Sequence[Point], *, counter: bool) -> float | None:
    """Of a window whose histograms lie further back, or of a number beside a histogram: nothing."""
    before, now = points[0].value, points[1].value
    if isinstance(before, Histogram) or isinstance(now, Histogram):
        window.warn(MIXED)
        return None
    if not counter:
        return now - before
    return (now if now < before else now - before) / ((points[1].at - points[0].at) / 1000)
