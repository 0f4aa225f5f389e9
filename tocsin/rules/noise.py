"""The noise ledger: per rule, how often it paged, and what came of it.

An incident counts for the rule whose alert opened it. *Acknowledged* is one that somebody took; *self-resolved* ended
without anybody having taken or closed it: the likely noise. The remedy is the `for` or `keep_firing_for` that would
have kept the most of those from paging, and none that somebody took: estimated here from how long incidents lasted, and
found over stored samples where there are some (tuning.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.incidents.matching import all_match
from tocsin.incidents.response import BY_HAND
from tocsin.model import Alert, Incident, Silence

from .tuning import TRIED, Remedy, Time


@dataclass
class RuleNoise:
    """What one rule caused."""

    rule: str
    name: str
    incidents: int = 0
    pages: int = 0
    acked: int = 0
    self_resolved: int = 0
    flaps: int = 0
    silenced: timedelta = timedelta(0)
    """How long its alerts fired under a silence, in sum."""
    remedy: Remedy | None = None
    taken: list[Time] = field(default_factory=list)
    """When what somebody took went on."""
    _short: list[timedelta] = field(default_factory=list)


def ledger(
    incidents: Iterable[tuple[Incident, int]], silences: Sequence[Silence], since: datetime, now: datetime
) -> tuple[RuleNoise, ...]:
    """A line per rule, the noisiest first. `incidents` come with the number of pages that were delivered."""
    found: dict[str, RuleNoise] = {}
    for incident, pages in incidents:
        if not incident.members:
            continue
        first = min(incident.members, key=lambda alert: (alert.fired_at or alert.active_at, alert.id))
        line = found.setdefault(first.rule, RuleNoise(rule=first.rule, name=first.name))
        _count(line, incident, pages, now)
        for alert in incident.members:
            own = found.setdefault(alert.rule, RuleNoise(rule=alert.rule, name=alert.name))
            own.silenced += _silenced(alert, silences, since, now)
    for line in found.values():
        line.remedy = _remedy(line)
    order = sorted(found.values(), key=lambda line: (-line.pages, -line.self_resolved, -line.incidents, line.rule))
    return tuple(order)


def _count(line: RuleNoise, incident: Incident, pages: int, now: datetime) -> None:
    line.incidents += 1
    line.pages += pages
    line.flaps += incident.reopened
    lasted = None if incident.resolved_at is None else incident.resolved_at - incident.opened_at
    if incident.acked_at is not None:
        line.acked += 1
        line.taken.append((incident.opened_at, incident.resolved_at or now))
    elif lasted is not None and BY_HAND not in incident.resolved_why:
        line.self_resolved += 1
        if pages:
            line._short.append(lasted)


def _remedy(line: RuleNoise) -> Remedy | None:
    """The shortest `for` that spares the most, and costs nothing that somebody took."""
    best: Remedy | None = None
    for hold in TRIED:
        if any(end - begin < hold for begin, end in line.taken):
            break
        spares = sum(lasted < hold for lasted in line._short)
        if spares and (best is None or spares > best.spares):
            best = Remedy(hold=hold, spares=spares)
    return best


def _silenced(alert: Alert, silences: Sequence[Silence], since: datetime, now: datetime) -> timedelta:
    """How long it fired under at least one silence."""
    begin, end = max(alert.fired_at or alert.active_at, since), alert.resolved_at or now
    spans = sorted(
        (max(silence.starts_at, begin), min(silence.ends_at, end))
        for silence in silences
        if all_match(silence.matchers, alert.labels)
    )
    total, reached = timedelta(0), begin
    for start, stop in spans:
        if stop > max(start, reached):
            total += stop - max(start, reached)
            reached = stop
    return total
