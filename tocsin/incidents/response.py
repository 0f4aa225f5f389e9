"""How well people are told, and how well they can answer: figures over the incidents of some days.

    acknowledge   from an incident's begin to the first who took it: of those that somebody took
    resolve       from its begin to its end: of those that have ended
    pages         messages that ring, about P0 and P1
    precision     of the paged incidents that somebody took or closed, or that ended alone: the share of the former
    flaps         share of the incidents that came back within their flap window
    folded        alerts for each first message: how much grouping, storms and flap folding spare
    sent          from a decision to say something first to the destination's receipt
    silence debt  how long alerts that fire now have been hidden by a silence that holds now, in sum

Quantiles are the smallest value that so many of the values don't exceed (nearest rank): with few values no number is
shown that nobody measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents.matching import all_match
from tocsin.incidents.silences import in_force
from tocsin.model import Alert, Incident, Seconds, Severity, Silence

WINDOW: Final = timedelta(days=7)
"""How far back incidents count."""
SHIFT: Final = timedelta(hours=12)
"""In which pages are counted."""
BY_HAND: Final = " closed it"
"""In the word of an end that a person brought about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Handled:
    """An incident (its members left out), and what came of it."""

    incident: Incident
    alerts: int
    """How many were members."""
    acked_at: datetime | None
    """The first time."""
    pages: int = 0
    """Messages that rang, since WINDOW began."""
    posts: int = 0
    """First messages."""

    @property
    def closed_by_hand(self) -> bool:
        return BY_HAND in self.incident.resolved_why


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A first message that arrived."""

    severity: Severity
    decided_at: datetime
    arrived_at: datetime


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All of them; what there was nothing to count for is left out."""

    incidents: Mapping[Severity, int]
    acknowledge: Mapping[tuple[Severity, float], Seconds] = field(default_factory=dict)
    """By severity and quantile."""
    resolve: Mapping[tuple[Severity, float], Seconds] = field(default_factory=dict)
    sent: Mapping[tuple[Severity, float], Seconds] = field(default_factory=dict)
    pages: Mapping[Severity, int] = field(default_factory=dict)
    precision: float | None = None
    flaps: float | None = None
    folded: float | None = None


def figures(
    handled: Sequence[Handled], said: Iterable[Said], rang: Iterable[tuple[Severity, datetime]], now: datetime
) -> Figures:
    """`rang`: the pages, with their incident's severity."""
    paged = [each for each in handled if each.pages]
    taken = sum(each.acked_at is not None or each.closed_by_hand for each in paged)
    alone = sum(
        each.acked_at is None and not each.closed_by_hand and each.incident.resolved_at is not None for each in paged
    )
    posts = sum(each.posts for each in handled)
    shift = [severity for severity, at in rang if at > now - SHIFT]
    return Figures(
        incidents={severity: sum(each.incident.severity is severity for each in handled) for severity in Severity},
        acknowledge=_quantiles(
            ((h.incident.severity, h.acked_at - h.incident.opened_at) for h in handled if h.acked_at is not None),
            (0.5, 0.9),
        ),
        resolve=_quantiles(
            (
                (h.incident.severity, h.incident.resolved_at - h.incident.opened_at)
                for h in handled
                if h.incident.resolved_at is not None
            ),
            (0.5, 0.9),
        ),
        sent=_quantiles(((each.severity, each.arrived_at - each.decided_at) for each in said), (0.99,)),
        pages={severity: shift.count(severity) for severity in (Severity.P0, Severity.P1)},
        precision=_share(taken, taken + alone),
        flaps=_share(sum(each.incident.reopened > 0 for each in handled), len(handled)),
        folded=_share(sum(each.alerts for each in handled if each.posts), posts),
    )


def silence_debt(firing: Iterable[Alert], silences: Iterable[Silence], now: datetime) -> Seconds:
    """Of the alerts that fire now: how long those that are hidden now have been, in sum."""
    holding = in_force(silences, now)
    hidden = timedelta(0)
    for alert in firing if holding else ():
        begun = [each.starts_at for each in holding if all_match(each.matchers, alert.labels)]
        if begun:
            hidden += max(timedelta(0), now - max(min(begun), alert.fired_at or alert.active_at))
    return hidden.total_seconds()


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _quantiles(
    values: Iterable[tuple[Severity, timedelta]], wanted: Sequence[float]
) -> dict[tuple[Severity, float], Seconds]:
    by_severity: dict[Severity, list[Seconds]] = {}
    for severity, value in values:
        by_severity.setdefault(severity, []).append(max(0.0, value.total_seconds()))
    found = {}
    for severity, several in by_severity.items():
        several.sort()
        for quantile in wanted:
            found[severity, quantile] = several[math.ceil(quantile * len(several)) - 1]
    return found
