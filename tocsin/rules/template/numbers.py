"""Numbers for people: 1.235M, 1Mi, 1d 2h 3m 4s, 12.35%. Four significant digits, as Prometheus'."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from .constants import parse_float
from .go_format import format_float
from .lex import quote
from .values import Duration, ExecutionFailed, type_name

_LARGE: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_BINARY: Final = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")


def to_float(value: object) -> float:
    """A number, a string that holds one, or a duration in seconds. Raises ExecutionFailed."""
    if isinstance(value, Duration):
        return value.nanoseconds / 1e9
    if isinstance(value, str):
        number = parse_float(value)
        if number is None:
            raise ExecutionFailed(f"strconv.ParseFloat: parsing {quote(value)}: invalid syntax")
        return number
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ExecutionFailed(f"can't convert {type_name(value)} to float")


def _short(value: float) -> str:
    return format_float(value, "g", 4)


def _reduced(value: float, step: float, prefixes: Sequence[str]) -> str:
    chosen = ""
    for prefix in prefixes:
        if abs(value) < step:
            break
        chosen = prefix
        value /= step
    return _short(value) + chosen


def _enlarged(value: float) -> str:
    chosen = ""
    for prefix in _SMALL:
        if abs(value) >= 1:
            break
        chosen = prefix
        value *= 1000
    return _short(value) + chosen


def humanize(value: object) -> str:
    """1234567 → 1.235M; 0.12 → 120m."""
    number = to_float(value)
    if number == 0 or not math.isfinite(number):
        return _short(number)
    return _reduced(number, 1000, _LARGE) if abs(number) >= 1 else _enlarged(number)


def humanize_1024(value: object) -> str:
    """1048576 → 1Mi."""
    number = to_float(value)
    if abs(number) <= 1 or not math.isfinite(number):
        return _short(number)
    return _reduced(number, 1024, _BINARY)


def humanize_duration(value: object) -> str:
    """Seconds: 90 → 1m 30s; 0.0123 → 12.3ms."""
    seconds = to_float(value)
    if not math.isfinite(seconds):
        return _short(seconds)
    if seconds == 0:
        return "0s"
    if abs(seconds) < 1:
        return _enlarged(seconds) + "s"
    sign = "-" if seconds < 0 else ""
    whole = int(abs(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hour}h {minute}m {second}s"
    if hour:
        return f"{sign}{hour}h {minute}m {second}s"
    if minute:
        return f"{sign}{minute}m {second}s"
    return f"{sign}{_short(abs(seconds))}s"


def humanize_percentage(value: object) -> str:
    """0.1234567 → 12.35%."""
    return _short(to_float(value) * 100) + "%"
