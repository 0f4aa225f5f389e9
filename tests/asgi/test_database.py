"""The database helper on a real Postgres: every wait ends, and what can't be done now is told from what is wrong."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest

from tests.asgi.items import opened
from tocsin.asgi import Database, Unavailable
from tocsin.asgi.database import Saturated, TookTooLong, Unreachable
from tocsin.testing.postgres import EmbeddedPostgres


async def test_a_statement_stands_for_itself_and_a_transaction_is_whole(postgres: EmbeddedPostgres) -> None:
    """What is written outside stays; an exception takes back what is written inside."""
    async with opened(postgres.dsn()) as made:
        database = made.database
        assert await database.run("insert into items values (1000, %s)", ["kept"]) == 1
        with contextlib.suppress(LookupError):
            async with database.transaction() as connection:
                await connection.execute("insert into items values (1001, 'not kept')")
                raise LookupError
        assert await database.rows("select id, name from items where id >= 1000") == [{"id": 1000, "name": "kept"}]
        assert await database.row("select 1 as one where false") is None
        assert await database.run("delete from items where id >= 1000") == 1


async def test_each_session_has_an_end_to_every_wait(postgres: EmbeddedPostgres) -> None:
    """And what the application adds."""
    async with opened(postgres.dsn(), statement_timeout=7, lock_timeout=1.5, session={"timezone": "UTC"}) as made:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone")
        found = [(await made.database.row(f"show {name}") or {}) for name in names]
        assert [next(iter(one.values())) for one in found] == ["7s", "1500ms", "10s", "UTC"]


async def test_what_takes_too_long_is_ended_and_said_so(postgres: EmbeddedPostgres) -> None:
    """A statement by its timeout, a lock by its own."""
    async with opened(postgres.dsn(), statement_timeout=1) as made:
        with pytest.raises(TookTooLong, match="A statement took too long"):
            await made.database.rows("select pg_sleep(30)")
        assert await made.database.row("select 1 as one") == {"one": 1}
    async with opened(postgres.dsn(), lock_timeout=0.05, statement_timeout=30) as made:
        async with made.database.transaction() as holder:
            await holder.execute("select * from items where id = 1 for update")
            with pytest.raises(TookTooLong, match="lock"):
                await made.database.run("update items set name = name where id = 1")
        assert made.value("refusals_total", reason="took_too_long") == 1


async def test_an_error_of_the_statement_stays_what_it_is(postgres: EmbeddedPostgres) -> None:
    """A missing table is a bug, not a database that can't answer."""
    async with opened(postgres.dsn()) as made:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await made.database.rows("select * from nowhere")
        assert await made.database.row("select 1 as one") == {"one": 1}


async def test_a_full_pool_is_told_from_a_server_that_is_not_there(postgres: EmbeddedPostgres) -> None:
    """With its own series; waiting ends after `wait`, or at once where too many wait already."""
    async with opened(postgres.dsn(), size=1) as made:
        async with made.database.connection():
            made.database._pool.timeout = 0.05
            with pytest.raises(Saturated, match="All 1 connections"):
                await made.database.rows("select 1")
            assert (made.value("pool_in_use"), made.value("pool_size"), made.value("pool_limit")) == (1, 1, 1)
        assert (made.value("pool_in_use"), made.value("pool_waiting")) == (0, 0)
        assert made.value("refusals_total", reason="saturated") == 1
        assert made.value("wait_seconds_count") == 2
    async with opened("postgresql://nobody@127.0.0.1:1/x", wait=0.1) as made:
        with pytest.raises(Unreachable):
            await made.database.rows("select 1")
        assert made.value("refusals_total", reason="unreachable") == 1


async def test_a_connection_that_died_at_rest_is_not_given_out(postgres: EmbeddedPostgres) -> None:
    """The next request does not notice; a statement that runs while its connection ends is Unavailable."""
    async with opened(postgres.dsn(), size=1, name="doomed") as made:
        assert await made.database.row("select 1 as one") == {"one": 1}
        end = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'doomed'"
        await asyncio.to_thread(postgres.execute, end)
        assert await made.database.row("select 1 as one") == {"one": 1}
        with pytest.raises(Unreachable, match="broke"):
            await made.database.rows("select pg_terminate_backend(pg_backend_pid())")
        assert await made.database.row("select 1 as one") == {"one": 1}


async def test_a_server_that_hangs_is_not_healthy(postgres: EmbeddedPostgres) -> None:
    """`ping` answers when it said, though nothing ends a statement on a server that stands still."""
    async with opened(postgres.dsn()) as made:
        await made.database.ping(within=30)
        await asyncio.to_thread(postgres.pause)
        try:
            async with asyncio.timeout(10):
                with pytest.raises(Unreachable, match=r"within 0\.2 s"):
                    await made.database.ping(within=0.2)
        finally:
            await asyncio.to_thread(postgres.resume)
        await made.database.ping(within=30)


async def test_behind_a_transaction_pooler_the_timeouts_are_the_transactions(postgres: EmbeddedPostgres) -> None:
    """Nothing is left in a session that is somebody else's a moment later, and nothing is prepared in it."""
    async with opened(postgres.dsn(), transaction_pooler=True, size=1) as made:
        async with made.database.transaction() as connection:
            assert connection.prepare_threshold is None
            inside = await (await connection.execute("show statement_timeout")).fetchone()
        assert (inside, await made.database.row("show statement_timeout")) == (
            {"statement_timeout": "5s"}, {"statement_timeout": "0"},
        )  # fmt: skip


def test_wrong_settings_are_refused() -> None:
    """At the start."""
    for wrong in ({"size": 0}, {"size": 2, "least": 3}, {"wait": 0}, {"statement_timeout": 0}):
        with pytest.raises(ValueError, match=r"is at least 1|no more than size|is above 0"):
            Database("", **wrong)  # type: ignore[arg-type]


def test_unavailable_says_what_it_is() -> None:
    """The class' first line, where nobody said more."""
    assert str(Unavailable()).startswith("It can't be done now, and may work in a moment")
