"""What a unit-test file says: input series, and what is expected of alerts and expressions when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tocsin.model import NO_LABELS, Labels, Seconds, utc
from tocsin.promql.native import Histogram


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSeries:
    """A series that is stored while the test runs."""

    labels: Labels
    """With `__name__`."""
    values: tuple[float | Histogram | None, ...]
    """One per interval from the start; None: no sample, STALE: the end."""
    histogram: bool = False
    """Some of the values are native histograms."""

    @property
    def name(self) -> str:
        return self.labels.get("__name__", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertCase:
    """The alerts of a name that must be firing at a time: all of them, and no other."""

    at: Seconds
    """Since the start of the test."""
    alertname: str
    expected: tuple[tuple[Labels, Labels], ...]
    """(labels with alertname, annotations)"""
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedSample:
    """A sample that an expression must yield."""

    labels: Labels
    value: float | Histogram


@dataclass(frozen=True, kw_only=True, slots=True)
class ExprCase:
    """The samples that an expression must yield at a time: all of them, and no other."""

    at: Seconds
    expr: str
    expected: tuple[ExpectedSample, ...]
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitTest:
    """One item of `tests`."""

    name: str
    """As it is written, or `unnamed#0`."""
    line: int
    interval: Seconds
    """Between the values of the input series."""
    series: tuple[InputSeries, ...] = ()
    alerts: tuple[AlertCase, ...] = ()
    expressions: tuple[ExprCase, ...] = ()
    external_labels: Labels = NO_LABELS
    external_url: str = ""
    start: datetime = field(default_factory=lambda: utc(0))

    @property
    def last(self) -> Seconds:
        """The time of the latest case: so long does the test run."""
        times = [case.at for case in self.alerts] + [case.at for case in self.expressions]
        return max(times, default=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitTestFile:
    """A file of unit tests and the rule files that it names."""

    file: str
    rule_files: tuple[Path, ...]
    interval: Seconds
    """Between evaluations."""
    order: tuple[str, ...] = ()
    """Groups that are evaluated in this order; the others come first, as they are written."""
    fuzzy: bool = False
    """Values may differ in the last bit."""
    tests: tuple[UnitTest, ...] = ()
    missing: tuple[str, ...] = ()
    """Patterns of `rule_files` that name no file: promtool warns and goes on."""
