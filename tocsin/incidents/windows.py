"""Maintenance windows: hours that come again, known beforehand, in which some alerts are not told.

    Window(name="export", cron=Cron.parse("30 2 * * mon-fri"), zone="Europe/Berlin", lasts=3600.0,
           match={"service": "reports"}, why="the nightly export")

When they hold is in tocsin.incidents.hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from tocsin.incidents.context import Mute
from tocsin.incidents.hours import Hours
from tocsin.incidents.matching import fits, pattern
from tocsin.model import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Window(Hours):
    """Alerts that `match` matches are not told while it holds. Who was told that something fires is told its end."""

    name: str
    match: Mapping[str, str]
    """Label → regular expression, anchored. A label that an alert has not got counts as empty."""
    why: str = ""

    def __post_init__(self) -> None:
        for expression in self.match.values():
            pattern(expression)
        if not self.match:
            raise ValueError("a window needs `match`; all alerts are matched by {alertname: .+}")
        # Not super(): a dataclass with slots is another class than the one this was written in.
        Hours.__post_init__(self)

    def hides(self, labels: Mapping[str, str]) -> bool:
        """True when every expression matches its label."""
        return all(fits(expression, labels.get(label, "")) for label, expression in self.match.items())

    def mute(self, until: datetime) -> Mute:
        """The window as policy reads it."""
        wall = until.astimezone(ZoneInfo(self.zone))
        because = f"in the maintenance window {self.name} until {wall:%d %b %H:%M %Z}" + (
            f": {self.why}" if self.why else ""
        )
        return Mute(reason=Reason.IN_WINDOW, because=because, until=until)


def open_windows(windows: Iterable[Window], now: datetime) -> tuple[tuple[Window, datetime], ...]:
    """Those that hold now, and when each is over; the one that lasts longest first."""
    held = ((window, window.ends(now)) for window in windows)
    return tuple(sorted(((w, end) for w, end in held if end is not None), key=lambda entry: entry[1], reverse=True))
