"""The noise ledger: per rule, how often it paged, and what came of it.

An incident counts for the rule whose alert opened it. *Acknowledged* is one that somebody took; *self-resolved* ended
without anybody having taken or closed it: the likely noise. `hold` is the `for` that would have kept the most of those
from paging; what was acknowledged counts against it, so that no `for` is named that would have cost one of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents.matching import all_match
from tocsin.model import Alert, Incident, Silence

HOLDS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30))
"""Values of `for` that are tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """A `for`, and how many self-resolved incidents it would have kept from paging."""

    hold: timedelta
    spares: int


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
    _short: list[timedelta] = field(default_factory=list)
    _taken: list[timedelta] = field(default_factory=list)


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
        _count(line, incident, pages)
        for alert in incident.members:
            own = found.setdefault(alert.rule, RuleNoise(rule=alert.rule, name=alert.name))
            own.silenced += _silenced(alert, silences, since, now)
    for line in found.values():
        line.remedy = _remedy(line._short, line._taken)
    order = sorted(found.values(), key=lambda line: (-line.pages, -line.self_resolved, -line.incidents, line.rule))
    return tuple(order)


def _count(line: RuleNoise, incident: Incident, pages: int) -> None:
    line.incidents += 1
    line.pages += pages
    line.flaps += incident.reopened
    lasted = None if incident.resolved_at is None else incident.resolved_at - incident.opened_at
    if incident.acked_at is not None:
        line.acked += 1
        line._taken.append(lasted or timedelta.max)
    elif lasted is not None and " closed it" not in incident.resolved_why:
        line.self_resolved += 1
        if pages:
            line._short.append(lasted)


def _remedy(short: Sequence[timedelta], taken: Sequence[timedelta]) -> Remedy | None:
    """The shortest of HOLDS that spares the most, and costs nothing that somebody took."""
    best: Remedy | None = None
    for hold in HOLDS:
        if any(lasted < hold for lasted in taken):
            break
        spares = sum(lasted < hold for lasted in short)
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
