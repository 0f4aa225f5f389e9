"""Runs unit tests: stores the input series as time goes by, evaluates the rules, compares.

    outcome = run_unit_tests(read_unit_tests(path), load_rules(...), make_store=Store)
    outcome.passed, outcome.findings

The rules run every `evaluation_interval` from the start to the latest case, each time on what has been stored until
then, as promtool does it; so a file passes here when it passes there. The same engine, state machine and templates
run as in the daemon: nothing can tell the difference but the clock. Where it makes no difference the evaluations
between two cases are made at once (`strided`); a test in which a rule fails goes step by step, to say at which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from tocsin.durations import format_duration
from tocsin.errors import TocsinError
from tocsin.model import METRIC_NAME, Alert, AlertState, Sample, Seconds
from tocsin.promql import Round, Storage, Vector, compile_expr
from tocsin.promql.native import Histogram
from tocsin.promql.native.beside import Beside
from tocsin.promql.native.notation import expression

from ..evaluate import NO_MEMORY, GroupMemory, ProblemKind, RuleProblem, evaluate_group
from ..rule import Group
from ..strides import Strides
from ..vectors import pairs
from .cases import AlertCase, ExprCase, UnitTest, UnitTestFile
from .report import alerts_differ, samples_differ
from .strided import Ground, in_strides


class Store(Storage, Protocol):
    """Where a test's samples go and are read from; tocsin.series' Store is one."""

    def append(self, samples: Iterable[Sample]) -> int:
        """Store samples."""


class Verdict(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseOutcome:
    """One case of a test, or the evaluation of its rules."""

    verdict: Verdict
    file: str
    line: int
    test: str
    what: str
    detail: str = ""
    """Lines that tell expected from got."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileOutcome:
    """What became of a file's tests."""

    file: str
    cases: tuple[CaseOutcome, ...]
    tests: int
    missing: tuple[str, ...] = ()

    def of(self, verdict: Verdict) -> tuple[CaseOutcome, ...]:
        """The cases with that verdict."""
        return tuple(case for case in self.cases if case.verdict is verdict)

    @property
    def passed(self) -> bool:
        """True when no case failed."""
        return not self.of(Verdict.FAILED)


def run_unit_tests(
    file: UnitTestFile,
    groups: Sequence[Group],
    make_store: Callable[[], Store],
    *,
    chosen: Callable[[str], bool] = lambda name: True,
    progress: Callable[[float], None] = lambda share: None,
    at_once: bool = True,
) -> FileOutcome:
    """Run every test of `file` that is chosen by name. `progress` is told the share that is done, 0 to 1.

    Without `at_once` every evaluation is made by itself, which takes longer and shows the same.
    """
    position = {name: number for number, name in enumerate(file.order)}
    ordered = sorted(groups, key=lambda group: position.get(group.name, 0))
    tests = [test for test in file.tests if chosen(test.name)]
    cases: list[CaseOutcome] = []
    for number, test in enumerate(tests):

        def told(share: float, number: int = number) -> None:
            progress((number + share) / len(tests))

        cases += _Run(file, test, ordered, make_store, told, at_once).cases()
    progress(1.0)
    return FileOutcome(file=file.file, cases=tuple(cases), tests=len(tests), missing=file.missing)


class _Stopped(Exception):
    """A rule could not be evaluated: the rest of the test means nothing."""


