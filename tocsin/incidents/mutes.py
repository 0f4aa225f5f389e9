"""Why an alert is not told now: a silence, a maintenance window, a parent that explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from tocsin.incidents.context import Mute
from tocsin.incidents.dependencies import Parents
from tocsin.incidents.routes import Route
from tocsin.incidents.silences import mute_of, silenced_by
from tocsin.incidents.windows import Window
from tocsin.model import Alert, Incident, Reason, Severity, Silence


@dataclass(frozen=True, kw_only=True)
class Hushing:
    """All that may hold an alert back at one time."""

    silences: Sequence[Silence] = ()
    """Those in force."""
    windows: Sequence[tuple[Window, datetime]] = ()
    """Those that hold, and when each is over."""
    parents: Parents | None = None
    """None: no dependency is configured."""

    def of(self, alert: Alert) -> Mute | None:
        """What holds `alert` back; a person's silence before a window, a window before a parent."""
        if (silence := silenced_by(alert.labels, self.silences)) is not None:
            return mute_of(silence)
        for window, until in self.windows:
            if window.hides(alert.labels):
                return window.mute(until)
        return None if self.parents is None else self.parents.mute(alert)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hush:
    """What the mutes of an incident's members come to."""

    mute: Mute | None
    """Of the worst member, when every one is muted; None: something is to be told."""
    voice: Severity
    """The worst severity that is to be told."""
    until: datetime | None = None
    """When the first mute of a member ends, so that the answer may change."""
    silences: tuple[str, ...] = ()
    """The silences among the mutes, when every member is muted."""


def off_hours(route: Route, now: datetime) -> Mute | None:
    """Why `route` tells nothing now; None: it does."""
    until = route.closed_until(now)
    if until is None:
        return None
    wall = until.astimezone(ZoneInfo((route.hours or ())[0].zone))
    because = f"outside of the hours of route {route.name} until {wall:%d %b %H:%M %Z}"
    return Mute(reason=Reason.IN_WINDOW, because=because, until=until)


def hush(incident: Incident, hushing: Hushing) -> Hush:
    """Why nothing of `incident` is to be told, or what is.

    Of an incident that has ended, what would have been: its members as they were.
    """
    if not hushing.silences and not hushing.windows and hushing.parents is None:
        return Hush(mute=None, voice=incident.severity)
    mutes: list[tuple[int, Mute]] = []
    voice: Severity | None = None
    for alert in incident.firing or incident.members:
        if (found := hushing.of(alert)) is not None:
            # What holds back everything is named before what holds back a first message only.
            mutes.append((alert.severity.rank * 2 + found.creation_only, found))
        elif voice is None or alert.severity.rank < voice.rank:
            voice = alert.severity
    until = min((mute.until for _, mute in mutes if mute.until is not None), default=None)
    if voice is not None or not mutes:
        return Hush(mute=None, voice=voice or incident.severity, until=until)
    silences = tuple(dict.fromkeys(mute.silence for _, mute in mutes if mute.silence))
    return Hush(mute=min(mutes, key=lambda entry: entry[0])[1], voice=incident.severity, until=until, silences=silences)
