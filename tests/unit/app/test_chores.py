"""The chores of every second: what ended long ago is forgotten once an hour, by whoever leads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from tocsin.access.allowlist.change import Put
from tocsin.access.allowlist.entry import Effect, Entry, Kind, Role
from tocsin.app.chores import ACCOUNT_EVERY, OUTBOX_EVERY, Chores
from tocsin.state import State
from tocsin.state.allowlist import AllowlistTable
from tocsin.state.inbox import Inbox
from tocsin.state.schema import silences
from tocsin.telemetry.metrics import Telemetry
from tocsin.testing.clock import VirtualClock
from tocsin.testing.empty_store import empty_store

NOW = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
DAY = 86_400.0


async def silences_after_a_tick(folder: Path, *, leads: bool) -> list[str]:
    """Of two silences, one that ended 100 days ago and one 10: what the store holds after the hour's tick."""
    (folder / "state.db").write_bytes(await asyncio.to_thread(empty_store))
    state = await State.open(f"sqlite:///{folder / 'state.db'}")
    async with state.writing() as connection:
        rows = [
            {
                "id": name, "matchers": "[]", "starts_at": NOW - timedelta(days=days + 1),
                "ends_at": NOW - timedelta(days=days), "created_by": "ana", "why": "deploy",
            }
            for name, days in (("old", 100), ("recent", 10))
        ]  # fmt: skip
        await connection.execute(sa.insert(silences), rows)

    async def nothing(*_: Any) -> None:
        """There is nothing else to do."""

    pipeline: Any = SimpleNamespace(leads=leads, tick=nothing, act=nothing)
    chores = Chores(
        state=state, pipeline=pipeline, inbox=Inbox(state), clock=VirtualClock(NOW), telemetry=Telemetry(),
        history=lambda: 90 * DAY, _ticks=ACCOUNT_EVERY - 1,
    )  # fmt: skip
    await chores.tick()
    async with state.reading() as connection:
        kept = (await connection.execute(sa.select(silences.c.id).order_by(silences.c.id))).scalars().all()
    await state.close()
    return list(kept)


async def test_what_ended_before_the_history_begins_is_forgotten(tmp_path: Path) -> None:
    """So that the store does not grow for ever; what is younger stays."""
    assert await silences_after_a_tick(tmp_path, leads=True) == ["recent"]


async def test_a_follower_forgets_nothing(tmp_path: Path) -> None:
    """That is the leader's to do."""
    assert await silences_after_a_tick(tmp_path, leads=False) == ["old", "recent"]


async def test_a_change_of_the_allowlist_shows_as_an_entry_more(tmp_path: Path) -> None:
    """Read from the store, wherever it was made; before the first look there is no number, for a zero would be news."""
    (tmp_path / "state.db").write_bytes(await asyncio.to_thread(empty_store))
    state = await State.open(f"sqlite:///{tmp_path / 'state.db'}")

    async def nothing(*_: Any) -> None:
        """There is nothing else to do."""

    telemetry = Telemetry()
    pipeline: Any = SimpleNamespace(leads=True, tick=nothing, act=nothing)
    chores = Chores(
        state=state, pipeline=pipeline, inbox=Inbox(state),
        clock=VirtualClock(NOW), telemetry=telemetry, history=lambda: 90 * DAY, _ticks=ACCOUNT_EVERY + OUTBOX_EVERY - 1,
    )  # fmt: skip
    seen = [_entries(telemetry)]
    await chores.tick()
    seen.append(_entries(telemetry))
    entry = Entry(
        value="ana@example.com", kind=Kind.EMAIL, effect=Effect.ALLOW, role=Role.ADMIN, added_by="cli", added_at=NOW
    )
    await AllowlistTable(state).change(Put((entry,)), "cli", NOW)
    chores._ticks = 2 * ACCOUNT_EVERY + OUTBOX_EVERY - 1
    await chores.tick()
    seen.append(_entries(telemetry))
    await state.close()
    assert seen == [None, 0, 1]


def _entries(telemetry: Telemetry) -> float | None:
    return telemetry.registry.get_sample_value("tocsin_audit_entries", {"of": "allowlist"})
