"""Go's time.Time and time.Duration, as far as a template uses them: printing, Format, a few methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from .values import Duration, ExecutionFailed, Time

_LAYOUT: Final = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|-07:00:00|-070000|-07:00|-0700|-07|Z07:00|Z0700|002|01|02|03|04|05|06|15|PM|pm"
    r"|_2|[.,]0+(?!\d)|[.,]9+(?!\d)|1|2|3|4|5"
)
_SECOND: Final = 1_000_000_000


def _fraction(token: str, at: datetime) -> str:
    digits = f"{at.microsecond * 1000:09d}"[: len(token) - 1].ljust(len(token) - 1, "0")
    if token[1] == "0":
        return token[0] + digits
    digits = digits.rstrip("0")
    return token[0] + digits if digits else ""


_PARTS: Final[dict[str, Callable[[datetime], str]]] = {
    "January": lambda at: at.strftime("%B"),
    "Jan": lambda at: at.strftime("%b"),
    "Monday": lambda at: at.strftime("%A"),
    "Mon": lambda at: at.strftime("%a"),
    "MST": lambda at: "UTC",
    "2006": lambda at: f"{at.year:04d}",
    "06": lambda at: f"{at.year % 100:02d}",
    "01": lambda at: f"{at.month:02d}",
    "1": lambda at: str(at.month),
    "02": lambda at: f"{at.day:02d}",
    "2": lambda at: str(at.day),
    "_2": lambda at: f"{at.day:2d}",
    "002": lambda at: f"{at.timetuple().tm_yday:03d}",
    "15": lambda at: f"{at.hour:02d}",
    "03": lambda at: f"{at.hour % 12 or 12:02d}",
    "3": lambda at: str(at.hour % 12 or 12),
    "04": lambda at: f"{at.minute:02d}",
    "4": lambda at: str(at.minute),
    "05": lambda at: f"{at.second:02d}",
    "5": lambda at: str(at.second),
    "PM": lambda at: "PM" if at.hour >= 12 else "AM",
    "pm": lambda at: "pm" if at.hour >= 12 else "am",
    "-07:00:00": lambda at: "+00:00:00",
    "-070000": lambda at: "+000000",
    "-07:00": lambda at: "+00:00",
    "-0700": lambda at: "+0000",
    "-07": lambda at: "+00",
    "Z07:00": lambda at: "Z",
    "Z0700": lambda at: "Z",
}


def format_layout(time: Time, layout: str) -> str:
    """time.Format: a layout is written as the moment Mon Jan 2 15:04:05 MST 2006 would be."""
    at = time.at.astimezone(UTC)

    def part(found: re.Match[str]) -> str:
        token = found.group(0)
        return _fraction(token, at) if token[0] in ".," else _PARTS[token](at)

    return _LAYOUT.sub(part, layout)


def format_time(time: Time) -> str:
    """As Go prints a time."""
    return format_layout(time, "2006-01-02 15:04:05.999999999 -0700 MST")


def format_duration(duration: Duration) -> str:
    """As Go prints a duration: 1h0m5s, 1.5s, 12ms."""
    left = abs(duration.nanoseconds)
    sign = "-" if duration.nanoseconds < 0 else ""
    if left == 0:
        return "0s"
    if left < _SECOND:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if left >= size:
                return f"{sign}{_trimmed(left, size)}{unit}"
    minutes, rest = divmod(left, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{_trimmed(rest, _SECOND)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return sign + (f"{hours}h{text}" if hours else text)


def _trimmed(amount: int, size: int) -> str:
    whole, part = divmod(amount, size)
    if not part:
        return str(whole)
    return f"{whole}.{str(part).rjust(len(str(size)) - 1, '0').rstrip('0')}"


def to_time(seconds: float) -> Time:
    """A Unix time, to the millisecond. Raises ExecutionFailed outside Go's range."""
    if abs(seconds * 1e9) > 2**63 - 1:
        from .go_format import format_float

        raise ExecutionFailed(
            f"{format_float(seconds)} cannot be represented as a nanoseconds timestamp since it overflows int64"
        )
    return Time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(seconds * 1e9) // 1_000_000))


def _moved(time: Time, by: Duration) -> Time:
    try:
        return Time(time.at + timedelta(microseconds=by.nanoseconds / 1000))
    except OverflowError as error:
        raise ExecutionFailed("the time is out of range") from error


def _millis(time: Time) -> int:
    return round((time.at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


METHODS: Final[dict[tuple[type, str], tuple[tuple[type, ...], Callable[..., object]]]] = {
    (Time, "Format"): ((str,), format_layout),
    (Time, "String"): ((), format_time),
    (Time, "Unix"): ((), lambda time: _millis(time) // 1000),
    (Time, "UnixMilli"): ((), _millis),
    (Time, "UTC"): ((), lambda time: time),
    (Time, "Add"): ((Duration,), _moved),
    (Time, "Sub"): ((Time,), lambda time, other: Duration((_millis(time) - _millis(other)) * 1_000_000)),
    (Time, "Before"): ((Time,), lambda time, other: time.at < other.at),
    (Time, "After"): ((Time,), lambda time, other: time.at > other.at),
    (Time, "Year"): ((), lambda time: time.at.year),
    (Time, "Day"): ((), lambda time: time.at.day),
    (Time, "YearDay"): ((), lambda time: time.at.timetuple().tm_yday),
    (Time, "Hour"): ((), lambda time: time.at.hour),
    (Time, "Minute"): ((), lambda time: time.at.minute),
    (Time, "Second"): ((), lambda time: time.at.second),
    (Time, "Month"): ((), lambda time: time.at.strftime("%B")),
    (Time, "Weekday"): ((), lambda time: time.at.strftime("%A")),
    (Duration, "String"): ((), format_duration),
    (Duration, "Seconds"): ((), lambda duration: duration.nanoseconds / 1e9),
    (Duration, "Minutes"): ((), lambda duration: duration.nanoseconds / 60e9),
    (Duration, "Hours"): ((), lambda duration: duration.nanoseconds / 3600e9),
    (Duration, "Milliseconds"): ((), lambda duration: int(duration.nanoseconds / 1e6)),
}
"""(type, name) → (types of its arguments, what it does)."""
