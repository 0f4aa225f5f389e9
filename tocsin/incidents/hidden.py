"""What a silence hides, and how that is told: once, when it has ended, to each destination that it kept something from.

A silence hides a beginning: that an incident opened, came back or became worse, while nothing was said of it. What is
told at its end wakes nobody. What still fires then is told as it is due anyway, by a message of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from tocsin.incidents.context import Context
from tocsin.incidents.draft import Draft
from tocsin.incidents.matching import all_match
from tocsin.incidents.told import Hidden, Via
from tocsin.model import (
    Action,
    Decision,
    Incident,
    IncidentState,
    Mention,
    Notification,
    Reason,
    Severity,
    Silence,
    Timeline,
)

NAMED: Final = 100
"""So many incidents are listed, the worst first; the text counts all."""
_WORDS: Final = 60


def hides(incident: Incident, context: Context, decision: Decision) -> bool:
    """True when a beginning is kept from the destination by a silence."""
    if decision.action is not Action.HOLD or not context.silences or decision.reason is Reason.NOTHING_NEW:
        return False
    told = context.told
    if told.via is Via.NOTHING:
        return True
    if incident.state is IncidentState.RESOLVED or decision.reason is Reason.OVER_BUDGET:
        return False
    return told.ended or context.voice.rank < told.severity.rank


def reveal(draft: Draft) -> list[Notification]:
    """What is told of the silences that have ended: each is told of once, and what it hid may leave the book."""
    reports: list[Notification] = []
    for id, by_incident in list(draft.hidden.items()):
        silence = draft.silences[id]
        if silence.ends_at > draft.now:
            continue
        entries = [entry for each in by_incident.values() for entry in each]
        written = {}
        for notifier, incidents in _by_destination(draft, entries).items():
            mentions = draft.plan.contacts.get(silence.created_by, ())
            written[notifier] = report(silence, notifier, incidents, draft.now, mentions)
        reports += written.values()
        whole = next(iter(written.values()), None)
        for entry in entries:
            told_by = written.get(entry.notifier, whole)
            draft.revealed(replace(entry, told_at=draft.now, told_by="" if told_by is None else told_by.id))
    return reports


def _by_destination(draft: Draft, entries: Iterable[Hidden]) -> dict[str, list[Incident]]:
    """Whom to tell of what: the destination that it was kept from, or those of the route where that is gone."""
    found: dict[str, dict[str, Incident]] = {}
    for entry in entries:
        if (file := draft.files.get(entry.incident)) is None:
            continue
        known = entry.notifier in draft.plan.destinations
        names: Sequence[str] = (entry.notifier,) if known else draft.plan.route_of(file.incident).receivers
        for name in names:
            found.setdefault(name, {})[entry.incident] = file.incident
    return {name: list(incidents.values()) for name, incidents in found.items()}


def report(
    silence: Silence, notifier: str, incidents: Sequence[Incident], now: datetime, mentions: tuple[Mention, ...] = ()
) -> Notification:
    """What one destination is told when `silence` has ended."""
    worst = sorted(incidents, key=lambda each: (each.severity.rank, each.opened_at, each.id))
    return Notification(
        id=f"{silence.id}:{notifier}:ended:{round(silence.ends_at.timestamp())}",
        notifier=notifier,
        action=Action.DIGEST,
        reason=Reason.SILENCE_ENDED,
        because=text(silence, incidents),
        incidents=tuple(worst[:NAMED]),
        created_at=now,
        not_before=now,
        mentions=mentions,
        timeline=Timeline(decided_at=now),
    )


def text(silence: Silence, incidents: Sequence[Incident]) -> str:
    """`silence s-3f of ana (deploy) has ended. It hid 12 alerts in 3 incidents, 1 of them P0; 1 still fires`."""
    alerts = sum(all_match(silence.matchers, alert.labels) for each in incidents for alert in each.members)
    pages = sum(each.severity is Severity.P0 for each in incidents)
    still = sum(each.state is not IncidentState.RESOLVED for each in incidents)
    hid = f"It hid {_count(alerts, 'alert')} in {_count(len(incidents), 'incident')}"
    worst = f", {pages:,} of them P0" if pages else ""
    fires = "none fires any more" if not still else f"{still:,} still fire{'s' if still == 1 else ''}"
    said = f"silence {silence.id} of {silence.created_by[:_WORDS]} ({silence.why[:_WORDS]}) has ended. "
    return f"{said}{hid}{worst}; {fires}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
