"""How much of the last days a target was up: counts by the hour, for 30 days, across restarts. Pure.

Samples are kept for a day by default, so what is said of longer times is counted here. A probe that was not made, or
whose outcome is unknown, counts as neither: uptime is of what was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from tocsin.model import Seconds

HOUR: Final = 3600
WINDOWS: Final = {"1d": 24, "3d": 72, "7d": 168, "30d": 720}
"""In hours, the one that runs included."""
_KEPT: Final = max(WINDOWS.values())


class Uptime:
    """Of all targets of a collector, by instance."""

    def __init__(self) -> None:
        self._hours: dict[str, dict[int, list[int]]] = {}
        """instance → hour since the epoch → [probes, failures]"""

    def add(self, instance: str, at: Seconds, *, up: bool) -> None:
        """Count a probe."""
        hours, hour = self._hours.setdefault(instance, {}), int(at // HOUR)
        if hour not in hours:
            hours[hour] = [0, 0]
            for old in [known for known in hours if known <= hour - _KEPT]:
                del hours[old]
        hours[hour][0] += 1
        hours[hour][1] += not up

    def ratios(self, instance: str, at: Seconds) -> Iterator[tuple[str, float]]:
        """(window, share of its probes that were up); nothing for one without a probe."""
        hours, now = self._hours.get(instance, {}), int(at // HOUR)
        for window, length in WINDOWS.items():
            counted = [counts for hour, counts in hours.items() if now - length < hour <= now]
            probes = sum(total for total, _ in counted)
            if probes:
                yield window, (probes - sum(failed for _, failed in counted)) / probes

    def keep(self, instances: frozenset[str]) -> None:
        """Forget the targets that are gone."""
        self._hours = {name: hours for name, hours in self._hours.items() if name in instances}

    def dump(self) -> bytes:
        """For a checkpoint."""
        flat = {name: [[hour, *counts] for hour, counts in hours.items()] for name, hours in self._hours.items()}
        return orjson.dumps(flat)

    @classmethod
    def read(cls, blob: bytes | None) -> Uptime:
        """What `dump` gave; empty for what it did not."""
        found = cls()
        try:
            flat = orjson.loads(blob or b"{}")
            found._hours = {
                str(name): {int(hour): [int(total), int(failed)] for hour, total, failed in rows}
                for name, rows in flat.items()
            }
        except (ValueError, TypeError, AttributeError):
            found._hours = {}
        return found
