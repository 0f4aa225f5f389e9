"""Nouns as JSON and back. What is read back equals what was written, to the microsecond and to the NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from tocsin.incidents.storms import Storm
from tocsin.incidents.told import Told, Via
from tocsin.model import (
    Action,
    Alert,
    AlertState,
    Incident,
    IncidentState,
    Labels,
    Matcher,
    MatchOp,
    Mention,
    Notification,
    Reason,
    Receipt,
    Severity,
    Silence,
    Timeline,
)

Json = Mapping[str, Any]


def dump(value: Any) -> str:
    """JSON text. Characters that UTF-8 can't carry (lone surrogates from a broken log line) become `?`."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return orjson.dumps(_clean(value)).decode()


def parse(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError."""
    return orjson.loads(text)


def printable(text: str) -> str:
    """`text` as a column of its own can hold it: Postgres takes no NUL, UTF-8 no lone surrogate."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return str(value).encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_clean(name): _clean(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(entry) for entry in value]
    return value


# Out -----------------------------------------------------------------------------------------------------------------


def alert_json(alert: Alert) -> dict[str, Any]:
    return {
        "rule": alert.rule,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state,
        "value": alert.value if math.isfinite(alert.value) else repr(alert.value),
        "active_at": alert.active_at,
        "fired_at": alert.fired_at,
        "resolved_at": alert.resolved_at,
        "keep_firing_since": alert.keep_firing_since,
        "frozen_since": alert.frozen_since,
        "frozen_why": alert.frozen_why,
        **({"ends_at": alert.ends_at, "source_url": alert.source_url} if alert.ends_at is not None else {}),
    }


def incident_json(incident: Incident, *, members: bool) -> dict[str, Any]:
    """Without its members where those have rows of their own."""
    return {
        "id": incident.id,
        "route": incident.route,
        "group": dict(incident.group),
        "state": incident.state,
        "severity": incident.severity,
        "members": [alert_json(alert) for alert in incident.members] if members else [],
        "opened_at": incident.opened_at,
        "updated_at": incident.updated_at,
        "revision": incident.revision,
        "acked_at": incident.acked_at,
        "acked_by": incident.acked_by,
        "resolved_at": incident.resolved_at,
        "resolved_why": incident.resolved_why,
        "reopened": incident.reopened,
        "peak": incident.peak,
    }


def notification_json(notification: Notification) -> dict[str, Any]:
    """What has no column of its own. An edit has no snapshot: it shows its incidents as they are when it goes out.

    That of a storm's summary says which they are: it may be thousands, and be replaced by the next a moment later. Its
    last one is of its time: an incident that fires again later is another's to tell.
    """
    storm = notification.action is Action.EDIT and notification.reason is Reason.OVER_BUDGET
    last = storm and all(incident.state is IncidentState.RESOLVED for incident in notification.incidents)
    late, storm = notification.action is Action.EDIT and not last, storm and not last
    line = notification.timeline
    return {
        **({"ids": [incident.id for incident in notification.incidents]} if storm else {}),
        "reason": notification.reason,
        "because": notification.because,
        "incidents": [] if late else [incident_json(incident, members=True) for incident in notification.incidents],
        "mentions": [{"kind": mention.kind, "id": mention.id} for mention in notification.mentions],
        "fault_at": line.fault_at,
        "sampled_at": line.sampled_at,
        "decided_at": line.decided_at,
    }


def told_json(told: Told) -> dict[str, Any]:
    return {
        "post": told.post,
        "at": told.at,
        "revision": told.revision,
        "severity": told.severity,
        "state": told.state,
        "delta_at": told.delta_at,
        "edit_at": told.edit_at,
        "edits_paid": told.edits_paid,
        "escalated": told.escalated,
        "reminded_at": told.reminded_at,
        "reminders": told.reminders,
        "owed": told.owed,
    }


def storm_json(storm: Storm) -> dict[str, Any]:
    return {
        "opened_at": storm.opened_at,
        "folded_at": storm.folded_at,
        "incidents": list(storm.incidents),
        "posted": storm.posted,
        "tells": list(storm.tells),
        "severity": storm.severity,
        "revision": storm.revision,
        "edit_at": storm.edit_at,
    }


def matchers_json(silence: Silence) -> list[dict[str, str]]:
    return [{"name": matcher.name, "op": matcher.op.value, "value": matcher.value} for matcher in silence.matchers]


# In ------------------------------------------------------------------------------------------------------------------


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _known(text: str) -> datetime:
    return datetime.fromisoformat(text)


def alert_of(doc: Json) -> Alert:
    return Alert(
        rule=doc["rule"],
        labels=Labels(doc["labels"]),
        annotations=Labels(doc["annotations"]),
        state=AlertState(doc["state"]),
        value=float(doc["value"]),
        active_at=_known(doc["active_at"]),
        fired_at=_time(doc["fired_at"]),
        resolved_at=_time(doc["resolved_at"]),
        keep_firing_since=_time(doc["keep_firing_since"]),
        frozen_since=_time(doc["frozen_since"]),
        frozen_why=doc["frozen_why"],
        ends_at=_time(doc.get("ends_at")),
        source_url=doc.get("source_url", ""),
    )


def incident_of(doc: Json, members: tuple[Alert, ...] | None = None) -> Incident:
    return Incident(
        id=doc["id"],
        route=doc["route"],
        group=Labels(doc["group"]),
        state=IncidentState(doc["state"]),
        severity=Severity(doc["severity"]),
        members=tuple(alert_of(alert) for alert in doc["members"]) if members is None else members,
        opened_at=_known(doc["opened_at"]),
        updated_at=_known(doc["updated_at"]),
        revision=doc["revision"],
        acked_at=_time(doc["acked_at"]),
        acked_by=doc["acked_by"],
        resolved_at=_time(doc["resolved_at"]),
        resolved_why=doc["resolved_why"],
        reopened=doc["reopened"],
        peak=doc["peak"],
    )


def notification_of(row: Any, doc: Json, incidents: tuple[Incident, ...]) -> Notification:
    """From an outbox row, its document and the incidents it is about."""
    return Notification(
        id=row.id,
        notifier=row.notifier,
        action=Action(row.action),
        reason=Reason(doc["reason"]),
        because=doc["because"],
        incidents=incidents,
        created_at=row.created_at,
        not_before=row.not_before,
        mentions=tuple(Mention(kind=entry["kind"], id=entry["id"]) for entry in doc["mentions"]),
        timeline=Timeline(
            fault_at=_time(doc["fault_at"]), sampled_at=_time(doc["sampled_at"]), decided_at=_time(doc["decided_at"])
        ),
        attempts=row.attempts,
        last_error=row.last_error,
    )


def told_of(incident: str, notifier: str, via: str, doc: Json) -> Told:
    return Told(
        incident=incident,
        notifier=notifier,
        via=Via(via),
        post=doc["post"],
        at=_time(doc["at"]),
        revision=doc["revision"],
        severity=Severity(doc["severity"]),
        state=IncidentState(doc["state"]),
        delta_at=_time(doc["delta_at"]),
        edit_at=_time(doc["edit_at"]),
        edits_paid=_time(doc.get("edits_paid")),
        escalated=doc["escalated"],
        reminded_at=_time(doc["reminded_at"]),
        reminders=doc["reminders"],
        owed=doc["owed"],
    )


def storm_of(id: str, notifier: str, doc: Json) -> Storm:
    return Storm(
        id=id,
        notifier=notifier,
        opened_at=_known(doc["opened_at"]),
        folded_at=_known(doc["folded_at"]),
        incidents=tuple(doc["incidents"]),
        posted=doc["posted"],
        tells=tuple(doc["tells"]),
        severity=Severity(doc["severity"]),
        revision=doc["revision"],
        edit_at=_time(doc["edit_at"]),
    )


def receipt_of(row: Any) -> Receipt:
    return Receipt(
        notification=row.notification,
        notifier=row.notifier,
        incident=row.incident,
        action=Action(row.action),
        at=row.at,
        destination=row.destination,
        ref=row.ref,
        permalink=row.permalink,
        degraded=row.degraded,
        extra=Labels(parse(row.extra)),
    )


def silence_of(row: Any) -> Silence:
    return Silence(
        id=row.id,
        matchers=tuple(
            Matcher(name=entry["name"], op=MatchOp(entry["op"]), value=entry["value"]) for entry in parse(row.matchers)
        ),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        created_by=row.created_by,
        why=row.why,
    )
