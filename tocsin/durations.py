"""Durations as Prometheus writes them: `1h30m`, `500ms`, `2d`.

Units: y = 365 d, w, d, h, m, s, ms, from the largest to the smallest, each at most once.
Source: prometheus/common/model/time.go, ParseDuration.
"""

from __future__ import annotations

import re
from typing import Final

_PATTERN: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?",
)
_UNITS_MS: Final = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_NAMES: Final = ("y", "w", "d", "h", "m", "s", "ms")


def parse_duration(text: str | float) -> float:
    """Seconds. A bare number is seconds. Raises ValueError that shows the form wanted."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f"not a duration: {text!r}; write it like 30s, 5m or 1h30m")
    if isinstance(text, (int, float)):
        return float(text)
    if text == "0":
        return 0.0
    match = _PATTERN.fullmatch(text.strip())
    if match is None or not match.group(0):
        raise ValueError(f"not a duration: {text!r}; write it like 30s, 5m or 1h30m")
    return sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS_MS, strict=True) if count) / 1000


def format_duration(seconds: float) -> str:
    """The shortest form that `parse_duration` reads back: 90.0 → 1m30s."""
    left = round(seconds * 1000)
    if left == 0:
        return "0s"
    sign, left = ("-", -left) if left < 0 else ("", left)
    parts: list[str] = []
    # Years and weeks only where they divide evenly, as Prometheus does: 8d stays 8d.
    for unit, name, exact in zip(_UNITS_MS, _NAMES, (True, True, False, False, False, False, False), strict=True):
        if left == 0:
            break
        if exact and left % unit:
            continue
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count}{name}")
    return sign + "".join(parts)
