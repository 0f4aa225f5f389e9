"""The Management API as source, against the stand-in over HTTP: each event once, and no silence taken for quiet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collectors.auth_logs.sources.window import Row, Window, iso, microseconds
from tocsin.testing.supabase import FakeManagement, LogFault

# Types of this folder's conftest, which a test can't import.
Auth = Any
Lines = Any
FAILURES = "tocsin_auth_failures_total"
GAPS = "tocsin_auth_log_gaps_total"
UP = "tocsin_auth_log_up"


@pytest.fixture
async def api() -> AsyncIterator[FakeManagement]:
    async with FakeManagement() as found:
        yield found


def start(auth: Auth, api: FakeManagement, **more: Any) -> None:
    source = {"project": api.project, "token": api.token, "base_url": api.url}
    auth.start(**{"source": {"management_api": source}, "interval": 30, "deadline": 5, **more})


async def test_events_are_counted_once_over_polls_and_restarts(auth: Auth, api: FakeManagement, lines: Lines) -> None:
    """Polls overlap by two minutes; ids tell what was counted, also for the next run."""
    api.add(lines.failed(), at=auth.now - timedelta(minutes=5))
    start(auth, api)
    seen = await auth.poll()
    assert (seen.value(FAILURES), seen.value(UP)) == (None, 1)  # before the first look: history
    for round in range(6):
        api.add(lines.failed(), lines.failed(), at=auth.now + timedelta(seconds=5))
        seen = await auth.poll(after=30)
        assert (seen.value(FAILURES), seen.value(GAPS)) == (2 * round + 2, 0)
        if round % 2:
            await auth.collector.close()
            start(auth, api)
    assert (await auth.poll()).value(FAILURES) == 12


async def test_late_and_doubled_rows_count_once(auth: Auth, api: FakeManagement, lines: Lines) -> None:
    """An event that becomes visible after newer ones is still found."""
    api.add(lines.login(), at=auth.now - timedelta(minutes=1))
    start(auth, api)
    await auth.poll(after=30)
    late = auth.now + timedelta(seconds=1)
    api.add(lines.failed(), at=late, visible_from=late + timedelta(seconds=70))
    api.add(lines.failed(), at=late + timedelta(seconds=2))
    api.faults.append(LogFault.TWICE)
    assert (await auth.poll(after=30)).value(FAILURES) == 1
    assert (await auth.poll(after=30)).value(FAILURES) == 1
    assert (await auth.poll(after=30)).value(FAILURES) == 2
    assert (await auth.poll(after=30)).value(FAILURES) == 2


async def test_a_burst_of_more_rows_than_an_answer_holds(auth: Auth, api: FakeManagement, lines: Lines) -> None:
    """A full answer is followed by another that begins where it ended, in the same poll."""
    api.add(lines.login(), at=auth.now)
    start(auth, api)
    await auth.poll()
    for second in range(5):
        api.add(*[lines.failed()] * 700, at=auth.now + timedelta(seconds=second))
    seen = await auth.poll(after=30)
    assert (seen.value(FAILURES), seen.value(GAPS)) == (3500, 0)


async def test_what_can_not_be_asked_for_is_a_gap(auth: Auth, api: FakeManagement, lines: Lines) -> None:
    """More events of one moment than an answer holds; reading goes on behind it."""
    api.add(lines.login(), at=auth.now)
    start(auth, api)
    await auth.poll()
    api.add(*[lines.failed()] * 1500, at=auth.now + timedelta(seconds=1))
    api.add(lines.failed(), at=auth.now + timedelta(seconds=5))
    seen = await auth.poll(after=30)
    assert (seen.value(FAILURES), seen.value(GAPS)) == (1001, 1)


async def test_an_empty_answer_is_unknown(auth: Auth, api: FakeManagement, lines: Lines) -> None:
    """Each question reaches back to an event that is known: an answer without it is wrong; nothing is lost."""
    api.add(lines.failed(), at=auth.now + timedelta(seconds=1))
    start(auth, api, start="beginning", idle="7d")
    assert (await auth.poll(after=30)).value(FAILURES) == 1
    api.add(lines.failed(), at=auth.now + timedelta(seconds=1))
    api.faults.extend([LogFault.EMPTY, LogFault.EMPTY])
    seen = await auth.poll(after=30)
    assert (seen.value(UP), seen.value(FAILURES)) == (0, None)
    assert "not known" in seen.blind[0]
    assert (await auth.poll(after=30)).value(FAILURES) == 2
    # Hours in which nobody signs in: the newest event is still in the answer.
    for _ in range(5):
        seen = await auth.poll(after=4 * 3600)
        assert (seen.value(UP), seen.value(FAILURES)) == (1, 2)
    seen = await auth.poll(after=5 * 3600)
    assert (seen.value(UP), "nothing was logged for 24 h" in seen.blind[0]) == (0, True)
    api.add(lines.failed(), at=auth.now)
    seen = await auth.poll(after=30)
    assert (seen.value(FAILURES), seen.value(GAPS)) == (3, 0)


async def test_a_project_without_any_event_is_blind_until_the_first(
    auth: Auth, api: FakeManagement, lines: Lines
) -> None:
    """And then the first counts, for it came after the first look."""
    start(auth, api)
    seen = await auth.poll()
    assert (seen.value(UP), "no row of the last 24 h" in seen.blind[0]) == (0, True)
    api.add(lines.failed(), at=auth.now + timedelta(seconds=3))
    api.add(lines.failed(), at=auth.now + timedelta(seconds=4))
    seen = await auth.poll(after=30)
    assert (seen.value(UP), seen.value(FAILURES)) == (1, 2)


async def test_a_day_without_us_is_a_gap(auth: Auth, api: FakeManagement, lines: Lines) -> None:
    """More than 24 h can't be asked for; it is told once."""
    api.add(lines.login(), at=auth.now)
    start(auth, api)
    await auth.poll()
    await auth.collector.close()
    start(auth, api)
    api.add(lines.failed(), at=auth.now + timedelta(hours=2))
    api.add(lines.failed(), at=auth.now + timedelta(hours=30))
    seen = await auth.poll(after=36 * 3600)
    assert (seen.value(FAILURES), seen.value(GAPS)) == (1, 1)
    assert (await auth.poll(after=30)).value(GAPS) == 1


