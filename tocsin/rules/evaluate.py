"""Evaluates a rule group at one instant: a pure step from alerts to alerts.

    result = evaluate_group(group, rounds, alerts, blind, now, record=store.append, memory=memory)
    result.alerts        pending and firing ones, by id, of this group
    result.transitions   what changed: store and tell
    result.problems      what kept a rule from its job: show
    result.memory        hand it to the next evaluation of the group (it need not survive a restart)

The semantics are Prometheus'. Rules run in order; what one stores the next can read. Where Prometheus lets alerts
lapse, here they don't:

  evaluation fails          its alerts are frozen, with the reason
  an input is hidden        the alerts that it may concern are frozen (see blindness, lifecycle)
  more alerts than `limit`  the alerts stay, and the problem is reported
  a template fails          the text says so, and the problem is reported
  a restart                 pending and firing go on from the alerts given, with their times

A recording rule that fails or is blind passes that on: `result.blind` hides its series from other groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from tocsin.errors import TocsinError
from tocsin.model import (
    METRIC_NAME,
    NO_LABELS,
    STALE,
    Alert,
    AlertState,
    BlindSpot,
    Labels,
    Sample,
    Series,
    Transition,
)
from tocsin.promql import Plan, Result

from .blindness import View, failed, view
from .lifecycle import Found, advance
from .removed import NOTHING_REMOVED, AllRemoved
from .rule import ALERTS, ALERTS_FOR_STATE, AlertRule, Group, RecordingRule, Rule
from .sight import Sight
from .vectors import Unknown, alerts_found, query, recorded


class Round(Protocol):
    """Evaluates plans at one instant; tocsin.promql's `Round` is one."""

    def evaluate(self, plan: Plan) -> Result:
        """The value of `plan`. Raises EvaluationError."""


class ProblemKind(StrEnum):
    """What a problem means for the rule's alerts."""

    FAILED = "failed"
    """There is no result: they are frozen."""
    LIMIT = "limit"
    """There are more than `limit`: all are kept."""
    TEMPLATE = "template"
    """A text could not be rendered and says so itself."""
    STORE = "store"
    """Recorded samples could not be stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleProblem:
    """What kept a rule from its job at this evaluation."""

    rule: str
    kind: ProblemKind
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupMemory:
    """What a group remembers from one evaluation to the next. Lost in a restart without harm."""

    recorded: Mapping[str, frozenset[Series]] = field(default_factory=dict)
    """By rule id the series that it stored last, to mark those that end."""
    hidden: Mapping[str, datetime] = field(default_factory=dict)
    """By alert id when a frozen alert could last not be seen."""


NO_MEMORY: Final = GroupMemory()


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupResult:
    """What one evaluation of a group came to."""

    alerts: Mapping[str, Alert]
    transitions: tuple[Transition, ...] = ()
    samples: tuple[Sample, ...] = ()
    """What was recorded, in order: results, ALERTS, ALERTS_FOR_STATE, and markers of series that ended."""
    problems: tuple[RuleProblem, ...] = ()
    blind: tuple[BlindSpot, ...] = ()
    """The recorded series that can't be trusted now, for the groups that read them."""
    memory: GroupMemory = NO_MEMORY


def evaluate_group(
    group: Group,
    rounds: Callable[[datetime], Round],
    alerts: Mapping[str, Alert],
    blind: Sequence[BlindSpot],
    now: datetime,
    *,
    record: Callable[[Sequence[Sample]], object],
    memory: GroupMemory = NO_MEMORY,
    sampled_at: datetime | None = None,
    external_labels: Mapping[str, str] = NO_LABELS,
    external_url: str = "",
    removed: AllRemoved = NOTHING_REMOVED,
) -> GroupResult:
    """Evaluate every rule of `group` as of `now`.

    `rounds(at)` gives a Round over the storage as it is then; it is asked anew after something was recorded that a
    later rule reads. `record` stores samples and may raise TocsinError (the store is full): that is a problem of the
    rule, never of the group. `alerts` may hold other groups' alerts and resolved ones; they are left alone. Alerts
    about what is `removed` end, and none begins.
    """
    return _Evaluation(
        group=group,
        rounds=rounds,
        known={alert.id: alert for alert in alerts.values() if alert.state is not AlertState.RESOLVED},
        blind=list(blind),
        now=now,
        record=record,
        before=memory,
        sampled_at=sampled_at,
        external_labels=external_labels,
        external_url=external_url,
        removed=removed,
    ).run()


