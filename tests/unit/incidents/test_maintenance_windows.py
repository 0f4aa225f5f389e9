"""Maintenance windows: when they hold, across clock changes, and what can't be one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tocsin.incidents.hours import Cron
from tocsin.incidents.windows import Window


def window(cron: str, lasts: float = 3600.0, zone: str = "Europe/Berlin") -> Window:
    return Window(name="w", cron=Cron.parse(cron), lasts=lasts, zone=zone, match={"service": "reports"})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "now", "next_"),
    [
        ("30 2 * * mon-fri", "2026-01-09T12:00", "2026-01-12T01:30"),
        ("0 0 29 2 *", "2025-01-01T00:00", "2028-02-28T23:00"),
        ("*/20 9-10 1,15 * *", "2026-06-01T07:45", "2026-06-01T08:00"),
        ("0 4 13 * fri", "2026-02-10T00:00", "2026-02-13T03:00"),
        ("0 4 13 * fri", "2026-03-13T03:00", "2026-03-20T03:00"),
        ("0 4 * JAN 7", "2026-02-01T00:00", "2027-01-03T03:00"),
        # 29 March 2026, 02:00 becomes 03:00: what would have begun at 02:30 begins 30 minutes after the change.
        ("30 2 * * *", "2026-03-28T12:00", "2026-03-29T01:30"),
        # 25 October 2026, 03:00 becomes 02:00: 02:30 comes twice, and the first counts.
        ("30 2 * * *", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", "2026-10-25T00:30", "2026-10-26T01:30"),
        # Every hour is every hour, the one that comes twice too.
        ("0 * * * *", "2026-10-25T00:00", "2026-10-25T01:00"),
    ],
)
def test_it_begins_by_the_walls_of_its_zone(cron: str, now: str, next_: str) -> None:
    """In Berlin: an hour before UTC in winter, two in summer."""
    assert window(cron, lasts=60).next(at(now)) == at(next_)


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        ("2026-01-12T22:29:59", None),
        ("2026-01-12T22:30:00", "2026-01-13T00:30"),
        ("2026-01-13T00:29:59", "2026-01-13T00:30"),
        ("2026-01-13T00:30:00", None),
        # The night of the change: two hours by every clock, although the wall says three, or one.
        ("2026-03-28T23:00:00", "2026-03-29T00:30"),
        ("2026-10-24T23:00:00", "2026-10-24T23:30"),
    ],
)
def test_it_holds_from_its_beginning_until_before_its_end(now: str, ends: str | None) -> None:
    """Past midnight as well: 23:30 in Berlin, for two hours."""
    assert window("30 23 * * *", lasts=7200).ends(at(now)) == (None if ends is None else at(ends))


def test_a_window_of_days_holds_to_its_end() -> None:
    """From Friday evening for sixty hours."""
    weekend = window("0 20 * * fri", lasts=60 * 3600)
    assert weekend.ends(at("2026-01-12T06:59")) == at("2026-01-12T07:00")


def test_it_hides_what_every_expression_matches() -> None:
    """Anchored, as in routes."""
    hides = window("0 3 * * *").hides
    assert (hides({"service": "reports"}), hides({"service": "reports-2"}), hides({})) == (True, False, False)


@pytest.mark.parametrize(
    ("cron", "lasts", "says"),
    [
        ("0 3 * *", 60, "4 fields and needs five"),
        ("60 3 * * *", 60, "minute '60' is not within 0-59"),
        ("0 3 * * mon-xyz", 60, "day of week 'mon-xyz' is neither a number nor a name"),
        ("0 3 5-1 * *", 60, "day of month '5-1' is not within"),
        ("*/0 3 * * *", 60, "minute '\\*/0' is not within"),
        ("0 3 30 2 *", 60, "never comes"),
        ("0 * * * *", 3600, "would never end"),
        ("0 3 * * *", 30, "between 1m and 7d"),
        ("0 3 1 * *", 8 * 86_400, "make a silence"),
    ],
)
def test_what_is_no_window_says_why(cron: str, lasts: float, says: str) -> None:
    """In particular one that never comes, or never ends."""
    with pytest.raises(ValueError, match=says):
        window(cron, lasts)
