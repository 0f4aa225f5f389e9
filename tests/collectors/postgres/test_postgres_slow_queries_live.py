"""Slow queries on a real server: known when they become slow, counted once, also when they never finish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from tocsin.testing.postgres import EmbeddedPostgres

Watching = Any
Client = Callable[..., Awaitable[psycopg.AsyncConnection[Any]]]
SLOW = "tocsin_pg_slow_queries_total"


def total(told: Any, **labels: str) -> float:
    return sum(sample.value for sample in told.find(SLOW, **labels))


async def test_the_very_first_slow_query_is_known_while_it_runs(
    server: EmbeddedPostgres, watching: Watching, client: Client
) -> None:
    """The collector asks for a poll at the crossing; the counter's zero is the poll before, so increase() sees it."""
    app = await client()
    async with watching(server.dsn(user="watcher"), slow_query_seconds=0.4) as watch:
        first = await watch.poll()
        watch.poked.clear()
        running = asyncio.create_task(app.execute("select pg_sleep(2)"))
        assert await watch.woken()
        told = await watch.poll()
        assert not running.done()
        await running
    assert (total(first), total(told)) == (0, 1)
    (sample,) = told.find(SLOW, evidence="certain", source="activity", datname="postgres")
    assert sample.created is not None
    assert sample.created < first.samples[0].at
    longest = told.value("tocsin_pg_slow_query_max_seconds", datname="postgres")
    assert longest is not None
    assert longest >= 0.4


async def test_it_is_counted_exactly_once(server: EmbeddedPostgres, watching: Watching, client: Client) -> None:
    """Many polls while it runs, and pg_stat_statements' word after it: one."""
    app = await client()
    async with watching(server.dsn(user="watcher"), slow_query_seconds=0.4) as watch:
        await watch.poll()
        running = asyncio.create_task(app.execute("select pg_sleep(1.2) as once"))
        while not running.done():
            await watch.poll()
            await asyncio.sleep(0.05)
        calls = _calls(server, "%as once%")
        told = await watch.poll_until(
            lambda told: sum(s.value for s in told.find("pg_stat_statements_calls_total", user="app")) >= 1
        )
    assert (calls, total(told), told.value("tocsin_pg_slow_queries_cancelled_total", datname="postgres")) == (1, 1, 0)


def _calls(server: EmbeddedPostgres, like: str) -> int:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("select sum(calls) from pg_stat_statements where query like %s", (like,)).fetchone()
        assert row is not None
        return int(row[0] or 0)


async def test_one_that_statement_timeout_ended_is_counted(
    server: EmbeddedPostgres, watching: Watching, client: Client
) -> None:
    """pg_stat_statements never hears of it; the looks did, and it is told apart as cancelled."""
    app = await client(options="-c statement_timeout=800ms")
    async with watching(server.dsn(user="watcher"), slow_query_seconds=0.4) as watch:
        await watch.poll_until(lambda told: "tocsin_pg_slow_queries_cancelled_total" in told.names)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await app.execute("select pg_sleep(5) as too_long")
        told = await watch.poll_until(
            lambda told: told.value("tocsin_pg_slow_queries_cancelled_total", datname="postgres") == 1
        )
    assert (total(told), told.value("tocsin_pg_slow_queries_cancelled_total", datname="postgres")) == (1, 1)


async def test_one_that_waits_for_a_lock_is_counted(
    server: EmbeddedPostgres, watching: Watching, client: Client
) -> None:
    """Time spent waiting for a table is invisible to pg_stat_statements, and to users it is slow all the same."""
    server.execute("create table if not exists app.locked (n int)", "alter table app.locked owner to app")
    holder, waiter = await client(), await client()
    async with watching(server.dsn(user="watcher"), slow_query_seconds=0.4) as watch:
        await watch.poll()
        watch.poked.clear()
        await holder.execute("begin")
        await holder.execute("lock table app.locked in access exclusive mode")
        waiting = asyncio.create_task(waiter.execute("select count(*) from app.locked"))
        assert await watch.woken()
        await holder.execute("rollback")
        await waiting
        told = await watch.poll()
    assert total(told, evidence="certain") == 1


async def test_a_role_that_is_excluded_is_never_slow(
    server: EmbeddedPostgres, watching: Watching, client: Client
) -> None:
    """Reports may take their time."""
    app = await client()
    async with watching(server.dsn(user="watcher"), slow_query_seconds=0.2, exclude_roles=["app"]) as watch:
        await watch.poll()
        running = asyncio.create_task(app.execute("select pg_sleep(1)"))
        while not running.done():
            told = await watch.poll()
            await asyncio.sleep(0.02)
    assert total(told) == 0


async def test_what_no_look_could_see_is_proved_by_its_figures(
    server: EmbeddedPostgres, watching: Watching, client: Client
) -> None:
    """While our backend was stopped nobody looked: two snapshots of pg_stat_statements prove what ran."""
    app = await client()
    async with watching(
        server.dsn(user="watcher"), application_name="tocsin-stopped", slow_query_seconds=0.4, query_deadline=30
    ) as watch:
        await watch.poll_until(lambda told: "tocsin_pg_statements_tracked" in told.names)
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            query = "select pid from pg_stat_activity where application_name = 'tocsin-stopped'"
            row = admin.execute(query).fetchone()
        assert row is not None
        server.pause(row[0])
        try:
            await app.execute("select pg_sleep(0.7) as unseen")
        finally:
            server.resume(row[0])
        told = await watch.poll_until(lambda told: total(told, source="statements") == 1)
    assert (total(told, source="statements", evidence="certain"), total(told, source="activity")) == (1, 0)


async def test_our_own_statements_are_never_slow(server: EmbeddedPostgres, watching: Watching) -> None:
    """The watcher does not raise alarms about itself."""
    async with watching(server.dsn(user="watcher"), slow_query_seconds=0.001) as watch:
        told = await watch.poll_until(lambda told: watch.polls >= 15)
    own = told.find("pg_stat_statements_calls_total", user="watcher")
    assert total(told) == 0, own
