"""What a step sees of a series in which native histograms lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tocsin.promql.engine import Engine
from tocsin.promql.native.arithmetic import Sum, was_reset
from tocsin.promql.native.value import Histogram
from tocsin.promql.rates import restarted
from tocsin.promql.syntax import Node

Value = float | Histogram

MIXED = "encountered a mix of histograms and floats"


class Point(NamedTuple):
    """A sample."""

    at: int
    """Milliseconds."""
    value: Value
    began: int = 0
    """When its counter began, 0 where not known."""


@dataclass(slots=True)
class Window:
    """What a step sees of a series, and where to say what is odd about it."""

    engine: Engine
    node: Node
    about: Node
    function: str
    metric: str
    start: int
    end: int
    points: list[Point]

    def warn(self, text: str, *, named: bool = True) -> None:
        self.engine.warn(f'{text} for metric name "{self.metric}"' if named else text, self.about, self.node)

    def inform(self, text: str) -> None:
        self.engine.inform(text, self.about, self.node)

    def kind(self, wanted: str) -> None:
        """It is used as a counter or a gauge, and is not."""
        self.warn(f'this native histogram metric is not a {wanted}: "{self.metric}"', named=False)

    def histograms(self) -> list[Histogram]:
        return [point.value for point in self.points if isinstance(point.value, Histogram)]

    @property
    def is_mixed(self) -> bool:
        return len(self.histograms()) < len(self.points)

    def checked(self, outcome: Sum, doing: str) -> Histogram:
        """The value of a sum; that bounds differed is told."""
        if outcome.reconciled:
            self.inform(f"mismatched custom buckets were reconciled during {doing}")
        return outcome.value


def anew(points: Sequence[Point], index: int, now: Histogram, before: Histogram) -> bool:
    """Whether a counter began anew between a point and the one before it."""
    earlier, later = points[index - 1], points[index]
    if later.began and bool(restarted(earlier.began, later.began, earlier.at, later.at)):  # type: ignore[arg-type]
        return True
    return was_reset(now, before)


def events(happened: Callable[[Sequence[Point], int], bool]) -> Callable[[Window], float]:
    """How many neighbours show it; from a number to a histogram and back always counts."""

    def function(window: Window) -> float:
        points = window.points
        return float(
            sum(
                isinstance(points[i].value, Histogram) != isinstance(points[i - 1].value, Histogram)
                or happened(points, i)
                for i in range(1, len(points))
            )
        )

    return function


def changed(points: Sequence[Point], index: int) -> bool:
    """Whether a point differs from the one before it; from NaN to NaN is no change."""
    before, now = points[index - 1].value, points[index].value
    if isinstance(before, Histogram) and isinstance(now, Histogram):
        return not now.equals(before)
    return before != now and (before == before or now == now)


def restarted_at(points: Sequence[Point], index: int) -> bool:
    """Whether a counter fell, or began anew, between a point and the one before it."""
    before, now = points[index - 1].value, points[index].value
    if isinstance(before, Histogram) and isinstance(now, Histogram):
        return anew(points, index, now, before)
    assert not isinstance(before, Histogram)
    assert not isinstance(now, Histogram)
    return now < before
