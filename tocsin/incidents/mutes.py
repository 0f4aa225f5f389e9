"""Why an alert is not told now: a silence, a maintenance window, a parent that explains it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tocsin.incidents.policy import Mute
from tocsin.incidents.silences import mute_of, silenced_by
from tocsin.model import Incident, Severity, Silence


def hush(incident: Incident, silences: Sequence[Silence], now: datetime) -> tuple[Mute | None, Severity]:
    """Why nothing of `incident` is to be told (None: something is), and the worst severity that is to be.

    Of an incident that has ended, what would have been: its members as they were.
    """
    if not silences:
        return None, incident.severity
    members = incident.firing or incident.members
    mutes: list[tuple[int, Mute]] = []
    voice: Severity | None = None
    for alert in members:
        found = silenced_by(alert.labels, silences)
        if found is not None:
            mutes.append((alert.severity.rank, mute_of(found)))
        elif voice is None or alert.severity.rank < voice.rank:
            voice = alert.severity
    if voice is not None or not mutes:
        return None, voice or incident.severity
    return min(mutes, key=lambda entry: entry[0])[1], incident.severity