@dataclass
class _Evaluation:
    """One evaluation of one group."""

    group: Group
    rounds: Callable[[datetime], Round]
    known: dict[str, Alert]
    blind: list[BlindSpot]
    now: datetime
    record: Callable[[Sequence[Sample]], object]
    before: GroupMemory
    sampled_at: datetime | None
    external_labels: Mapping[str, str]
    external_url: str
    removed: AllRemoved
    alerts: dict[str, Alert] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    problems: list[RuleProblem] = field(default_factory=list)
    inherited: list[BlindSpot] = field(default_factory=list)
    recorded: dict[str, frozenset[Series]] = field(default_factory=dict)
    hidden: dict[str, datetime] = field(default_factory=dict)
    _rounds: dict[datetime, Round] = field(default_factory=dict)
    _waiting: list[tuple[Rule, list[Sample]]] = field(default_factory=list)
    """Recorded and not yet stored."""

    def run(self) -> GroupResult:
        for rule in self.group.rules:
            # First what it reads is stored, because what can't be stored is hidden from it.
            self._flush_if_read(rule.plan.reads)
            seen = view(rule, self.blind)
            if isinstance(rule, AlertRule):
                self._alert(rule, seen)
            else:
                self._record(rule, seen)
        self._flush()
        return GroupResult(
            alerts=self.alerts,
            transitions=tuple(self.transitions),
            samples=tuple(self.samples),
            problems=tuple(self.problems),
            blind=tuple(self.inherited),
            memory=GroupMemory(recorded=self.recorded, hidden=self.hidden),
        )

    # Alerting rules ------------------------------------------------------------------------------------------------

    def _alert(self, rule: AlertRule, seen: View) -> None:
        mine = {id: alert for id, alert in self.known.items() if alert.rule == rule.id}
        failure = ""
        found: dict[str, Found] = {}
        try:
            found, broken = alerts_found(
                rule,
                self._value(rule),
                external_labels=self.external_labels,
                external_url=self.external_url,
                at=self.now,
                query=self._query,
            )
        except Unknown as unknown:
            failure, broken = str(unknown), ""
        if failure or broken:
            self._problem(rule, ProblemKind.FAILED if failure else ProblemKind.TEMPLATE, failure or broken)
        sight = Sight(seen, failure, self.before.hidden, self.removed, self.now)
        step = advance(rule, mine, found, sight, self.now)
        self.alerts |= step.alerts
        self.hidden |= sight.hidden
        self.transitions += [replace(change, sampled_at=self.sampled_at) for change in step.transitions]
        if self.group.limit and len(step.alerts) > self.group.limit:
            what = f"exceeded limit of {self.group.limit} with {len(step.alerts)} alerts; all are kept"
            self._problem(rule, ProblemKind.LIMIT, what)
        self._store(rule, [sample for alert in step.alerts.values() for sample in self._states(alert)], ends=True)

    def _states(self, alert: Alert) -> tuple[Sample, Sample]:
        at = self._as_of
        labels = alert.labels.without(METRIC_NAME)
        begun = float(int(alert.active_at.timestamp()))
        return (
            Sample(name=ALERTS, labels=labels.with_(alertstate=alert.state.value), value=1.0, at=at),
            Sample(name=ALERTS_FOR_STATE, labels=labels, value=begun, at=at),
        )

    def _query(self, text: str) -> list[tuple[Labels, float]]:
        """PromQL from a template: as of now, whatever the group's offset."""
        self._flush_if_read(None)
        return query(text, self._round(self.now))

    # Recording rules -----------------------------------------------------------------------------------------------

    def _record(self, rule: RecordingRule, seen: View) -> None:
        self._hide(seen.inherited())
        try:
            samples = recorded(rule, self._value(rule), self._as_of)
            if self.group.limit and len(samples) > self.group.limit:
                raise Unknown(f"exceeded limit of {self.group.limit} with {len(samples)} series; none is stored")
        except Unknown as unknown:
            self._fail(rule, str(unknown))
            return
        # A series that a blind rule lacks may not have ended.
        self._store(rule, samples, ends=not seen.spots)

    def _fail(self, rule: RecordingRule, why: str) -> None:
        self.recorded[rule.id] = self.before.recorded.get(rule.id, frozenset())
        self._problem(rule, ProblemKind.FAILED, why)
        self._hide((failed(rule, why, self.now),))

    def _hide(self, spots: Sequence[BlindSpot]) -> None:
        self.blind += spots
        self.inherited += spots

    # The store -----------------------------------------------------------------------------------------------------

    @property
    def _as_of(self) -> datetime:
        return self.now - timedelta(seconds=self.group.query_offset)

    def _value(self, rule: Rule) -> Result:
        """The rule's value. Raises Unknown."""
        try:
            return self._round(self._as_of).evaluate(rule.plan)
        except TocsinError as error:
            raise Unknown(str(error)) from error
        except Exception as error:  # a defect met by one rule must not end the others' watch, nor this one's alerts
            raise Unknown(f"unexpected {type(error).__name__}: {error}") from error

    def _flush_if_read(self, reads: frozenset[str] | None) -> None:
        """Store what waits, if some of it may be read.

        A Round is not for use after its storage has changed, and the rules of a group share much of one. So what is
        recorded waits until somebody reads it, or the group is done.
        """
        names = {sample.name for _, samples in self._waiting for sample in samples}
        if names and (reads is None or not names.isdisjoint(reads)):
            self._flush()

    def _round(self, at: datetime) -> Round:
        if at not in self._rounds:
            self._rounds[at] = self.rounds(at)
        return self._rounds[at]

    def _store(self, rule: Rule, samples: list[Sample], *, ends: bool) -> None:
        current = frozenset(Series(name=sample.name, labels=sample.labels) for sample in samples)
        gone = self.before.recorded.get(rule.id, frozenset()) - current
        self.recorded[rule.id] = current if ends else current | gone
        if ends:
            samples = samples + [_end(series, self._as_of) for series in sorted(gone, key=str)]
        if samples:
            self._waiting.append((rule, samples))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._rounds.clear()
        for rule, samples in waiting:
            try:
                self.record(samples)
            except TocsinError as error:
                what = f"its result could not be stored: {error}"
                self._problem(rule, ProblemKind.STORE, what)
                if isinstance(rule, RecordingRule):
                    self._hide((failed(rule, what, self.now),))
            else:
                self.samples += samples

    def _problem(self, rule: Rule, kind: ProblemKind, what: str) -> None:
        self.problems.append(RuleProblem(rule=rule.id, kind=kind, what=what))


def abandoned(memory: GroupMemory, groups: Sequence[Group], now: datetime) -> tuple[Sample, ...]:
    """The markers that end the series of rules that are gone."""
    rules = {rule.id for group in groups for rule in group.rules}
    gone = {series for id, stored in memory.recorded.items() if id not in rules for series in stored}
    return tuple(_end(series, now) for series in sorted(gone, key=str))


def _end(series: Series, at: datetime) -> Sample:
    return Sample(name=series.name, labels=series.labels, value=STALE, at=at)
