"""How much of the last days a target was up: counts by the hour, for 30 days, across restarts. Pure.

Samples are kept for a day by default, so what is said of longer times is counted here. A probe that was not made, or
whose outcome is unknown, counts as neither: uptime is of what was looked at.
"""

from __future__ import annotations

import zlib
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
        self._before: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {}
        """instance → (hour, window → (probes, failures) of its hours before that one): summed once an hour, as a
        thousand targets with a month behind them are too many hours for every poll."""

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
        now = int(at // HOUR)
        total, failed = self._hours.get(instance, {}).get(now, (0, 0))
        for window, (total_before, failed_before) in self._summed(instance, now).items():
            if probes := total + total_before:
                yield window, (probes - failed - failed_before) / probes

    def _summed(self, instance: str, now: int) -> dict[str, tuple[int, int]]:
        hour, sums = self._before.get(instance, (None, {}))
        if hour != now:
            hours, sums = self._hours.get(instance, {}), {}
            for window, length in WINDOWS.items():
                counted = [counts for hour, counts in hours.items() if now - length < hour < now]
                sums[window] = sum(total for total, _ in counted), sum(failed for _, failed in counted)
            self._before[instance] = now, sums
        return sums

    def keep(self, instances: frozenset[str]) -> None:
        """Forget the targets that are gone."""
        self._hours = {name: hours for name, hours in self._hours.items() if name in instances}
        self._before.clear()

    def dump(self) -> bytes:
        """For a checkpoint: instance → hour, probes, failures, hour, …; compressed, as most hours are alike."""
        flat = {
            name: [number for hour, (total, failed) in hours.items() for number in (hour, total, failed)]
            for name, hours in self._hours.items()
        }
        return zlib.compress(orjson.dumps(flat), 1)

    @classmethod
    def read(cls, blob: bytes | None) -> Uptime:
        """What `dump` gave; empty for what it did not."""
        found = cls()
        try:
            flat = orjson.loads(zlib.decompress(blob) if blob else b"{}")
            found._hours = {
                str(name): {
                    int(hour): [int(total), int(failed)]
                    for hour, total, failed in zip(row[::3], row[1::3], row[2::3], strict=True)
                }
                for name, row in flat.items()
            }
        except (ValueError, TypeError, AttributeError, zlib.error):
            found._hours = {}
        return found