@pytest.mark.parametrize(
    ("fault", "status"), [(LogFault.LIMITED, "429"), (LogFault.LIMITED_UNTIL, "429"), (LogFault.CLOSED, "503")]
)
async def test_a_wait_that_is_asked_for_is_kept(
    auth: Auth, api: FakeManagement, lines: Lines, fault: LogFault, status: str
) -> None:
    """As long as Retry-After says no question is asked; the loop's clock says when it is over."""
    api.add(lines.login(), at=auth.now)
    start(auth, api)
    await auth.poll()
    api.faults.append(fault)
    asked = len(api.asked)
    seen = await auth.poll(after=30)
    assert (seen.value(UP), f"answered {status}" in seen.blind[0]) == (0, True)
    seen = await auth.poll(after=30)
    assert (seen.value(UP), len(api.asked)) == (0, asked + 1)
    auth.collector._log[0]._api._not_before = 0.0
    assert (await auth.poll(after=30)).value(UP) == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (LogFault.BROKEN, "answered 502"),
        (LogFault.NO_LIST, "no list of rows"),
        (LogFault.NO_TIME, "no id, timestamp and event_message"),
        (LogFault.RESET, "/analytics/endpoints/logs"),
        (LogFault.HANG, "no whole answer within 0.4s"),
    ],
)
async def test_a_failed_answer_is_blind_and_loses_nothing(
    auth: Auth, api: FakeManagement, lines: Lines, fault: LogFault, why: str
) -> None:
    """The next poll takes what this one could not."""
    api.add(lines.login(), at=auth.now)
    start(auth, api, deadline=0.5 if fault is LogFault.HANG else 10)
    await auth.poll()
    api.add(lines.failed(), at=auth.now + timedelta(seconds=1))
    # A connection that was kept and is reset may be tried again at once, for it may have been idle too long.
    api.faults.extend([fault] * (2 if fault is LogFault.RESET else 1))
    seen = await auth.poll(after=30)
    assert (seen.value(UP), why in seen.blind[0], api.token in seen.blind[0]) == (0, True, False)
    seen = await auth.poll(after=30)
    assert (seen.value(UP), seen.value(FAILURES), seen.value(GAPS)) == (1, 1, 0)


