"""Replays rules over stored samples on a virtual clock: what would have fired, and when it would have ended.

    for tick in replay(groups, lambda at: Round(store, at), store.append, start, end):
        tick.transitions

The core of `tocsin rules backtest`: the same `evaluate_group` as in the daemon, once per interval, from `start` to
`end`. Nothing here reads a clock or keeps a sample: `record` takes what the rules store, and the rounds must see it,
so hand over a store that may be written to (a copy, or a layer over the real one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from tocsin.model import NO_LABELS, Alert, BlindSpot, Sample, Seconds, Transition

from .evaluate import NO_MEMORY, GroupMemory, Round, RuleProblem, evaluate_group
from .rule import Group

DEFAULT_INTERVAL: Final[Seconds] = 15.0
"""Between evaluations of a group that names no interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """What one moment came to."""

    at: datetime
    transitions: tuple[Transition, ...]
    problems: tuple[RuleProblem, ...]
    alerts: Mapping[str, Alert]
    """Every active alert after it, by id."""


@dataclass
class _Course:
    """One group on its way through time."""

    group: Group
    every: timedelta
    due: datetime
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    memory: GroupMemory = NO_MEMORY
    hides: tuple[BlindSpot, ...] = ()


def replay(
    groups: Sequence[Group],
    rounds: Callable[[datetime], Round],
    record: Callable[[Sequence[Sample]], object],
    start: datetime,
    end: datetime,
    *,
    alerts: Mapping[str, Alert] | None = None,
    blind: Callable[[datetime], Sequence[BlindSpot]] = lambda at: (),
    interval: Seconds = DEFAULT_INTERVAL,
    external_labels: Mapping[str, str] = NO_LABELS,
    external_url: str = "",
) -> Iterator[Tick]:
    """A tick for every moment at which a group is due, `start` and `end` included, in order.

    Groups that are due together run in their order. `alerts` are those active before `start`; `blind(at)` is what
    could not be seen then. `interval` is for groups that name none.
    """
    known = alerts or {}
    courses = [_Course(group, timedelta(seconds=group.interval or interval), start) for group in groups]
    for course in courses:
        rules = {rule.id for rule in course.group.rules}
        course.alerts = {id: alert for id, alert in known.items() if alert.rule in rules}
    while courses and (now := min(course.due for course in courses)) <= end:
        transitions: list[Transition] = []
        problems: list[RuleProblem] = []
        for course in courses:
            if course.due > now:
                continue
            inherited = [spot for other in courses if other is not course for spot in other.hides]
            result = evaluate_group(
                course.group,
                rounds,
                course.alerts,
                (*blind(now), *inherited),
                now,
                record=record,
                memory=course.memory,
                external_labels=external_labels,
                external_url=external_url,
            )
            course.alerts, course.memory, course.hides = result.alerts, result.memory, result.blind
            course.due = now + course.every
            transitions += result.transitions
            problems += result.problems
        active = {id: alert for course in courses for id, alert in course.alerts.items()}
        yield Tick(at=now, transitions=tuple(transitions), problems=tuple(problems), alerts=active)
