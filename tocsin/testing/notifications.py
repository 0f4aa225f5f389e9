"""Alerts, incidents and notifications for tests of what tells about them: whole ones, of which a test changes a part.

The same story throughout: at 14:02 UTC a twelfth of checkout-api's requests begins to fail, and it is 14:05 now.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from tocsin.model import (
    Action,
    Alert,
    AlertState,
    Incident,
    IncidentState,
    Labels,
    Notification,
    Reason,
    Receipt,
    Severity,
)
from tocsin.testing.clock import START

NOW: Final = START + timedelta(minutes=3)
SUMMARY: Final = "12.4 % of requests fail (limit 0.1 %)"
LABELS: Final = Labels(alertname="HighErrorRate", severity="P0", service="checkout-api", region="eu-west-1")
ANNOTATIONS: Final = Labels(
    summary=SUMMARY,
    description="Requests to checkout answer 5xx.",
    runbook_url="https://runbooks.example/HighErrorRate",
    dashboard_url="https://grafana.example/d/api?from=now-1h&to=now",
)


def an_alert(**changes: Any) -> Alert:
    """A firing P0. `labels` and `annotations` are added to the usual ones."""
    labels = LABELS.with_(changes.pop("labels", {}))
    annotations = ANNOTATIONS.with_(changes.pop("annotations", {}))
    alert = Alert(
        rule="api;HighErrorRate",
        labels=labels,
        annotations=annotations,
        state=AlertState.FIRING,
        value=0.124,
        active_at=START,
        fired_at=START,
    )
    return replace(alert, **changes)


def alerts(count: int, **changes: Any) -> tuple[Alert, ...]:
    """`count` alerts that differ by instance: web-0, web-1, …"""
    return tuple(an_alert(**changes, labels={"instance": f"web-{number}"}) for number in range(count))


def an_incident(**changes: Any) -> Incident:
    """An open one with one firing alert."""
    incident = Incident(
        id="i-3f9a2c",
        route="pages",
        group=Labels(service="checkout-api"),
        state=IncidentState.OPEN,
        severity=Severity.P0,
        members=(an_alert(),),
        opened_at=START,
        updated_at=NOW,
        peak=1,
    )
    return replace(incident, **changes)


def an_acked_incident(by: str = "Ana", **changes: Any) -> Incident:
    """Acknowledged two minutes after it began."""
    at = START + timedelta(minutes=2)
    return an_incident(state=IncidentState.ACKED, acked_at=at, acked_by=by, revision=2, **changes)


def a_resolved_incident(**changes: Any) -> Incident:
    """Over after three minutes."""
    member = an_alert(state=AlertState.RESOLVED, resolved_at=NOW)
    values = {"members": (member,), "resolved_at": NOW, "resolved_why": "all alerts have ended", "revision": 3}
    return an_incident(**{"state": IncidentState.RESOLVED, **values, **changes})


def a_notification(*incidents: Incident, action: Action = Action.POST, **changes: Any) -> Notification:
    """One call about `incidents` (by default the usual one) to the notifier named `slack-pages`."""
    told = incidents or (an_incident(),)
    notification = Notification(
        id=f"{told[0].id}:slack-pages:{action.value}:{told[0].revision}",
        notifier="slack-pages",
        action=action,
        reason=Reason.NEW_INCIDENT,
        because="a new incident",
        incidents=told,
        created_at=NOW,
        not_before=NOW,
    )
    return replace(notification, **changes)


def a_receipt(ref: str = "1767621900.000100", **changes: Any) -> Receipt:
    """Of the usual incident's first message in Slack."""
    receipt = Receipt(
        notification="i-3f9a2c:slack-pages:post:1",
        notifier="slack-pages",
        incident="i-3f9a2c",
        action=Action.POST,
        at=NOW,
        destination="C0ALERTS",
        ref=ref,
    )
    return replace(receipt, **changes)