@pytest.mark.parametrize(("column", "calls"), [("source", 1), ("source_name", 2)])
async def test_either_name_of_the_column_will_do(
    auth: Auth, api: FakeManagement, lines: Lines, column: str, calls: int
) -> None:
    """Documentation and changelog differ; the one that worked is asked first from then on."""
    api.column = column
    api.add(lines.login(), at=auth.now)
    start(auth, api)
    assert (await auth.poll()).value(UP) == 1
    assert len(api.asked) == calls
    assert (await auth.poll()).value(UP) == 1
    assert len(api.asked) == calls + 1
    api.column = "neither"
    seen = await auth.poll()
    assert "does not understand our query: Code: 47" in seen.blind[0]


async def test_a_wrong_token_or_project_says_what_to_do(auth: Auth, api: FakeManagement) -> None:
    """By the key in config.yaml; the token itself is in no message."""
    api.token = "another"
    start(auth, FakeManagement(url=api.url))
    seen = await auth.poll()
    assert ("management_api.token is not valid" in seen.blind[0], "sbp_" in seen.blind[0]) == (True, False)
    await auth.collector.close()
    start(auth, FakeManagement(url=api.url, token="another", project="other"))
    assert "check source.management_api.project" in (await auth.poll()).blind[0]


async def test_both_times_are_passed_and_within_a_day(auth: Auth, api: FakeManagement, lines: Lines) -> None:
    """What the endpoint wants of every question."""
    api.add(lines.login(), at=auth.now)
    start(auth, api, start="beginning")
    for _ in range(3):
        await auth.poll(after=20 * 3600)
    for asked in api.asked:
        begin, end = (datetime.fromisoformat(asked[f"iso_timestamp_{each}"]) for each in ("start", "end"))
        assert timedelta(0) < end - begin <= timedelta(hours=24)


def test_ids_are_forgotten_with_their_time() -> None:
    """What is older than the overlap is not taken again, so its ids need not be kept; nor more than fit."""
    window = Window(floor=0, overlap=10)
    window.take([Row("a", 5, b""), Row("b", 20, b"")])
    assert window.begin == 10
    answer = [Row("a", 5, b""), Row("b", 20, b""), Row("c", 12, b""), Row("c", 12, b"")]
    assert [row.id for row in window.sift(answer)] == ["c"]
    again = Window(floor=99, overlap=10, saved=window.to_json())
    assert (again.begin, again.to_json()) == (10, window.to_json())
    assert len(window.to_json()["seen"]) == 1


def test_more_events_than_are_remembered_shrink_the_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather a late event is lost than one counted twice."""
    monkeypatch.setattr("collectors.auth_logs.sources.window.REMEMBERED", 3)
    window = Window(floor=0, overlap=100)
    rows = [Row(str(at), at, b"") for at in range(1, 8)]
    window.take(rows)
    assert window.sift(rows) == []
    assert window.floor == 6


def test_times_are_exact() -> None:
    """To the microsecond, there and back."""
    at = datetime(2026, 8, 20, 9, 0, 0, 123457, tzinfo=UTC)
    assert iso(microseconds(at)) == "2026-08-20T09:00:00.123457Z"
    assert datetime.fromisoformat(iso(microseconds(at))) == at
