"""Which incident an alert belongs to, and what an incident becomes when its alerts change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from tocsin.incidents.routes import Route
from tocsin.model import Alert, AlertState, Incident, IncidentState, Labels, Severity

KEPT: Final = 200
"""So many ended members an incident keeps beside those that fire; the oldest go first."""

_ALPHABET: Final = "23456789abcdefghjkmnpqrstvwxyz"  # no 0/o, 1/i/l, u: it is read out on the phone

Key = tuple[str, Labels]
"""Route name and group: what an open incident is found by."""


def incident_id(route: str, group: Labels, opened_at: datetime, taken: Callable[[str], bool]) -> str:
    """`i-7k2m9qxd`: the same for the same incident on every replay; never one that is taken."""
    salt = 0
    while True:
        text = f"{route}\xff{group!r}\xff{opened_at.isoformat()}\xff{salt}"
        number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        letters = ""
        for _ in range(8):
            number, place = divmod(number, len(_ALPHABET))
            letters += _ALPHABET[place]
        if not taken(found := f"i-{letters}"):
            return found
        salt += 1


def new_incident(id: str, route: Route, group: Labels, alerts: Mapping[str, Alert], now: datetime) -> Incident:
    """An incident that opens with `alerts`, all firing."""
    members = tuple(alerts.values())
    return Incident(
        id=id,
        route=route.name,
        group=group,
        state=IncidentState.OPEN,
        severity=worst(members),
        members=members,
        opened_at=now,
        updated_at=now,
        peak=len(members),
    )


def with_alerts(incident: Incident, alerts: Mapping[str, Alert], changed: Iterable[Alert], now: datetime) -> Incident:
    """The incident with members `alerts`, of which `changed` are new or other than before.

    It ends with the last that fires, and reopens with the next.
    """
    members = tuple(alerts.values())
    firing = sum(alert.state is AlertState.FIRING for alert in members)
    joined = worst(alert for alert in changed if alert.state is AlertState.FIRING)
    after = incident.changed(now, members=members, peak=max(incident.peak, firing))
    if incident.state is not IncidentState.RESOLVED:
        if not firing:
            return replace(after, state=IncidentState.RESOLVED, resolved_at=now, resolved_why="")
        return replace(after, severity=min(incident.severity, joined, key=lambda severity: severity.rank))
    if not firing:
        return after
    # Whoever took it knows about it: an incident that was acked reopens as acked, and doesn't escalate again.
    return replace(
        after,
        state=IncidentState.ACKED if incident.acked_at else IncidentState.OPEN,
        severity=joined,
        resolved_at=None,
        resolved_why="",
        reopened=incident.reopened + 1,
    )


def forgotten(alerts: Mapping[str, Alert]) -> tuple[str, ...]:
    """Ids of ended members past those that are kept, the oldest."""
    ended = [(alert.resolved_at or alert.active_at, id) for id, alert in alerts.items() if not _fires(alert)]
    if len(ended) <= KEPT:
        return ()
    return tuple(id for _, id in sorted(ended)[: len(ended) - KEPT])


def worst(alerts: Iterable[Alert]) -> Severity:
    """The most severe of these; P3 of none."""
    return min((alert.severity for alert in alerts), key=lambda severity: severity.rank, default=Severity.P3)


def _fires(alert: Alert) -> bool:
    return alert.state is AlertState.FIRING
