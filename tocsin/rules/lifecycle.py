"""One rule's alerts, one evaluation on: pending, firing, resolved, or frozen while nobody can know.

    seen                 begins or goes on; fires once it has lasted `for`
    not seen             a pending one is gone, a firing one resolves, after `keep_firing_for` where that is set
    not to be known      kept as it is, with the reason: it neither fires, nor resolves, nor counts time
    not configured       gone, with that reason, whatever is seen; none begins

A frozen alert that is seen again goes on at once. One that is still missing when its inputs are back resolves as
soon as the windows of its expression hold fresh samples again: right after the gap `rate(x[5m])` is empty for want of
samples, not because all is well.

A clock that jumped back makes no negative durations: times in the future are taken as now.
Source of the states: the Prometheus "Alert Generator Compliance Specification", with the freezing added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from tocsin.model import Alert, AlertState, Labels, Transition

from .rule import AlertRule


@dataclass(frozen=True, slots=True)
class Found:
    """What the expression says of one alert now."""

    labels: Labels
    annotations: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Step:
    """The rule's alerts after the evaluation, and what changed."""

    alerts: dict[str, Alert]
    transitions: tuple[Transition, ...]


class Doubt(Protocol):
    """What can't be known at this evaluation: the reason, or the empty string where there is no doubt."""

    def absence(self, alert: Alert) -> str:
        """Why the alert's absence from the result proves nothing."""

    def presence(self, alert: Alert) -> str:
        """Why the alert's presence in the result proves nothing."""

    def removal(self, labels: Labels) -> str:
        """Why there is no alert with these labels, whatever the result says: what it is about is removed."""


def advance(
    rule: AlertRule, alerts: Mapping[str, Alert], found: Mapping[str, Found], doubt: Doubt, now: datetime
) -> Step:
    """The alerts of `rule` at `now`. Both mappings are by alert id; `alerts` holds pending and firing ones."""
    after: dict[str, Alert] = {}
    transitions: list[Transition] = []
    for id, alert in alerts.items():
        known = _not_after(alert, now)
        if why := doubt.removal(alert.labels):
            state = ended(known, now)
        else:
            state = _seen(rule, known, found[id], doubt, now) if id in found else _missing(rule, known, doubt, now)
        if state.state is not AlertState.RESOLVED:
            after[id] = state
        if state.state is not alert.state:
            transitions.append(Transition(alert=state, before=alert.state, at=now, why=why))
    for id, news in found.items():
        if id not in alerts and not doubt.removal(news.labels):
            after[id] = _begun(rule, news, doubt, now)
            transitions.append(Transition(alert=after[id], before=None, at=now))
    return Step(after, tuple(transitions))


def _not_after(alert: Alert, now: datetime) -> Alert:
    """The alert with no time later than now."""
    times = {
        name: now
        for name in ("active_at", "fired_at", "keep_firing_since", "frozen_since")
        if (at := getattr(alert, name)) is not None and at > now
    }
    return replace(alert, **times) if times else alert  # type: ignore[arg-type]


def _begun(rule: AlertRule, found: Found, doubt: Doubt, now: datetime) -> Alert:
    fires = rule.hold <= 0
    alert = Alert(
        rule=rule.id,
        labels=found.labels,
        annotations=found.annotations,
        state=AlertState.FIRING if fires else AlertState.PENDING,
        value=found.value,
        active_at=now,
        fired_at=now if fires else None,
    )
    if why := doubt.presence(alert):
        # absent() of what is hidden: whether it is gone, nobody knows. It fires once that is seen.
        return _frozen(replace(alert, state=AlertState.PENDING, fired_at=None), why, now)
    return alert


def _seen(rule: AlertRule, alert: Alert, found: Found, doubt: Doubt, now: datetime) -> Alert:
    if alert.state is AlertState.PENDING and (why := doubt.presence(alert)):
        return _frozen(alert, why, now)
    alert = replace(
        alert,
        annotations=found.annotations,
        value=found.value,
        keep_firing_since=None,
        frozen_since=None,
        frozen_why="",
    )
    if alert.state is AlertState.PENDING and now - alert.active_at >= timedelta(seconds=rule.hold):
        return replace(alert, state=AlertState.FIRING, fired_at=now)
    return alert


def _missing(rule: AlertRule, alert: Alert, doubt: Doubt, now: datetime) -> Alert:
    if why := doubt.absence(alert):
        return _frozen(alert, why, now)
    alert = replace(alert, frozen_since=None, frozen_why="")
    if alert.state is AlertState.FIRING and rule.keep_firing > 0:
        since = alert.keep_firing_since or now
        if now - since < timedelta(seconds=rule.keep_firing):
            return replace(alert, keep_firing_since=since)
    return ended(alert, now)


def _frozen(alert: Alert, why: str, now: datetime) -> Alert:
    return replace(alert, frozen_since=alert.frozen_since or now, frozen_why=why)


def ended(alert: Alert, now: datetime) -> Alert:
    """The alert resolved now."""
    return replace(alert, state=AlertState.RESOLVED, resolved_at=now, frozen_since=None, frozen_why="")
