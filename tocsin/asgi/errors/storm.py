"""How much of a storm of errors is written: every fingerprint, a few of each in full, all of them counted.

    per fingerprint and window   the first `full` with their stack; the others are counted, and one line tells how many
    of all fingerprints          `most` lines a window; past that only fingerprints not seen in it yet, one line each

So a storm of 10,000 errors a second is some dozens of lines, none of which is the only trace of an error. Fingerprints
past `most_fingerprints` in one window are told as one, `other`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tocsin.model import Seconds

OTHER: Final = "other"


@dataclass(slots=True)
class _Seen:
    full: int = 0
    counted: int = 0


class Storms:
    """The budget; `now` is a monotonic time in seconds."""

    def __init__(
        self, *, full: int = 5, window: Seconds = 60.0, most: int = 200, most_fingerprints: int = 1000
    ) -> None:
        self._full, self._window, self._most, self._most_fingerprints = full, window, most, most_fingerprints
        self._seen: dict[str, _Seen] = {}
        self._since: Seconds | None = None
        self._lines = 0

    def ended(self, now: Seconds) -> bool:
        """True when the window is over: tell `repeats` before the next line."""
        return self._since is not None and not 0 <= now - self._since < self._window

    def repeats(self) -> Iterator[tuple[str, int]]:
        """(fingerprint, how many were not written), and a new window."""
        seen, self._seen, self._since, self._lines = self._seen, {}, None, 0
        return ((name, one.counted) for name, one in seen.items() if one.counted)

    def is_full(self, fingerprint: str, now: Seconds) -> bool:
        """True when this one is to be written; False when it is counted only."""
        if self._since is None:
            self._since = now
        seen = self._seen.get(fingerprint)
        if seen is None:
            if len(self._seen) >= self._most_fingerprints:
                fingerprint = OTHER
            seen = self._seen.setdefault(fingerprint, _Seen())
        if seen.full < self._full and (self._lines < self._most or not seen.full):
            seen.full += 1
            self._lines += 1
            return True
        seen.counted += 1
        return False
