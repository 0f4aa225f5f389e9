"""The states of a real server, as a client meets them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest

from tocsin.testing.postgres import EmbeddedPostgres

Watching = Any


async def test_a_server_that_answers_is_up(server: EmbeddedPostgres, watching: Watching) -> None:
    """pg_up 1, state up, nothing blind, no error."""
    async with watching(server.dsn(user="watcher")) as watch:
        told = await watch.poll_until(lambda told: not told.blinds)
    assert (told.value("pg_up"), told.state, told.blinds, told.value("pg_exporter_last_scrape_error")) == (
        1,
        "up",
        [],
        0,
    )


async def test_a_killed_server_is_noticed_without_a_poll(breakable: EmbeddedPostgres, watching: Watching) -> None:
    """The idle socket ends, and the collector asks for a poll; that poll says down, and is blind for the rest."""
    async with watching(breakable.dsn(user="watcher"), activity_interval=60, slow_query_seconds=120) as watch:
        await watch.poll()
        watch.poked.clear()
        breakable.kill()
        assert await watch.woken()
        told = await watch.poll()
    assert (told.value("pg_up"), told.state, told.value("tocsin_pg_connected")) == (0, "down", 0)
    assert "Connection refused" in told.why("pg_stat_database_xact_commit")


async def test_a_server_that_comes_back_is_noticed_without_a_poll(
    breakable: EmbeddedPostgres, watching: Watching
) -> None:
    """Recovery is news as well: the collector tries by itself and asks for a poll."""
    async with watching(breakable.dsn(user="watcher")) as watch:
        await watch.poll()
        breakable.kill()
        await watch.poll_until(lambda told: told.state == "down")
        watch.poked.clear()
        breakable.start_again()
        assert await watch.woken()
        told = await watch.poll_until(lambda told: told.state == "up")
    assert (told.value("pg_up"), told.value("tocsin_pg_reconnects_total")) == (1, 1)


async def test_a_server_that_is_not_there_from_the_start_is_down(watching: Watching) -> None:
    """A first poll that finds nothing is a result, not an error."""
    async with watching("postgresql://watcher:secret@127.0.0.1:1/postgres") as watch:
        told = await watch.poll()
    assert (told.value("pg_up"), told.state) == (0, "down")
    assert "secret" not in str(told)


async def test_a_stopped_server_is_hanging_by_the_deadline(breakable: EmbeddedPostgres, watching: Watching) -> None:
    """SIGSTOP: the port accepts, nobody answers, statement_timeout never fires. Our own watchdog ends the wait."""
    async with watching(breakable.dsn(user="watcher"), query_deadline=0.4, connect_deadline=0.4) as watch:
        await watch.poll()
        watch.poked.clear()
        breakable.pause()
        try:
            assert await watch.woken()
            told = await watch.poll()
        finally:
            breakable.resume()
        assert (told.value("pg_up"), told.state) == (0, "hanging")
        back = await watch.poll_until(lambda told: told.state == "up")
    assert back.value("pg_up") == 1


async def test_a_poll_ends_in_its_time_while_the_server_hangs(breakable: EmbeddedPostgres, watching: Watching) -> None:
    """The runtime would cancel a poll that overran, and pg_up with it."""
    async with watching(breakable.dsn(user="watcher"), deadline=0.5, connect_deadline=30) as watch:
        await watch.poll_until(lambda told: told.state == "up")
        breakable.pause()
        try:
            async with asyncio.timeout(0.5):
                told = await watch.poll()
        finally:
            breakable.resume()
    assert told.value("tocsin_pg_state", state=told.state) == 1


async def test_one_stopped_backend_costs_one_session(breakable: EmbeddedPostgres, watching: Watching) -> None:
    """Our own backend stops, the server does not: the socket is cut and a new session opened."""
    async with watching(breakable.dsn(user="watcher"), query_deadline=0.4) as watch:
        await watch.poll()
        (pid,) = _pids(breakable)
        breakable.pause(pid)
        try:
            told = await watch.poll_until(lambda told: told.value("tocsin_pg_reconnects_total") == 1)
            assert (told.state, told.value("tocsin_pg_reconnects_total")) == ("up", 1)
        finally:
            breakable.resume(pid)


def _pids(server: EmbeddedPostgres) -> list[int]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        found = connection.execute("select pid from pg_stat_activity where application_name = 'tocsin'").fetchall()
        return [row[0] for row in found]


@asynccontextmanager
async def _crowd(server: EmbeddedPostgres) -> AsyncIterator[None]:
    """Every slot that the application may have is taken."""
    async with AsyncExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                connection = await psycopg.AsyncConnection.connect(server.dsn(user="app"), autocommit=True)
                stack.push_async_callback(connection.close)
        yield


async def test_a_full_server_is_saturated_and_not_down(breakable: EmbeddedPostgres, watching: Watching) -> None:
    """The held connection goes on to report while nobody else gets in."""
    async with watching(breakable.dsn(user="watcher")) as watch:
        await watch.poll()
        async with _crowd(breakable):
            told = await watch.poll()
        assert (told.value("pg_up"), told.state) == (1, "saturated")
        assert told.value("tocsin_pg_connections_used") == told.value("tocsin_pg_connections_available")
        relieved = await watch.poll_until(lambda told: told.state == "up")
    assert relieved.state == "up"


async def test_a_full_server_that_lets_us_not_in_is_saturated_too(
    breakable: EmbeddedPostgres, watching: Watching
) -> None:
    """Without a held connection the refusal's text tells; the rest is unknown, not fine."""
    async with _crowd(breakable), watching(breakable.dsn(user="watcher")) as watch:
        told = await watch.poll()
    assert (told.value("pg_up"), told.state, bool(told.why("pg_locks_count"))) == (1, "saturated", True)


