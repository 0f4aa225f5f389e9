"""Which rule groups run when, and what they remember.

A group runs as soon as samples that it reads have arrived, not on a timer of its own. Time alone can matter too
(`absent()`, a `for` that elapses while nothing arrives), so a group also runs when its interval has passed since it ran
last. Groups that read what another one records run after it, in the same breath.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from tocsin.model import (
    NO_LABELS,
    Alert,
    AlertState,
    BlindSpot,
    Labels,
    Sample,
    Seconds,
    Severity,
    Transition,
)
from tocsin.promql import Round, Storage
from tocsin.rules import (
    NO_MEMORY,
    NOTHING_REMOVED,
    AllRemoved,
    Group,
    GroupMemory,
    GroupResult,
    RuleProblem,
    abandoned,
    evaluate_group,
    orphans,
)
from tocsin.rules.evaluate import Round as GroupRound
from tocsin.telemetry.metrics import Telemetry

DEFAULT_INTERVAL: Final[Seconds] = 15.0
"""A group without an `interval` runs this often while nothing that it reads arrives."""

Record = Callable[[Sequence[Sample]], None]


@dataclass(frozen=True, slots=True)
class Run:
    """When a group was evaluated last, and how long that took."""

    at: datetime
    took: Seconds


@dataclass
class Evaluation:
    """What one round of groups came to."""

    transitions: list[Transition] = field(default_factory=list)
    changed: list[Alert] = field(default_factory=list)
    """Alerts to store: begun, changed in state or frozen, or ended (resolved)."""
    groups: list[str] = field(default_factory=list)
    new_problems: list[tuple[str, RuleProblem]] = field(default_factory=list)
    """Those that the evaluation before did not have."""


class RuleBook:
    """The groups in force, their alerts and their memory."""

    def __init__(
        self,
        groups: Sequence[Group],
        alerts: Iterable[Alert] = (),
        *,
        external_labels: Labels = NO_LABELS,
        external_url: str = "",
        default_interval: Seconds = DEFAULT_INTERVAL,
    ) -> None:
        self.groups = tuple(groups)
        self.alerts: dict[str, dict[str, Alert]] = {group.key: {} for group in groups}
        self.problems: dict[str, tuple[RuleProblem, ...]] = {}
        self._external_labels = external_labels
        self._external_url = external_url
        self._default_interval = default_interval
        self._reads = {group.key: group.reads for group in groups}
        self._memory: dict[str, GroupMemory] = {}
        self._ran: dict[str, datetime] = {}
        self._took: dict[str, Seconds] = {}
        self._inherited: dict[str, tuple[BlindSpot, ...]] = {}
        self._home = {rule.id: group.key for group in groups for rule in group.rules}
        self.unclaimed: dict[str, Alert] = {}
        """Alerts of rules that are not here any more."""
        for alert in alerts:
            home = self._home.get(alert.rule)
            (self.alerts[home] if home is not None else self.unclaimed)[alert.id] = alert

    # When ------------------------------------------------------------------------------------------------------------

    def due(self, names: set[str], now: datetime) -> list[Group]:
        """The groups that read one of `names`, or whose interval has passed."""
        return [group for group in self.groups if self._reads_any(group, names) or self._is_late(group, now)]

    def _reads_any(self, group: Group, names: set[str]) -> bool:
        reads = self._reads[group.key]
        return bool(names) and (reads is None or not reads.isdisjoint(names))

    def _is_late(self, group: Group, now: datetime) -> bool:
        ran = self._ran.get(group.key)
        interval = group.interval if group.interval is not None else self._default_interval
        return ran is None or now - ran >= timedelta(seconds=interval)

    # Evaluate --------------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        due: Sequence[Group],
        storage: Storage,
        blind: Sequence[BlindSpot],
        now: datetime,
        *,
        sampled_at: datetime | None,
        record: Record,
        monotonic: Callable[[], Seconds] = lambda: 0.0,
        rounds: Rounds | None = None,
        among: Callable[[Group], bool] = lambda _: True,
        removed: AllRemoved = NOTHING_REMOVED,
    ) -> Evaluation:
        """Run `due`, in the order of the files, and after them whoever reads what they record.

        `rounds`: where the values come from when it is not `storage`; it takes what is recorded, too. `among`: which
        groups run here at all. `removed`: what no alert is about any more.
        """
        done = Evaluation()
        waiting = {group.key for group in due}
        ran: set[str] = set()
        rounds = rounds or _Rounds(storage, record)
        while group := next((group for group in self.groups if group.key in waiting), None):
            waiting.discard(group.key)
            ran.add(group.key)
            began = monotonic()
            inherited = [spot for key, spots in self._inherited.items() if key != group.key for spot in spots]
            result = evaluate_group(
                group, rounds.at, self.alerts[group.key], (*blind, *inherited), now,
                record=rounds.record, memory=self._memory.get(group.key, NO_MEMORY), sampled_at=sampled_at,
                external_labels=self._external_labels, external_url=self._external_url, removed=removed,
            )  # fmt: skip
            self._took[group.key] = max(0.0, monotonic() - began)
            self._keep(group, result, now, done)
            names = {sample.name for sample in result.samples}
            waiting |= {
                other.key
                for other in self.groups
                if other.key not in ran and among(other) and self._reads_any(other, names)
            }
        return done

    def _keep(self, group: Group, result: GroupResult, now: datetime, done: Evaluation) -> None:
        before = self.alerts[group.key]
        self.alerts[group.key] = dict(result.alerts)
        self._memory[group.key] = result.memory
        self._inherited[group.key] = result.blind
        self._ran[group.key] = now
        done.groups.append(group.name)
        done.transitions += result.transitions
        changed = {change.alert.id: change.alert for change in result.transitions}
        for id, alert in result.alerts.items():
            old = before.get(id)
            if id not in changed and old is not None and _differs(old, alert):
                changed[id] = alert
                if alert.state is AlertState.FIRING and (old.frozen_since is None) != (alert.frozen_since is None):
                    # Frozen and thawed alerts are news for their incident: the message says "unknown since".
                    done.transitions.append(Transition(alert=alert, before=old.state, at=now))
        done.changed += changed.values()
        told = set(self.problems.get(group.key, ()))
        self.problems[group.key] = result.problems
        done.new_problems += [(group.name, problem) for problem in result.problems if problem not in told]

    # Reload ----------------------------------------------------------------------------------------------------------

    def all_alerts(self) -> dict[str, Alert]:
        """Every active alert by id, those of rules that are gone included."""
        return {**self.unclaimed, **{id: alert for alerts in self.alerts.values() for id, alert in alerts.items()}}

    def take_over_from(self, other: RuleBook) -> None:
        """Go on from another book's memory: a reload forgets no series that it recorded."""
        for key, memory in other._memory.items():
            if key in self.alerts:
                self._memory[key] = memory
                self._ran[key] = other._ran[key]
                self._took[key] = other._took[key]

    def copy(self) -> RuleBook:
        """The same book, to try an evaluation on."""
        other = copy(self)
        other.alerts = {key: dict(alerts) for key, alerts in self.alerts.items()}
        other.problems, other.unclaimed = dict(self.problems), dict(self.unclaimed)
        other._memory, other._inherited = dict(self._memory), dict(self._inherited)
        other._ran, other._took = dict(self._ran), dict(self._took)
        return other

    def end_orphans(self, now: datetime) -> tuple[Transition, ...]:
        """The ends of the alerts whose rule is gone; they are forgotten here."""
        ends = orphans(self.unclaimed, self.groups, now)
        self.unclaimed = {}
        return ends

    def end_series(self, older: RuleBook, now: datetime) -> tuple[Sample, ...]:
        """Markers for the recorded series of `older` that nobody records any more."""
        return tuple(marker for memory in older._memory.values() for marker in abandoned(memory, self.groups, now))

    # Looks -----------------------------------------------------------------------------------------------------------

    def last_run(self, group: Group) -> Run | None:
        """When `group` was evaluated last; None before the first time."""
        at = self._ran.get(group.key)
        return None if at is None else Run(at, self._took[group.key])

    def reading(self, names: set[str]) -> tuple[str, ...]:
        """The alerting and recording rules that read one of `names`."""
        return tuple(
            dict.fromkeys(
                rule.name
                for group in self.groups
                for rule in group.rules
                if rule.plan.reads is None or not rule.plan.reads.isdisjoint(names)
            )
        )

    def measure(self, telemetry: Telemetry, others: Iterable[Alert] = ()) -> None:
        """Set the gauges that tell the state of rules and alerts; `others`: alerts that no rule here has made."""
        counts = {(state, severity): 0 for state in ("pending", "firing") for severity in Severity}
        frozen = 0
        for alert in (*self.all_alerts().values(), *others):
            counts[alert.state.value, alert.severity] += 1
            frozen += alert.frozen_since is not None
        for (state, severity), count in counts.items():
            telemetry.alerts.labels(state, severity.value).set(count)
        telemetry.frozen.set(frozen)
        for group in self.groups:
            telemetry.rule_problems.labels(group.name).set(len(self.problems.get(group.key, ())))


