"""The list in memory: quick, at most two seconds behind, and bounded in an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tocsin.access.allowlist import Effect, Listed, Role, Roster, Ruling, entry_of
from tocsin.access.verdicts import Reason, Unavailable
from tocsin.errors import StateError


class FakeShelf:
    """A Shelf whose list, faults and slowness a test sets."""

    def __init__(self, listed: Listed) -> None:
        self.listed = listed
        self.broken = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.looks = self.loads = 0
        self.noted: list[Mapping[str, datetime]] = []

    async def version(self) -> int:
        self.looks += 1
        await self._faults()
        return self.listed.version

    async def load(self) -> Listed:
        self.loads += 1
        listed = self.listed
        await self._faults()
        return listed

    async def seen(self, when: Mapping[str, datetime]) -> None:
        await self._faults()
        self.noted.append(when)

    async def _faults(self) -> None:
        await self.gate.wait()
        if self.broken:
            raise StateError("the database is down")

    def becomes(self, *entries: Any) -> None:
        self.listed = replace(self.listed, entries=entries, version=self.listed.version + 1)


@pytest.fixture
def shelf(now: datetime) -> FakeShelf:
    return FakeShelf(Listed(entries=(entry_of("ana@example.com", now, by="root", role=Role.VIEWER),), version=1))


def at(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)


async def comes_in(roster: Roster, now: datetime, email: str = "ana@example.com") -> bool | Reason:
    found = await roster.ruling(email, now)
    return found.allowed if isinstance(found, Ruling) else found.reason


async def test_a_removal_bites_at_the_next_look(shelf: FakeShelf, now: datetime) -> None:
    """One second, and no notification was needed."""
    roster = Roster(shelf)
    assert await comes_in(roster, now) is True
    shelf.becomes()
    assert [await comes_in(roster, at(now, s)) for s in (0.9, 1.0)] == [True, False]


async def test_a_removal_that_is_told_bites_at_once(shelf: FakeShelf, now: datetime) -> None:
    """LISTEN/NOTIFY's part."""
    roster = Roster(shelf)
    await comes_in(roster, now)
    shelf.becomes()
    roster.invalidate()
    assert await comes_in(roster, now) is False


async def test_a_change_told_while_the_list_is_read_is_read_too(shelf: FakeShelf, now: datetime) -> None:
    """What was under way may have read the list of before."""
    roster = Roster(shelf)
    shelf.gate.clear()
    first = asyncio.create_task(comes_in(roster, now))
    while not shelf.loads:
        await asyncio.sleep(0)
    shelf.becomes()
    roster.invalidate()
    second = asyncio.create_task(comes_in(roster, now))
    await asyncio.sleep(0)
    shelf.gate.set()
    assert (await second, await first is not None) == (False, True)


async def test_a_list_that_did_not_change_is_not_read_again(shelf: FakeShelf, now: datetime) -> None:
    """Its version is asked, once a second however many requests there are."""
    roster = Roster(shelf)
    for tenth in range(50):
        await asyncio.gather(*(comes_in(roster, at(now, tenth / 10)) for _ in range(10)))
    assert (shelf.loads, shelf.looks) == (1, 4)


async def test_an_expiry_needs_no_look(shelf: FakeShelf, now: datetime) -> None:
    """It is asked of the time of the request."""
    shelf.becomes(entry_of("ana@example.com", now, by="root", expires_at=at(now, 0.5)))
    roster = Roster(shelf)
    assert [await comes_in(roster, at(now, s)) for s in (0, 0.4, 0.5)] == [True, True, False]


async def test_an_outage_is_survived_for_a_minute_then_nobody_comes_in(shelf: FakeShelf, now: datetime) -> None:
    """503 and not 403: who may come in is not known."""
    roster = Roster(shelf)
    await comes_in(roster, now)
    shelf.broken = True
    assert [await comes_in(roster, at(now, s)) for s in (60.9, 62)] == [True, Reason.NO_LIST]
    shelf.broken = False
    assert await comes_in(roster, at(now, 70)) is True


async def test_an_outage_from_the_start_lets_nobody_in(shelf: FakeShelf, now: datetime) -> None:
    """There is no list to fall back on."""
    shelf.broken = True
    found = await Roster(shelf).ruling("ana@example.com", now)
    assert isinstance(found, Unavailable)
    assert (found.status, found.because) == (503, "the database is down")


async def test_a_store_that_hangs_costs_the_deadline_and_not_every_request(shelf: FakeShelf, now: datetime) -> None:
    """The last list holds meanwhile."""
    roster = Roster(shelf, deadline=0.02)
    await comes_in(roster, now)
    shelf.gate.clear()
    assert [await comes_in(roster, at(now, 2 + n / 10)) for n in range(9)] == [True] * 9
    assert shelf.looks == 1


async def test_a_caller_who_hangs_up_takes_the_look_from_nobody(shelf: FakeShelf, now: datetime) -> None:
    """It is shared."""
    roster = Roster(shelf)
    shelf.gate.clear()
    first, second = (asyncio.create_task(comes_in(roster, now)) for _ in range(2))
    while not shelf.loads:
        await asyncio.sleep(0)
    first.cancel()
    shelf.gate.set()
    assert (await second, shelf.loads) == (True, 1)


async def test_a_clock_set_back_looks_anew(shelf: FakeShelf, now: datetime) -> None:
    """How old the list is can't be told then."""
    roster = Roster(shelf)
    await comes_in(roster, now)
    shelf.becomes()
    assert await comes_in(roster, at(now, -3600)) is False


async def test_who_came_in_is_noted_once_in_a_quarter_of_an_hour(shelf: FakeShelf, now: datetime) -> None:
    """Coming in costs no write; who is refused is not noted."""
    roster = Roster(shelf)
    for seconds in (0, 0.5, 1):
        await comes_in(roster, at(now, seconds))
        await comes_in(roster, at(now, seconds), "eve@example.com")
    await roster.close()
    assert shelf.noted == [{"ana@example.com": now}]


async def test_a_break_glass_address_is_an_admin_without_a_list(shelf: FakeShelf, now: datetime) -> None:
    """For the day the list is the problem: denied, or its database gone. Every use is in the log."""
    roster = Roster(shelf, break_glass=["Root@Example.com"])
    shelf.becomes(entry_of("example.com", now, by="mallory", effect=Effect.DENY))
    shelf.broken = True
    with capture_logs() as logs:
        found = await roster.ruling("root@example.com", now)
    assert isinstance(found, Ruling)
    assert (found.allowed, found.role) == (True, Role.ADMIN)
    assert "access.break_glass_used" in [line["event"] for line in logs]
    assert await comes_in(roster, now, "root@example.com.evil.example") is Reason.NO_LIST


def test_a_roster_that_could_be_late_is_refused(shelf: FakeShelf) -> None:
    """Two seconds are a promise."""
    with pytest.raises(ValueError, match="2 s"):
        Roster(shelf, ttl=2.0)