@dataclass
class _Run:
    """One test."""

    file: UnitTestFile
    test: UnitTest
    groups: Sequence[Group]
    make_store: Callable[[], Store]
    progress: Callable[[float], None]
    at_once: bool
    store: Store = field(init=False)
    natives: Beside = field(init=False)
    """The store, with the series of native histograms."""
    alerts: dict[str, Mapping[str, Alert]] = field(init=False)
    memories: dict[str, GroupMemory] = field(init=False)
    outcomes: list[CaseOutcome] = field(init=False)
    stored: int = field(init=False)

    def cases(self) -> list[CaseOutcome]:
        self._begin()
        ground = Ground(self.store, self.store.append)
        course = in_strides(self.test, self.file.interval, self.groups, ground) if self.at_once else None
        if course is None or not self._stride(course):
            self._begin()
            try:
                self._step_by_step()
            except _Stopped:
                return self.outcomes
        for case in self.test.expressions:
            self._check_expression(case)
        return self.outcomes

    def _begin(self) -> None:
        self.store = self.make_store()
        self.natives = Beside(self.store)
        self.alerts, self.memories, self.outcomes, self.stored = {}, {}, [], 0

    def _due(self) -> dict[int, list[AlertCase]]:
        """The cases by the number of the evaluation that they look at, in order; the last evaluation is among them."""
        due: dict[int, list[AlertCase]] = {self._tick(self.test.last): []}
        for case in self.test.alerts:
            due.setdefault(self._tick(case.at), []).append(case)
        return dict(sorted(due.items()))

    def _stride(self, course: Strides) -> bool:
        """The rules from case to case; False when one of them fails: then nothing of it counts."""
        due, done = self._due(), 0
        for tick, cases in due.items():
            self.progress(done / (max(due) + 1))
            self._feed(self._at(tick))
            for stretch in course.over(self._at(done), self._at(tick)):
                if any(problem.kind is not ProblemKind.TEMPLATE for problem in stretch.problems):
                    return False
            self.alerts = {"": course.alerts}
            for case in cases:
                self._check_alerts(case)
            done = tick + 1
        return True

    def _step_by_step(self) -> None:
        due = self._due()
        last = max(due)
        for tick in range(last + 1):
            self._evaluate(self._at(tick))
            for case in due.get(tick, ()):
                self._check_alerts(case)
            if tick % 64 == 0:
                self.progress(tick / (last + 1))

    def _at(self, tick: int) -> datetime:
        """When an evaluation is made."""
        return self.test.start + timedelta(seconds=tick * self.file.interval)

    def _tick(self, at: Seconds) -> int:
        """The number of the last evaluation at or before `at`."""
        return round(at * 1000) // round(self.file.interval * 1000)

    # Evaluation ----------------------------------------------------------------------------------------------------

    def _feed(self, until: datetime) -> None:
        """Store the input series' values that are due."""
        interval = timedelta(seconds=self.test.interval)
        longest = max((len(series.values) for series in self.test.series), default=0)
        while self.stored < longest and self.test.start + self.stored * interval <= until:
            at = self.test.start + self.stored * interval
            batch = []
            for series in self.test.series:
                value = series.values[self.stored] if self.stored < len(series.values) else None
                if series.histogram and value is not None:
                    self.natives.put(series.labels, round(at.timestamp() * 1000), value)
                elif value is not None:
                    assert not isinstance(value, Histogram)
                    labels = series.labels.without(METRIC_NAME)
                    batch.append(Sample(name=series.name, labels=labels, value=value, at=at))
            self.store.append(batch)
            self.stored += 1

    def _round(self, at: datetime) -> Round:
        return Round(self.natives, at, subquery_step=self.file.interval)

    def _evaluate(self, now: datetime) -> None:
        self._feed(now)
        problems: list[RuleProblem] = []
        for group in self.groups:
            result = evaluate_group(
                group,
                self._round,
                self.alerts.get(group.key, {}),
                (),
                now,
                record=self.store.append,
                memory=self.memories.get(group.key, NO_MEMORY),
                external_labels=self.test.external_labels,
                external_url=self.test.external_url,
            )
            self.alerts[group.key], self.memories[group.key] = result.alerts, result.memory
            problems += [problem for problem in result.problems if problem.kind is not ProblemKind.TEMPLATE]
        for problem in problems:
            self._say(Verdict.FAILED, self.test.line, f"rule {problem.rule} at {self._clock(now)}: {problem.what}")
        if problems:
            raise _Stopped

    def _clock(self, now: datetime) -> str:
        return format_duration((now - self.test.start).total_seconds())

    def _say(self, verdict: Verdict, line: int, what: str, detail: str = "") -> None:
        self.outcomes.append(
            CaseOutcome(verdict=verdict, file=self.file.file, line=line, test=self.test.name, what=what, detail=detail)
        )

    # Comparing -----------------------------------------------------------------------------------------------------

    def _check_alerts(self, case: AlertCase) -> None:
        what = f"alert {case.alertname} at {format_duration(case.at)}"
        got = [
            (alert.labels, alert.annotations)
            for alerts in self.alerts.values()
            for alert in alerts.values()
            if alert.name == case.alertname and alert.state is AlertState.FIRING
        ]
        detail = alerts_differ(case.expected, got)
        self._say(Verdict.FAILED if detail else Verdict.PASSED, case.line, what, detail)

    def _check_expression(self, case: ExprCase) -> None:
        what = f"expr {case.expr!r} at {format_duration(case.at)}"
        try:
            plan = compile_expr(case.expr)
            result = self._round(self.test.start + timedelta(seconds=case.at)).evaluate(plan)
            got = result.samples() if isinstance(result, Vector) else [*pairs(result)]
        except TocsinError as error:
            self._say(Verdict.FAILED, case.line, f"{what}: {error}")
            return
        detail = samples_differ([(sample.labels, sample.value) for sample in case.expected], got, self._same)
        self._say(Verdict.FAILED if detail else Verdict.PASSED, case.line, what, detail)

    def _same(self, expected: float | Histogram, got: float | Histogram) -> bool:
        if isinstance(expected, Histogram) and isinstance(got, Histogram):
            return expression(expected) == expression(got)
        if isinstance(expected, Histogram) or isinstance(got, Histogram):
            return False
        if expected == got:
            return True
        near = (math.nextafter(expected, -math.inf), math.nextafter(expected, math.inf))
        return self.file.fuzzy and got in near


__all__ = ["CaseOutcome", "FileOutcome", "Store", "Verdict", "run_unit_tests"]
