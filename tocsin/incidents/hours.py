"""Hours that come again: a cron expression says when they begin, a duration how long they last.

    Hours(cron=Cron.parse("0 9 * * mon-fri"), lasts=9 * 3600.0, zone="Europe/Berlin")

`cron` has the five fields of crontab(5): minute, hour, day of month, month, day of week, with `*`, lists, ranges and
steps; names of months and days by three letters; Sunday is 0 or 7. Where both days are restricted either one suffices,
as crontab(5) has it.

Beginnings are wall times of the zone; hours last as long by every clock. A beginning that a clock change skips is the
instant it would have been; of one that comes twice the first counts, or both where every hour is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final, Self
from zoneinfo import ZoneInfo

from tocsin.model import Seconds

LONGEST: Final[Seconds] = 7 * 86_400.0
"""What is to be silent for longer wants a silence, which somebody answers for."""
_SEARCH_DAYS: Final = 8 * 366
"""A 29 February may be eight years away."""
_MONTHS: Final = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12,
}  # fmt: skip
_DAYS: Final = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: Final[tuple[tuple[str, int, int, Mapping[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """When something begins, on the walls of some zone."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    """Of the month; None: any."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """0 is Sunday; None: any."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError that names the field."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            form = "minute hour day-of-month month day-of-week, e.g. 30 2 * * mon-fri"
            raise ValueError(f"not a cron expression: {text!r}; it has {len(parts)} fields and needs five: {form}")
        minutes, hours, days, months, weekdays = (
            _numbers(part, *field) for part, field in zip(parts, _FIELDS, strict=True)
        )
        return cls(
            text=" ".join(parts),
            minutes=minutes,
            hours=hours,
            days=None if parts[2].startswith("*") and len(days) == 31 else days,
            months=months,
            weekdays=None if parts[4].startswith("*") and len(weekdays) >= 7 else frozenset(n % 7 for n in weekdays),
        )

    def on(self, day: date) -> bool:
        """True when it begins on `day` at all."""
        if day.month not in self.months:
            return False
        by_month = self.days is not None and day.day in self.days
        by_week = self.weekdays is not None and day.isoweekday() % 7 in self.weekdays
        if self.days is None or self.weekdays is None:
            return (self.days is None or by_month) and (self.weekdays is None or by_week)
        return by_month or by_week


def _numbers(text: str, field: str, low: int, high: int, names: Mapping[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            every = int(step) if slash else 1
            if span == "*":
                begin, end = low, high
            else:
                begin = _number(first, names)
                end = _number(last, names) if dash else high if slash else begin
        except ValueError:
            raise ValueError(f"cron: {field} {part!r} is neither a number nor a name it knows") from None
        if every < 1 or not low <= begin <= end <= high:
            raise ValueError(f"cron: {field} {part!r} is not within {low}-{high}, from the lower to the higher")
        found.update(range(begin, end + 1, every))
    return frozenset(found)


def _number(text: str, names: Mapping[str, int]) -> int:
    return names[text.lower()] if text.lower() in names else int(text)


@lru_cache(maxsize=4096)
def _beginnings(cron: Cron, zone: str, day: date) -> tuple[datetime, ...]:
    """The instants (UTC) at which it begins on `day` of the zone, in order."""
    if not cron.on(day):
        return ()
    folds = (0, 1) if len(cron.hours) == 24 else (0,)
    walls = (time(hour, minute, fold=fold) for fold in folds for hour in cron.hours for minute in cron.minutes)
    return tuple(sorted({datetime.combine(day, wall, ZoneInfo(zone)).astimezone(UTC) for wall in walls}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Hours:
    """Times that come again and last a while."""

    cron: Cron
    lasts: Seconds
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if not 60 <= self.lasts <= LONGEST:
            raise ValueError("it lasts between 1m and 7d; for longer make a silence, which has an author")
        begins = self._coming(datetime(2024, 1, 1, tzinfo=UTC), 400)
        if not begins:
            raise ValueError(f"cron {self.cron.text!r} never comes")
        if any((after - before).total_seconds() <= self.lasts for before, after in pairwise(begins)):
            raise ValueError(f"cron {self.cron.text!r} comes again before it has ended, so it would never end")

    def ends(self, now: datetime) -> datetime | None:
        """When those that hold now are over; None: none do."""
        lasts = timedelta(seconds=self.lasts)
        day = now.astimezone(ZoneInfo(self.zone)).date() + timedelta(days=1)
        for _ in range(lasts.days + 4):
            begun = [begin for begin in _beginnings(self.cron, self.zone, day) if begin <= now < begin + lasts]
            if begun:
                return begun[-1] + lasts
            day -= timedelta(days=1)
        return None

    def next(self, now: datetime) -> datetime | None:
        """When they begin again; None: not in the next eight years."""
        return next(iter(self._coming(now, 1)), None)

    def _coming(self, now: datetime, count: int) -> list[datetime]:
        day = now.astimezone(ZoneInfo(self.zone)).date() - timedelta(days=1)
        found: set[datetime] = set()
        last_day = None
        for _ in range(_SEARCH_DAYS):
            found.update(begin for begin in _beginnings(self.cron, self.zone, day) if begin > now)
            if last_day is not None:
                break
            # A clock change may bring two days' beginnings out of order: one day more, then they are sorted.
            last_day = day if len(found) >= count else None
            day += timedelta(days=1)
        return sorted(found)[:count]
