"""Replays rules in strides of many steps: the same transitions as `replay`, much sooner.

    for stretch in Strides(groups, ground, step=15.0).over(start, end):
        stretch.transitions

Each expression is evaluated over all steps of a stride at once, recording rules first into the ground; each alert then
goes over the steps at which something changes (`runs`). Rules that can't be taken apart from the step before
(`entangled`), and those that fail or are frozen, go through the stride step by step with `evaluate_group`, as in the
daemon. Every group is evaluated at every step, as the daemon does when samples arrive with every poll.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np

from tocsin.errors import TocsinError
from tocsin.model import METRIC_NAME, NO_LABELS, STALE, Alert, BlindSpot, Labels, Sample, Seconds, Series, Transition
from tocsin.promql import Round, Storage
from tocsin.promql.engine import SUBQUERY_STEP_MS
from tocsin.promql.storage import Bools, Floats, Millis

from .entangled import Placed, past_of, placed, stepwise
from .evaluate import GroupMemory, ProblemKind, RuleProblem, evaluate_group
from .lifecycle import Found
from .rule import AlertRule, Group, RecordingRule
from .runs import Walk
from .tables import Stepwise, Table, table_of
from .template import AlertData
from .vectors import alert_found, alert_id

STRIDE: Final = 240
"""Steps: at 15 s an hour, which is what the store seals into one chunk."""


def warm_up(groups: Sequence[Group], most: Seconds) -> Seconds:
    """How long before a time rules have to run for their alerts at that time to be known, and at most `most`."""
    longest = 0.0
    for one in placed(groups):
        held = one.rule.hold + one.rule.keep_firing if isinstance(one.rule, AlertRule) else 0.0
        longest = max(longest, past_of(one.rule.plan) + one.offset + held)
    return min(longest, most)


class Ground(Storage, Protocol):
    """Stored samples that take what rules record; tocsin.series' `Layered` is one."""

    def append(self, samples: Sequence[Sample]) -> int:
        """Record samples."""

    def record(self, metric: str, labels: Sequence[Labels], times: Millis, values: Floats, present: Bools) -> None:
        """Record many steps at once: values and present [steps, series], times in milliseconds."""

    def forget(self, until: datetime) -> None:
        """What was recorded at or before `until` is not needed any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """What some steps in a row came to."""

    until: datetime
    steps: int
    transitions: tuple[Transition, ...]
    """In the order of time, and of the rules."""
    problems: tuple[RuleProblem, ...]
    stepwise: frozenset[str]
    """The ids of the rules that went step by step."""


@dataclass
class Strides:
    """Rules on their way through the past."""

    groups: Sequence[Group]
    ground: Ground
    step: Seconds
    external_labels: Mapping[str, str] = NO_LABELS
    external_url: str = ""
    stride: int = STRIDE
    in_strides: bool = True
    """False: all rules go step by step."""
    apart: frozenset[str] = frozenset()
    """The ids of rules that go step by step for reasons of the caller's."""
    subquery_step: Seconds = SUBQUERY_STEP_MS / 1000
    """A subquery's step where none is given."""
    _alerts: dict[str, dict[str, Alert]] = field(default_factory=dict)
    """By rule id, by alert id: pending and firing."""
    _recorded: dict[str, frozenset[Series]] = field(default_factory=dict)
    _hidden: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rules = placed(self.groups)
        apart = [place for place, one in enumerate(self._rules) if one.rule.id in self.apart or not self.in_strides]
        self._always = stepwise(self._rules, apart)
        self._past = max((past_of(one.rule.plan) + one.offset for one in self._rules), default=0.0)

    @property
    def alerts(self) -> dict[str, Alert]:
        """The active alerts by id."""
        return {id: alert for alerts in self._alerts.values() for id, alert in alerts.items()}

    def over(
        self, start: datetime, end: datetime, *, without: Sequence[tuple[datetime, datetime]] = ()
    ) -> Iterator[Stretch]:
        """From `start` to `end`, both included, less the steps inside the spans `without`, their ends left out."""
        pace = timedelta(seconds=self.step)
        block: list[datetime] = []
        now = start
        spans = sorted(without)
        while now <= end:
            while spans and spans[0][1] <= now:
                spans.pop(0)
            if spans and spans[0][0] < now:
                if block:
                    yield self._take(block)
                    block = []
                steps = -((now - spans[0][1]) // pace)
                now += pace * max(1, steps)
                continue
            block.append(now)
            now += pace
            if len(block) >= self.stride:
                yield self._take(block)
                block = []
        if block:
            yield self._take(block)

    def _take(self, times: list[datetime]) -> Stretch:
        oldest = times[0].timestamp() - self._past
        if oldest > 0 and self._past < 10 * 365 * 86_400:
            self.ground.forget(times[0] - timedelta(seconds=self._past))
        return _Stride(self, times).run()


class _Stride:
    """Some steps in a row."""

    def __init__(self, course: Strides, times: list[datetime]) -> None:
        self.course = course
        self.times = times
        self.transitions: list[tuple[int, int, Transition]] = []
        """(step, place of the rule, transition)"""
        self.problems: list[RuleProblem] = []
        frozen = {
            place
            for place, one in enumerate(course._rules)
            if any(alert.frozen_since is not None for alert in course._alerts.get(one.rule.id, {}).values())
        }
        self.stepwise = stepwise(course._rules, frozen | course._always) if frozen else course._always

    def run(self) -> Stretch:
        tables: dict[int, tuple[AlertRule, dict[str, int], Table]] = {}
        for place, one in enumerate(self.course._rules):
            if place in self.stepwise:
                continue
            try:
                table = table_of(one, self.course.ground, self.times, self.course.step, self.course.subquery_step)
                if isinstance(one.rule, AlertRule):
                    tables[place] = (one.rule, self._ids(one.rule, table), table)
                else:
                    self._record(one, one.rule, table)
            except Stepwise:
                self.stepwise = stepwise(self.course._rules, {*self.stepwise, place})
        for place, (rule, ids, table) in tables.items():
            if place not in self.stepwise:
                self._walk(place, rule, ids, table)
        if self.stepwise:
            self._step_by_step()
        rules = self.course._rules
        ordered = sorted(self.transitions, key=lambda entry: entry[:2])
        return Stretch(
            until=self.times[-1],
            steps=len(self.times),
            transitions=tuple(change for _, _, change in ordered),
            problems=tuple(self.problems),
            stepwise=frozenset(rules[place].rule.id for place in self.stepwise),
        )

    # All steps at once -----------------------------------------------------------------------------------------------

    def _record(self, one: Placed, rule: RecordingRule, table: Table) -> None:
        own = dict(rule.labels)
        labels = [each.without(METRIC_NAME).with_(own) for each in table.labels]
        limit = self.course.groups[one.group].limit
        if len(set(labels)) < len(labels) or (limit and int(table.present.sum(axis=1).max(initial=0)) > limit):
            raise Stepwise
        begin = self.times[0] - timedelta(seconds=one.offset)
        held = {
            Series(name=rule.name, labels=each) for each, there in zip(labels, table.present[0], strict=True) if there
        }
        gone = self.course._recorded.get(rule.id, frozenset()) - held
        if gone:
            ends = [Sample(name=each.name, labels=each.labels, value=STALE, at=begin) for each in gone]
            self.course.ground.append(ends)
        pace = round(self.course.step * 1000)
        stamps = round(begin.timestamp() * 1000) + pace * np.arange(len(self.times), dtype=np.int64)
        self.course.ground.record(rule.name, labels, stamps, table.values, table.present)
        self.course._recorded[rule.id] = frozenset(
            Series(name=rule.name, labels=each) for each, there in zip(labels, table.present[-1], strict=True) if there
        )

    # Alerts ----------------------------------------------------------------------------------------------------------

    def _ids(self, rule: AlertRule, table: Table) -> dict[str, int]:
        """The alert of each series. Raises Stepwise where two series make one alert."""
        ids: dict[str, int] = {}
        for column in range(len(table.labels)):
            first = int(table.present[:, column].argmax())
            ids[alert_id(rule, self._found(rule, table, column, first).labels)] = column
        if len(ids) < len(table.labels):
            raise Stepwise
        return ids

    def _found(self, rule: AlertRule, table: Table, column: int, step: int) -> Found:
        labels = table.labels[column]
        data = AlertData(
            labels=labels,
            value=float(table.values[step, column]),
            external_labels=self.course.external_labels,
            external_url=self.course.external_url,
            at=self.times[step],
            query=_no_query,
        )
        found, broken = alert_found(rule, labels, data)
        if broken:
            self.problems.append(RuleProblem(rule=rule.id, kind=ProblemKind.TEMPLATE, what=broken))
        return found

    def _walk(self, place: int, rule: AlertRule, ids: dict[str, int], table: Table) -> None:
        known = self.course._alerts.get(rule.id, {})
        nowhere = np.zeros(len(self.times), bool)
        after: dict[str, Alert] = {}
        for id in dict.fromkeys([*known, *ids]):
            column = ids.get(id)
            present = nowhere if column is None else table.present[:, column]

            def found(step: int, column: int | None = column) -> Found:
                assert column is not None
                return self._found(rule, table, column, step)

            walk = Walk(rule, id, self.times, found, known.get(id))
            self.transitions += [(step, place, change) for step, change in walk.over(present)]
            if walk.alert is not None:
                after[id] = walk.alert
        self.course._alerts[rule.id] = after

    # Step by step ----------------------------------------------------------------------------------------------------

    def _step_by_step(self) -> None:
        course = self.course
        chosen: dict[int, list[int]] = {}
        for place in sorted(self.stepwise):
            chosen.setdefault(course._rules[place].group, []).append(place)
        groups = {
            number: replace(course.groups[number], rules=tuple(course._rules[place].rule for place in places))
            for number, places in chosen.items()
        }
        places = {course._rules[place].rule.id: place for place in self.stepwise}
        memory = {number: GroupMemory(recorded=course._recorded, hidden=course._hidden) for number in groups}
        alerts = {
            number: {id: alert for rule in group.rules for id, alert in course._alerts.get(rule.id, {}).items()}
            for number, group in groups.items()
        }
        hides: dict[int, tuple[BlindSpot, ...]] = {}
        for step, now in enumerate(self.times):
            rounds = _Rounds(course.ground, course.subquery_step)
            for number, group in groups.items():
                inherited = [spot for other, spots in hides.items() if other != number for spot in spots]
                result = evaluate_group(
                    group, rounds.at, alerts[number], inherited, now, record=rounds.record, memory=memory[number],
                    external_labels=course.external_labels, external_url=course.external_url,
                )  # fmt: skip
                alerts[number], memory[number], hides[number] = dict(result.alerts), result.memory, result.blind
                self.problems += result.problems
                self.transitions += [(step, places[change.alert.rule], change) for change in result.transitions]
        for number, group in groups.items():
            course._recorded.update(memory[number].recorded)
            course._hidden.update(memory[number].hidden)
            for rule in group.rules:
                course._alerts[rule.id] = {id: a for id, a in alerts[number].items() if a.rule == rule.id}


class _Rounds:
    """One Round per instant, until something is recorded."""

    def __init__(self, ground: Ground, subquery_step: Seconds) -> None:
        self._ground = ground
        self._subquery_step = subquery_step
        self._rounds: dict[datetime, Round] = {}

    def at(self, at: datetime) -> Round:
        if at not in self._rounds:
            self._rounds[at] = Round(self._ground, at, subquery_step=self._subquery_step)
        return self._rounds[at]

    def record(self, samples: Sequence[Sample]) -> None:
        self._rounds.clear()
        self._ground.append(samples)


def _no_query(text: str) -> list[tuple[Labels, float]]:
    # Rules whose texts ask queries go step by step, so that only a defect comes here; the text then says so.
    raise TocsinError(f"no query can be asked in a stride: {text}")