class Rounds(Protocol):
    """Where the values of expressions come from, and where recorded samples go."""

    def at(self, at: datetime) -> GroupRound:
        """A round as of `at`."""

    def record(self, samples: Sequence[Sample]) -> None:
        """Store what a rule recorded. Raises TocsinError."""


class _Rounds:
    """One Round per instant, shared by the groups of one evaluation, until something is recorded."""

    def __init__(self, storage: Storage, record: Record) -> None:
        self._storage = storage
        self._record = record
        self._rounds: dict[datetime, Round] = {}

    def at(self, at: datetime) -> Round:
        if at not in self._rounds:
            self._rounds[at] = Round(self._storage, at)
        return self._rounds[at]

    def record(self, samples: Sequence[Sample]) -> None:
        self._rounds.clear()
        self._record(samples)


def unseen(own: Mapping[str, Alert], stored: Iterable[Alert]) -> list[Alert]:
    """What a replica that takes over begins with: the alerts that the leader stored, and those that it alone has seen.

    These count as pending since it saw them. So the next evaluation that sees them tells them as new, without waiting
    for their `for` again, and one that the leader has ended meanwhile ends without a word.
    """
    known = {alert.id: alert for alert in stored}
    return [
        *known.values(),
        *(
            replace(alert, state=AlertState.PENDING, fired_at=None, keep_firing_since=None)
            for id, alert in own.items()
            if id not in known
        ),
    ]


def _differs(old: Alert, new: Alert) -> bool:
    """True when a restart would have to know: not for a value or an annotation that moved."""
    return replace(old, value=0.0, annotations=NO_LABELS) != replace(new, value=0.0, annotations=NO_LABELS)
