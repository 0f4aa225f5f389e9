"""What the state store does not take is owed to it, and alerting goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tocsin.errors import StateError
from tocsin.incidents import Correction
from tocsin.model import Silence
from tocsin.runtime.ledger import Ledger
from tocsin.state import Change
from tocsin.telemetry.metrics import Telemetry

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Disk:
    """A state store whose disk is full on demand."""

    def __init__(self) -> None:
        self.full = False
        self.stored: list[Change] = []

    async def commit(self, change: Change) -> Correction:
        if self.full:
            raise StateError("the disk is full")
        self.stored.append(change)
        return Correction()


def change(id: str) -> Change:
    silence = Silence(id=id, matchers=(), starts_at=NOW, ends_at=NOW, created_by="t", why="t")
    return Change(silences=(silence,))


def ids(change: Change) -> list[str]:
    return [silence.id for silence in change.silences]


def ledger(disk: Disk, telemetry: Telemetry | None = None) -> Ledger:
    return Ledger(disk, telemetry or Telemetry(), wake=lambda: None)  # type: ignore[arg-type]


async def test_what_was_not_stored_is_stored_with_the_next_change_in_one_transaction() -> None:
    """In the order in which it came."""
    disk = Disk()
    owed = ledger(disk)
    disk.full = True
    await owed.commit(change("a"))
    await owed.commit(change("b"))
    disk.full = False
    await owed.commit(change("c"))
    assert ([ids(stored) for stored in disk.stored], owed.owes) == ([["a", "b", "c"]], False)


async def test_it_is_tried_again_although_nothing_new_happens() -> None:
    """The tick settles what is owed once the disk has room."""
    disk = Disk()
    owed = ledger(disk)
    disk.full = True
    await owed.commit(change("a"))
    await owed.settle()
    disk.full = False
    await owed.settle()
    await owed.settle()
    assert [ids(stored) for stored in disk.stored] == [["a"]]


async def test_what_a_person_asks_for_fails_loudly_and_is_not_owed() -> None:
    """They can be told; doing it an hour later would surprise them."""
    disk = Disk()
    owed = ledger(disk)
    disk.full = True
    with pytest.raises(StateError):
        await owed.commit(change("a"), must=True)
    assert not owed.owes


async def test_the_gauge_tells() -> None:
    """TocsinStateStoreDown reads it."""
    disk, telemetry = Disk(), Telemetry()
    owed = ledger(disk, telemetry)
    seen = []
    for full in (False, True, False):
        disk.full = full
        await owed.commit(change("a"))
        seen.append(telemetry.registry.get_sample_value("tocsin_state_up"))
    assert seen == [1.0, 0.0, 1.0]
