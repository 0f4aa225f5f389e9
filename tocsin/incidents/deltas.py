"""Who joined an incident and who left it since a destination was told: when that is said, and in which words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents.context import Context
from tocsin.incidents.told import Told, Via
from tocsin.model import Alert, AlertState, Incident, Seconds, since

THREAD_EVERY: Final[Seconds] = 60.0
"""Who joined and left goes to the thread at most this often, and less often the older the incident is."""


def delta_due(incident: Incident, context: Context, now: datetime) -> datetime | None:
    """When who joined and left goes to the thread; None when nobody has, or there is no thread."""
    told = context.told
    if told.via is not Via.POST or told.delta_at is None or not context.destination.edits:
        return None
    joined, left = changes(incident, told.delta_at)
    if not joined and not left:
        return None
    age = since(incident.opened_at, told.delta_at).total_seconds()
    return told.delta_at + timedelta(seconds=max(THREAD_EVERY, age / 10))


def changes(incident: Incident, after: datetime) -> tuple[tuple[Alert, ...], tuple[Alert, ...]]:
    """The members that began to fire after a time, and those that ended after it."""
    joined = tuple(a for a in incident.members if a.state is AlertState.FIRING and (a.fired_at or a.active_at) > after)
    left = tuple(
        a
        for a in incident.members
        if a.state is AlertState.RESOLVED and a.resolved_at is not None and a.resolved_at > after
        and (a.fired_at or a.active_at) <= after
    )  # fmt: skip
    return joined, left


def delta_text(incident: Incident, told: Told) -> str:
    """`2 more: api-1, api-2; 1 ended: api-0; 7 fire`."""
    joined, left = changes(incident, told.delta_at or incident.opened_at)
    parts = []
    if joined:
        parts.append(f"{len(joined)} more: {_names(joined, incident)}")
    if left:
        parts.append(f"{len(left)} ended: {_names(left, incident)}")
    parts.append(f"{len(incident.firing)} firing")
    return "; ".join(parts)


def _names(alerts: tuple[Alert, ...], incident: Incident) -> str:
    """What tells the members apart: the labels that the incident's group does not give."""
    shown = []
    for alert in alerts[:5]:
        own = alert.labels.without(*incident.group, "severity", "alertname")
        shown.append(" ".join(own.values()) or alert.name)
    return ", ".join(shown) + (f" and {len(alerts) - 5} others" if len(alerts) > 5 else "")
