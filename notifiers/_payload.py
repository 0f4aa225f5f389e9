"""A notification as JSON, for machines: the schema that the docstring of notifiers.webhook lays down. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from notifiers._facts import facts_of, first_of, page_of, push_text, several_text, symptom_of, tells_of_several
from tocsin.model import Alert, Incident, Notification

VERSION: Final = 1
MOST: Final = 100
"""Incidents, and members of each."""


def payload_of(notification: Notification, *, members: int = MOST, console_url: str = "") -> dict[str, Any]:
    """The body of version 1."""
    one = not tells_of_several(notification)
    facts = facts_of(notification.incident, notification.created_at, zone=ZoneInfo("UTC"))
    timeline = notification.timeline
    return {
        "version": VERSION,
        "id": notification.id,
        "notifier": notification.notifier,
        "action": notification.action.value,
        "reason": notification.reason.value,
        "because": notification.because,
        "text": push_text(facts) if one else several_text(notification),
        "severity": notification.severity.value,
        "created_at": _time(notification.created_at),
        "attempt": notification.attempts,
        "mentions": [{"kind": mention.kind, "id": mention.id} for mention in notification.mentions],
        "timeline": {
            "fault_at": _time(timeline.fault_at),
            "sampled_at": _time(timeline.sampled_at),
            "decided_at": _time(timeline.decided_at),
        },
        "incidents": [_incident(incident, members, console_url) for incident in notification.incidents[:MOST]],
        "incidents_total": len(notification.incidents),
    }


def _incident(incident: Incident, members: int, console_url: str) -> dict[str, Any]:
    firing = incident.firing
    first = first_of(firing or incident.members)
    return {
        "id": incident.id,
        "state": incident.state.value,
        "severity": incident.severity.value,
        "route": incident.route,
        "group": dict(incident.group),
        "summary": symptom_of(first[0]) if first else "",
        "opened_at": _time(incident.opened_at),
        "updated_at": _time(incident.updated_at),
        "revision": incident.revision,
        "acked_at": _time(incident.acked_at),
        "acked_by": incident.acked_by,
        "resolved_at": _time(incident.resolved_at),
        "resolved_why": incident.resolved_why,
        "reopened": incident.reopened,
        "firing": len(firing),
        "peak": incident.peak,
        "url": page_of(incident.id, console_url),
        "members_total": len(incident.members),
        "members": [_alert(alert) for alert in incident.members[:members]],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alertname": alert.name,
        "state": alert.state.value,
        "severity": alert.severity.value,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "value": _number(alert.value),
        "active_at": _time(alert.active_at),
        "fired_at": _time(alert.fired_at),
        "resolved_at": _time(alert.resolved_at),
        "frozen_since": _time(alert.frozen_since),
        "frozen_why": alert.frozen_why,
    }


def encode(payload: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which some parsers refuse, becomes a question mark."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _number(value: float) -> str:
    """As Prometheus writes a sample's value."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value).removesuffix(".0")
