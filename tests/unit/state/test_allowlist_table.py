"""The allowlist as rows, on SQLite and on Postgres: one version, an audit that can't be changed, no race for the last
admin, and a removal that every process knows within two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tocsin.access.allowlist import (
    ChangeRefused,
    Effect,
    Entry,
    Fold,
    Folding,
    Purge,
    Put,
    Remove,
    Role,
    Roster,
    entry_of,
)
from tocsin.access.allowlist.listen import listen
from tocsin.errors import StateError
from tocsin.state import State, schema
from tocsin.state.allowlist import AllowlistTable
from tocsin.tasks import end_tasks
from tocsin.testing.clock import VirtualClock
from tocsin.testing.empty_store import empty_store
from tocsin.testing.postgres import EmbeddedPostgres

from .conftest import OPEN_AS_ON_SUPABASE, new_database

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def migrated(postgres: EmbeddedPostgres) -> str:
    """As on Supabase, where whatever is made in the public schema is open to its REST interface: one to copy from."""
    url = new_database(postgres, name="migrated")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(OPEN_AS_ON_SUPABASE)

    async def migrate() -> None:
        await (await State.open(url)).close()

    asyncio.run(migrate())
    return "migrated"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        (tmp_path / "tocsin.db").write_bytes(empty_store())
        return f"sqlite:///{tmp_path / 'tocsin.db'}"
    copied: str = request.getfixturevalue("migrated_url")
    return copied


@pytest.fixture
async def state(url: str) -> AsyncIterator[State]:
    opened = await State.open(url, durable=False)
    yield opened
    await opened.close()


@pytest.fixture
def table(state: State) -> AllowlistTable:
    return AllowlistTable(state)


def made(text: str, **fields: Any) -> Entry:
    return entry_of(text, NOW, by="cli:root", **fields)


async def test_an_entry_is_read_as_it_was_written(table: AllowlistTable) -> None:
    """Every field, to the microsecond."""
    entry = made("ana@example.com", role=Role.ADMIN, note="on call", expires_at=NOW + timedelta(microseconds=1))
    denied = made("*.bad.example", effect=Effect.DENY)
    for put in (entry, denied):
        await table.change(Put((put,)), "cli:root", NOW)
    assert (await table.load()).entries == (denied, entry)


async def test_each_change_moves_the_version(table: AllowlistTable) -> None:
    """Also one that folds; but not being seen, which would make every process read the list again."""
    versions = [await table.version()]
    for change in (Put((made("ana@example.com"),)), Put((made("ana@example.com", note="x"),)), Fold(Folding(plus=True)),
                   Remove(("ana@example.com",))):  # fmt: skip
        await table.change(change, "cli:root", NOW)
        versions.append(await table.version())
    assert sorted(set(versions)) == versions
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    version = await table.version()
    await table.seen({"ana@example.com": NOW})
    assert await table.version() == version
    assert (await table.load()).folding == Folding(plus=True)


async def test_a_change_by_hand_moves_the_version_too(state: State, table: AllowlistTable) -> None:
    """The trigger counts, and not our code: somebody with psql is heard as well."""
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    version = await table.version()
    async with state.writing() as connection:
        await connection.execute(sa.delete(schema.allowlist))
    assert await table.version() > version


async def test_being_seen_never_goes_back_in_time(table: AllowlistTable) -> None:
    """Two processes note the same entry in any order."""
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    for seconds in (5, 3):
        await table.seen({"ana@example.com": NOW + timedelta(seconds=seconds)})
    assert (await table.load()).entries[0].last_seen_at == NOW + timedelta(seconds=5)


async def test_the_audit_says_who_did_what(table: AllowlistTable) -> None:
    """The newest first, with what was before and after."""
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    await table.change(Put((made("ana@example.com", note="x"),)), "bob@example.com", NOW)
    await table.change(Remove(("ana@example.com",)), "cli:root", NOW, guarded=False)
    found = [audited.line for audited in await table.audit(value="ana@example.com")]
    assert [(line.action, line.actor, line.before is None, line.after is None) for line in found] == [
        ("remove!", "cli:root", False, True),
        ("change", "bob@example.com", False, False),
        ("add", "cli:root", True, False),
    ]
    assert (found[1].after or {})["note"] == "x"


@pytest.mark.parametrize("statement", ["UPDATE allowlist_audit SET actor = 'mallory'", "DELETE FROM allowlist_audit"])
async def test_the_audit_can_only_grow(state: State, table: AllowlistTable, statement: str) -> None:
    """The database itself refuses, whoever asks."""
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    with pytest.raises(StateError, match="append-only"):
        async with state.writing() as connection:
            await connection.execute(sa.text(statement))
    assert len(await table.audit()) == 1


async def test_no_line_of_the_audit_is_written_over(state: State, table: AllowlistTable) -> None:
    """By either database's way to replace a row while it is inserted."""
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    ((seq, line),) = [(each.seq, each.line) for each in await table.audit()]
    row = f"allowlist_audit VALUES ({seq}, 0, 'mallory', 'add', 'x.example', '', '')"
    statement = f"INSERT OR REPLACE INTO {row}"
    if state.dialect == "postgresql":
        statement = f"INSERT INTO {row} ON CONFLICT (seq) DO UPDATE SET actor = excluded.actor"
    with pytest.raises(StateError, match="append-only"):
        async with state.writing() as connection:
            await connection.execute(sa.text(statement))
    assert [each.line for each in await table.audit()] == [line]


