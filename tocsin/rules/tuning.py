"""Which `for` or `keep_firing_for` would have kept a rule from firing as often, found over stored samples.

    past = conditions({"shop;Slow"}, groups, ground, step=15.0, start=…, end=…)
    tuned(rule, past["shop;Slow"], taken)

The rules are replayed once, with no `for` and no `keep_firing_for`: when each of their conditions held. Every value of
the two is then tried on that. What counts is how often the rule began to fire; label sets that fire at the same time
count once, as they are one incident more often than not. A value under which something that somebody took would not
have fired is never named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tocsin.model import NO_LABELS, AlertState, Labels, Seconds

from .rule import AlertRule, Group, Rule
from .strides import Ground, Strides

TRIED: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30))
"""Values of `for` and of `keep_firing_for`."""

Time = tuple[datetime, datetime]
"""From, until."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """A value, and how many pages it would have spared."""

    hold: timedelta | None = None
    keep: timedelta | None = None
    """One of the two: `for`, or `keep_firing_for`."""
    spares: int
    replayed: bool = False
    """Found over samples; else estimated from how long incidents lasted."""


def conditions(
    rules: Collection[str],
    groups: Iterable[Group],
    ground: Ground,
    *,
    step: Seconds,
    start: datetime,
    end: datetime,
    without: Sequence[Time] = (),
    external_labels: Mapping[str, str] = NO_LABELS,
) -> dict[str, list[list[Time]]]:
    """By rule id, for each label set: when its condition held. What holds at the end, holds until then."""
    bare = tuple(replace(group, rules=tuple(_bare(group, rules))) for group in groups)
    strides = Strides([group for group in bare if group.rules], ground, step, external_labels)
    begun: dict[tuple[str, Labels], datetime] = {}
    found: dict[tuple[str, Labels], list[Time]] = {}
    for stretch in strides.over(start, end, without=without):
        for change in stretch.transitions:
            key = (change.alert.rule, change.alert.labels)
            if change.alert.state is AlertState.RESOLVED:
                found.setdefault(key, []).append((begun.pop(key), change.at))
            else:
                begun[key] = change.at
    for key, at in begun.items():
        found.setdefault(key, []).append((at, end))
    held: dict[str, list[list[Time]]] = {id: [] for id in rules}
    for (rule, _), times in found.items():
        held[rule].append(times)
    return held


def _bare(group: Group, wanted: Collection[str]) -> Iterable[Rule]:
    for rule in group.rules:
        if not isinstance(rule, AlertRule):
            yield rule
        elif rule.id in wanted:
            yield replace(rule, hold=0.0, keep_firing=0.0)


def tuned(rule: AlertRule, held: Iterable[Sequence[Time]], taken: Iterable[Time]) -> Remedy | None:
    """The one change that spares most, the smallest of those that spare the same; None where none spares anything."""
    hold, keep = timedelta(seconds=rule.hold), timedelta(seconds=rule.keep_firing)
    every = [list(times) for times in held]
    now = firing(every, hold, keep)
    needed = [time for time in taken if _covers(now, time)]
    best: Remedy | None = None
    for value in TRIED:
        for candidate in (Remedy(hold=value, spares=0), Remedy(keep=value, spares=0)):
            if value <= (hold if candidate.hold is not None else keep):
                continue
            then = firing(every, candidate.hold or hold, candidate.keep or keep)
            spares = len(now) - len(then)
            if spares > (best.spares if best is not None else 0) and all(_covers(then, time) for time in needed):
                best = replace(candidate, spares=spares, replayed=True)
    return best


def firing(held: Iterable[Iterable[Time]], hold: timedelta, keep: timedelta) -> list[Time]:
    """When at least one label set would have fired, as times apart from each other."""
    spans = sorted(span for times in held for span in _fires(times, hold, keep))
    apart: list[Time] = []
    for begin, end in spans:
        if apart and begin <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((begin, end))
    return apart


def _fires(times: Iterable[Time], hold: timedelta, keep: timedelta) -> Iterable[Time]:
    """Of one label set: a condition that comes back while it is kept firing need not hold again."""
    open_: Time | None = None
    for begin, end in times:
        if open_ is not None and begin <= open_[1]:
            open_ = (open_[0], end + keep)
            continue
        if open_ is not None:
            yield open_
            open_ = None
        # At its end it is not there any more: it must have lasted longer than `hold` to be seen that long.
        if end - begin > hold:
            open_ = (begin + hold, end + keep)
    if open_ is not None:
        yield open_


def _covers(firing: Iterable[Time], time: Time) -> bool:
    return any(begin <= time[1] and time[0] <= end for begin, end in firing)