async def test_a_wrong_password_is_our_problem(server: EmbeddedPostgres, watching: Watching) -> None:
    """The server is up; what can't be seen is blind, and the reason has no password in it."""
    async with watching(server.dsn(user="watcher", password="wr0ng")) as watch:
        told = await watch.poll()
    assert (told.value("pg_up"), told.state) == (1, "auth_failure")
    assert "password authentication failed" in told.why("pg_locks_count")
    assert "wr0ng" not in str(told)


async def test_a_wrong_password_is_not_tried_at_every_poll(server: EmbeddedPostgres, watching: Watching) -> None:
    """Each refusal costs the server a process and a log line, and some lock the account."""
    async with watching(server.dsn(user="watcher", password="other")) as watch:
        before = server.log.read_text().count("password authentication failed")
        for _ in range(20):
            await watch.poll()
        after = server.log.read_text().count("password authentication failed")
    assert after - before == 1


async def test_a_missing_variable_is_named(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of the server, so pg_up is neither 1 nor 0."""
    monkeypatch.delenv("NO_SUCH_DSN", raising=False)
    async with watching(None, dsn_env="NO_SUCH_DSN") as watch:
        told = await watch.poll()
    assert (told.value("pg_up"), told.state) == (None, "unknown")
    assert "environment variable NO_SUCH_DSN is not set" in told.why("pg_up")


async def test_a_broken_connection_string_is_not_quoted(watching: Watching) -> None:
    """libpq's message would show the password."""
    async with watching("postgresql://watcher:s3cret@[::1") as watch:
        told = await watch.poll()
    assert "is no connection string" in told.why("pg_up")
    assert "s3cret" not in str(told)


async def test_a_rotated_password_is_taken_up(
    server: EmbeddedPostgres, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is read at each attempt, so no restart is needed."""
    monkeypatch.setenv("ROTATED_DSN", server.dsn(user="watcher", password="old"))
    async with watching(None, dsn_env="ROTATED_DSN") as watch:
        await watch.poll()
        monkeypatch.setenv("ROTATED_DSN", server.dsn(user="watcher"))
        told = await watch.poll_until(lambda told: told.state == "up")
    assert told.state == "up"


async def test_a_session_that_was_terminated_is_opened_anew(breakable: EmbeddedPostgres, watching: Watching) -> None:
    """pg_terminate_backend on us is not a server that went down."""
    async with watching(breakable.dsn(user="watcher")) as watch:
        await watch.poll()
        breakable.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tocsin'")
        told = await watch.poll_until(lambda told: told.value("tocsin_pg_reconnects_total") == 1)
    assert (told.value("pg_up"), told.state) == (1, "up")


async def test_a_standby_is_in_recovery(breakable: EmbeddedPostgres, watching: Watching) -> None:
    """It answers; functions that only a primary has are not asked."""
    breakable.stop()
    (breakable.data / "standby.signal").touch()
    breakable.start_again()
    async with watching(breakable.dsn(user="watcher")) as watch:
        told = await watch.poll_until(lambda told: not told.blinds)
    assert (told.state, told.value("pg_up"), told.value("pg_replication_is_replica"), told.blinds) == (
        "in_recovery",
        1,
        1,
        [],
    )
    assert "pg_stat_archiver_failed_count" not in told.names