async def test_a_refused_change_leaves_no_trace(table: AllowlistTable) -> None:
    """Neither in the list nor in the audit."""
    await table.change(Put((made("ana@example.com", role=Role.ADMIN),)), "cli:root", NOW)
    before = await table.load(), await table.audit()
    with pytest.raises(ChangeRefused):
        await table.change(Remove(("ana@example.com",)), "cli:root", NOW)
    assert (await table.load(), await table.audit()) == before


async def test_a_dry_run_changes_nothing(table: AllowlistTable) -> None:
    """And says what it would."""
    lines = await table.change(Put((made("ana@example.com"),)), "cli:root", NOW, dry_run=True)
    assert ([line.action for line in lines], (await table.load()).entries) == (["add"], ())


async def test_two_admins_who_remove_each_other_at_once_leave_one(url: str, table: AllowlistTable) -> None:
    """From two processes: the second sees what the first did, and is refused."""
    for name in ("ana", "bob"):
        await table.change(Put((made(f"{name}@example.com", role=Role.ADMIN),)), "cli:root", NOW)
    other = await State.open(url, durable=False)
    try:
        outcomes = await asyncio.gather(
            table.change(Remove(("bob@example.com",)), "ana@example.com", NOW),
            AllowlistTable(other).change(Remove(("ana@example.com",)), "bob@example.com", NOW),
            return_exceptions=True,
        )
    finally:
        await other.close()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ChangeRefused", "tuple"]
    assert len((await table.load()).entries) == 1


async def test_a_removal_in_one_process_bites_in_another(url: str, table: AllowlistTable) -> None:
    """By the version alone, a second later on any database."""
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    other = await State.open(url, durable=False)
    roster = Roster(AllowlistTable(other))
    try:
        first = await roster.ruling("ana@example.com", NOW)
        await table.change(Remove(("ana@example.com",)), "cli:root", NOW)
        second = await roster.ruling("ana@example.com", NOW + timedelta(seconds=1))
    finally:
        await roster.close()
        await other.close()
    assert [getattr(ruling, "allowed", None) for ruling in (first, second)] == [True, False]


async def test_a_purge_of_keys_in_one_process_is_heard_in_another(url: str, table: AllowlistTable) -> None:
    """Once for each, whatever else changes; and the audit says who asked for it. No entry is touched."""
    await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
    other = await State.open(url, durable=False)
    roster = Roster(AllowlistTable(other))
    heard: list[int] = []
    roster.on_purge = lambda: heard.append(second)
    try:
        for second, change in enumerate((None, Purge(), Put((made("bo@example.com"),)), Purge())):
            if change is not None:
                await table.change(change, "cli:root", NOW)
            await roster.ruling("ana@example.com", NOW + timedelta(seconds=second))
    finally:
        await roster.close()
        await other.close()
    told = [(each.line.actor, each.line.action, each.line.value) for each in await table.audit(value="signing keys")]
    assert (heard, told) == ([1, 3], [("cli:root", "purge", "signing keys")] * 2)
    assert [entry.value for entry in (await table.load()).entries] == ["ana@example.com", "bo@example.com"]


