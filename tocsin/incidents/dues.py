"""When time alone may bring something about: a digest, an escalation, a reminder, the end of a mute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from tocsin.incidents.context import PAGE, Context
from tocsin.incidents.deltas import delta_due
from tocsin.incidents.told import Via
from tocsin.model import Incident, IncidentState


def next_look(incident: Incident, context: Context, now: datetime) -> datetime | None:
    """When `policy.decide` may answer otherwise although nothing but time has passed; None: never."""
    return min((due for due in _dues(incident, context, now) if due is not None and due > now), default=None)


def _dues(incident: Incident, context: Context, now: datetime) -> Iterator[datetime | None]:
    yield digest_due(incident, context) if context.told.revision < incident.revision else None
    if incident.state is IncidentState.RESOLVED:
        yield flap_end(incident, context) if not context.told.ended else None
        return
    yield context.mute.until if context.mute is not None else None
    yield context.hushed_until
    yield context.budget_until if context.told.via in (Via.NOTHING, Via.DIGEST) else None
    yield escalation_due(incident, context)
    yield reminder_due(incident, context)
    yield delta_due(incident, context, now)


def digest_due(incident: Incident, context: Context) -> datetime | None:
    """When the digest that tells the present state comes; None where none does."""
    if context.route.digest is None or context.told.via not in (Via.NOTHING, Via.DIGEST):
        return None
    if context.voice.rank <= PAGE.rank:
        return None
    return context.route.digest.after(max(context.told.at or incident.opened_at, incident.opened_at))


def flap_end(incident: Incident, context: Context) -> datetime | None:
    """When what ended has stayed away for the flap window."""
    if incident.resolved_at is None:
        return None
    return incident.resolved_at + timedelta(seconds=context.route.flap_seconds)


def escalation_due(incident: Incident, context: Context) -> datetime | None:
    """When the next step of the escalation comes; None when it was acked, or has no more steps."""
    steps, told = context.route.escalate or (), context.told
    if incident.state is not IncidentState.OPEN or told.via is not Via.POST or told.at is None:
        return None
    if told.escalated >= len(steps):
        return None
    return told.at + timedelta(seconds=steps[told.escalated].after)


def reminder_due(incident: Incident, context: Context) -> datetime | None:
    """When to remind; None when it was acked or the route doesn't repeat."""
    told = context.told
    if incident.state is not IncidentState.OPEN or told.via is not Via.POST or told.at is None:
        return None
    if not context.route.repeat:
        return None
    return (told.reminded_at or told.at) + timedelta(seconds=context.route.repeat)
