"""Retry-After, back-off, and what an answer means."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from tocsin.series.remote.pace import LONGEST, MOST_OBEYED, backoff, retry_after
from tocsin.series.remote.receiver import Verdict, judge

NOW = datetime(2026, 1, 5, 14, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 05 Jan 2026 14:02:30 GMT", 30.0),
        ("Mon, 05 Jan 2026 14:01:00 GMT", 0.0),
        ("Mon, 05 Jan 2026 14:02:30", 30.0),
        ("999999999", MOST_OBEYED),
        ("99999999999999999999999999", MOST_OBEYED),
        ("soon", None),
        ("-3", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, expected: float | None) -> None:
    """What can't be read counts as not said."""
    assert expected == retry_after(header, NOW)


def test_back_off_doubles_to_a_bound_and_is_never_quite_the_same() -> None:
    """Many senders that fail together don't come back together."""
    chance = Random(1)
    waits = [backoff(failures, chance) for failures in range(1, 200)]
    assert all(0 < wait <= LONGEST for wait in waits)
    assert len(set(waits)) == len(waits)
    assert waits[0] < waits[3] < waits[8]


@pytest.mark.parametrize(
    ("status", "expected", "doubtful"),
    [
        (200, Verdict.ACCEPTED, False),
        (204, Verdict.ACCEPTED, False),
        (301, Verdict.LATER, False),
        (400, Verdict.UNWELCOME, False),
        (401, Verdict.REFUSED, False),
        (404, Verdict.REFUSED, False),
        (413, Verdict.UNWELCOME, False),
        (429, Verdict.LATER, False),
        (500, Verdict.LATER, True),
        (503, Verdict.LATER, True),
    ],
)
def test_a_status_says_what_to_do(status: int, expected: Verdict, *, doubtful: bool) -> None:
    """5xx and 429 are sent again, other 4xx never; after a 5xx the samples may be there all the same."""
    answer = judge(status, {}, "", NOW)
    assert (expected, doubtful) == (answer.verdict, answer.doubtful)


@pytest.mark.parametrize(("status", "expected"), [(429, 5.0), (503, 5.0), (500, None)])
def test_retry_after_counts_where_it_means_something(status: int, expected: float | None) -> None:
    """On 429 and 503."""
    assert expected == judge(status, {"Retry-After": "5"}, "", NOW).wait