# Postgres' own ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_postgres_tells_of_a_change(url: str, table: AllowlistTable) -> None:
    """Whoever makes it; and the first call comes when listening has begun."""
    heard: asyncio.Queue[None] = asyncio.Queue()
    listening = asyncio.create_task(listen(url, lambda: heard.put_nowait(None), VirtualClock(NOW)))
    try:
        async with asyncio.timeout(20):
            await heard.get()
            await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
            await heard.get()
    finally:
        await end_tasks(listening)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_what_postgres_tells_is_enough_for_a_removal_to_bite(url: str, table: AllowlistTable) -> None:
    """The time stands still, so the list never gets old: only the notification makes another process look."""
    await table.change(Put((made("ana@example.com"), made("bo@example.com"))), "cli:root", NOW)
    other = await State.open(url, durable=False)
    roster = Roster(AllowlistTable(other), deadline=1.0)
    began = asyncio.Event()

    def heard() -> None:
        began.set()
        roster.invalidate()

    listening = asyncio.create_task(listen(url, heard, VirtualClock(NOW)))

    async def comes_in() -> bool:
        return bool(getattr(await roster.ruling("ana@example.com", NOW), "allowed", False))

    try:
        async with asyncio.timeout(20):
            await began.wait()
            before = await comes_in()
            await table.change(Remove(("ana@example.com",)), "cli:root", NOW)
            while await comes_in():
                await asyncio.sleep(0.01)
        await end_tasks(listening)
        # Nobody listens any more: nothing is known until the list is old, and then at once.
        await table.change(Put((made("ana@example.com"),)), "cli:root", NOW)
        deaf = await comes_in()
        later = await roster.ruling("ana@example.com", NOW + timedelta(seconds=1))
    finally:
        await end_tasks(listening)
        await roster.close()
        await other.close()
    assert (before, deaf, getattr(later, "allowed", None)) == (True, False, True)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_listener_whose_connection_dies_listens_again(url: str, state: State) -> None:
    """After a pause, and it tells what may have been missed."""
    heard: asyncio.Queue[None] = asyncio.Queue()
    clock = VirtualClock(NOW)
    listening = asyncio.create_task(listen(url, lambda: heard.put_nowait(None), clock))
    try:
        async with asyncio.timeout(20):
            await heard.get()
            async with state.writing() as connection:
                await connection.execute(
                    sa.text("select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN%'")
                )
            while heard.empty():
                await clock.advance(1)
                await asyncio.sleep(0.01)
    finally:
        await end_tasks(listening)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_the_rest_interfaces_roles_read_nothing(state: State, role: str) -> None:
    """On Supabase the public schema is served to everybody."""

    async def read(name: str) -> None:
        async with state.writing() as connection:
            await connection.execute(sa.text(f"SET LOCAL ROLE {role}"))
            await connection.execute(sa.text(f"SELECT * FROM {name}"))

    for name in ("allowlist", "allowlist_settings", "allowlist_audit"):
        with pytest.raises(StateError, match="permission denied"):
            await read(name)


async def test_the_migrations_make_what_the_schema_says(state: State) -> None:
    """Table by table, column by column."""

    def columns(connection: sa.Connection) -> dict[str, set[str]]:
        look = sa.inspect(connection)
        return {name: {column["name"] for column in look.get_columns(name)} for name in look.get_table_names()}

    async with state.reading() as connection:
        found = await connection.run_sync(columns)
    expected = {table.name: {column.name for column in table.columns} for table in schema.metadata.sorted_tables}
    assert {name: found.get(name) for name in expected} == expected
