"""`anchored` and `smoothed` over native histograms: as tocsin.promql.edges does it for numbers.

Source: prometheus/promql/functions.go, extendedHistogramRate(), interpolateHistograms().
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tocsin.promql.native.arithmetic import added, scaled, subtracted
from tocsin.promql.native.rates import change_of
from tocsin.promql.native.value import Hint, Histogram, Incompatible
from tocsin.promql.native.window import MIXED, Point, Value, Window, anew, changed, events, restarted_at

Function = Callable[[Window], Value | None]


def _per_second(window: Window, change: Histogram) -> Histogram:
    if window.function != "rate":
        return change
    return scaled(change, 1000 / (window.end - window.start))


def _over(window: Window, points: Sequence[Point]) -> Value | None:
    """The change from the first point to the last; of one point, nothing changed."""
    if any(not isinstance(point.value, Histogram) for point in points):
        window.warn(MIXED)
        return None
    whole = points if len(points) > 1 else [*points, *points]
    return _per_second(window, change_of(window, whole, counter=window.function != "delta"))


def _anchored(window: Window) -> Value | None:
    return _over(window, window.points) if window.points[-1].at > window.start else None


def _anchored_events(happened: Callable[[Sequence[Point], int], bool]) -> Function:
    count = events(happened)
    return lambda window: count(window) if window.points[-1].at > window.start else None


def _smoothed(window: Window) -> Value | None:
    """Both edges lie on the lines between their neighbours."""
    before = [point for point in window.points if point.at <= window.start]
    inside = [point for point in window.points if window.start < point.at <= window.end]
    after = [point for point in window.points if point.at > window.end]
    if not inside and not (before and after):
        return None
    if window.is_mixed:
        window.warn(MIXED)
        return None
    counter = window.function != "delta"
    points = inside
    if before:
        left = interpolated(before[-1], (inside or after)[0], window.start, counter=counter)
        # What the first sample's hint says of the one before does not hold of the edge.
        points = [left, *(_unhinted(point) for point in inside[:1]), *inside[1:]]
    if after and not (inside and inside[-1].at == window.end):
        points = [*points, interpolated((inside or before)[-1], after[0], window.end, counter=counter)]
    return _over(window, points)


def _unhinted(point: Point) -> Point:
    assert isinstance(point.value, Histogram)
    return point._replace(value=point.value.between_others(), began=0)


def interpolated(earlier: Point, later: Point, at: int, *, counter: bool) -> Point:
    """The point at `at` on the line between two; a counter that began anew between them began at 0.

    Raises Incompatible.
    """
    a, b = earlier.value, later.value
    assert isinstance(a, Histogram)
    assert isinstance(b, Histogram)
    if earlier.at == at:
        return _unhinted(earlier)
    if a.custom != b.custom:
        raise Incompatible
    share = (at - earlier.at) / (later.at - earlier.at)
    gauge = Hint.GAUGE in (a.hint, b.hint)
    if counter and anew((earlier, later), 1, b, a):
        value = scaled(b, share)
    else:
        value = added(a, scaled(subtracted(b, a).value, share)).value
    return Point(at, value.hinted(Hint.GAUGE if gauge else Hint.UNKNOWN))


ANCHORED: Final[dict[str, Function]] = {
    **dict.fromkeys(("rate", "increase", "delta"), _anchored),
    "changes": _anchored_events(changed),
    "resets": _anchored_events(restarted_at),
}
SMOOTHED: Final[dict[str, Function]] = dict.fromkeys(("rate", "increase", "delta"), _smoothed)


def at_instant(window: Window) -> Value | None:
    """A smoothed instant vector: interpolated between the samples around the window's middle."""
    now = (window.start + window.end) // 2
    before = [point for point in window.points if point.at <= now]
    if not before:
        return None
    if window.is_mixed:
        window.warn(MIXED)
        return None
    after = window.points[len(before) :]
    last = before[-1].value
    if not after or before[-1].at == now or not isinstance(last, Histogram):
        return last
    return interpolated(before[-1], after[0], now, counter=last.hint is not Hint.GAUGE).value
