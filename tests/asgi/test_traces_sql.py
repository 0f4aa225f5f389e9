"""Spans of statements and waits on a real Postgres: of a Database behind the layers, and of psycopg itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.collector import Collector, collecting, until
from tests.asgi.frameworks import Kept
from tocsin.asgi import Database, Lines, protect
from tocsin.asgi.traces import AsyncCursor, AsyncServerCursor, Cursor, ServerCursor, Tracing, span, waiting
from tocsin.asgi.traces.sql import summary_of
from tocsin.testing.postgres import EmbeddedPostgres

WAIT = "wait for a connection"


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start() as running:
        running.execute("create table items (id int primary key, name text)", "insert into items values (1, 'one')")
        yield running


@contextlib.asynccontextmanager
async def traced() -> AsyncIterator[Collector]:
    """While the block runs; what it sent is there at the end."""
    with collecting() as collector:
        tracing = Tracing(collector.endpoint, patience=60)
        tracing.start()
        try:
            yield collector
        finally:
            await tracing.close()


def shown(collector: Collector) -> list[tuple[str, str]]:
    return [(one["name"], one["attributes"].get("db.query.text", "")) for one in collector.spans]


async def test_a_request_s_statements_and_waits_are_under_its_span(postgres: EmbeddedPostgres) -> None:
    """By `protect(database=…)` alone: without a literal, and what failed with its SQLSTATE; healthz is no span."""
    database = Database(postgres.dsn(), wait=20.0)

    async def item(request: Request) -> JSONResponse:
        await database.rows("select name from items where id = %s and name <> 'Ana'", [1])
        with contextlib.suppress(psycopg.errors.UniqueViolation):
            await database.run("insert into items values (1, 'secret')")
        return JSONResponse({})

    app = Starlette(routes=[Route("/items/{id}", item), Route("/healthz", item)])
    with collecting() as collector:
        application = protect(
            app, supabase_url="off", environment={}, registry=CollectorRegistry(), database=database,
            lines=Lines(Kept()), trace_share=1.0, otlp_endpoint=collector.endpoint,
        )  # fmt: skip
        await application.start()
        await application(scope("/healthz"), nothing, nowhere)
        await application(scope("/items/1"), nothing, nowhere)
        await asyncio.to_thread(until, lambda: collector.named("GET /items/{id}"))
        await application.close()
        [request] = collector.named("GET /items/{id}")
        below = [one for one in collector.spans if one["parent"] == request["span_id"]]
    assert [one["name"] for one in below] == [WAIT, "SELECT items", WAIT, "INSERT items"]
    assert len(collector.spans) == 5
    first, second = below[1]["attributes"], below[3]["attributes"]
    assert first == {
        "db.system.name": "postgresql", "db.query.text": "select name from items where id = ? and name <> ?",
        "db.query.summary": "SELECT items", "db.operation.name": "SELECT", "db.client.connection.pool.name": "app",
    }  # fmt: skip
    assert (second["error.type"], second["db.response.status_code"], below[3]["status"]) == ("23505", "23505", 2)
    assert [secret for secret in ("Ana", "secret", "(1") if secret in str(below)] == []
    assert all(one["seconds"] <= request["seconds"] for one in below)


async def test_psycopg_s_own_pools_and_cursors(postgres: EmbeddedPostgres) -> None:
    """Sync and async, a statement in each of psycopg's forms, many rows at once, and COPY."""
    async with traced() as collector:
        with span("work"), ConnectionPool(postgres.dsn(), kwargs={"cursor_factory": Cursor}, min_size=1) as pool:
            with waiting("first"):
                connection = pool.getconn(20.0)
            connection.execute("select 'ana@example.com'")
            with connection.cursor() as cursor:
                cursor.executemany("update items set name = %s where id = %s", [("one", 1), ("two", 2)])
                with cursor.copy("copy items from stdin") as copy:
                    copy.write_row((7, "seven"))
                assert list(cursor.stream("select id from items where id = 7")) == [(7,)]
            connection.server_cursor_factory = ServerCursor
            with connection.cursor("sync") as held:
                held.execute("select id from items order by id")
                assert [held.fetchone(), next(held), held.fetchmany(1), held.fetchall()] == [(1,), (7,), [], []]
            connection.rollback()
            pool.putconn(connection)
        kwargs: dict[str, Any] = {"cursor_factory": AsyncCursor}
        with span("more work"):
            async with AsyncConnectionPool(postgres.dsn(), kwargs=kwargs, min_size=1) as other:
                with waiting("second"):
                    found = await other.getconn(20.0)
                query = sql.SQL("select {} from {}").format(sql.Literal("hunter2"), sql.Identifier("items"))
                await found.execute(query)
                async with found.cursor() as other_cursor:
                    await other_cursor.executemany(b"update items set name = %s", [("one",)])
                    async with other_cursor.copy("copy items to stdout") as out:
                        assert [row async for row in out.rows()] == [("1", "one")]
                    assert [row async for row in other_cursor.stream("select 5")] == [(5,)]
                found.server_cursor_factory = AsyncServerCursor
                async with found.cursor("named") as named:
                    await named.execute("select id from items")
                    assert await named.fetchall() == [(1,)]
                await found.rollback()
                await other.putconn(found)
    one = [
        (WAIT, ""), ("SELECT", "select ?"), ("UPDATE items", "update items set name = ? where id = ?"),
        ("COPY items", "copy items from stdin"), ("SELECT items", "select id from items where id = ?"),
        ("SELECT items", "select id from items order by id"), ("work", ""),
    ]  # fmt: skip
    two = [
        (WAIT, ""), ('SELECT "items"', 'select ? from "items"'), ("UPDATE items", "update items set name = ?"),
        ("COPY items", "copy items to stdout"), ("SELECT", "select ?"), ("SELECT items", "select id from items"),
        ("more work", ""),
    ]  # fmt: skip
    assert shown(collector) == one + two
    assert {span["attributes"]["db.namespace"] for span in collector.named("SELECT")} == {"postgres"}
    operations = [span["attributes"]["db.operation.name"] for span in collector.named("UPDATE items")]
    assert operations == ["BATCH UPDATE", "BATCH UPDATE"]


async def test_a_wait_in_vain_is_a_failed_span_and_statements_alone_are_none(postgres: EmbeddedPostgres) -> None:
    """Which pool, and that it gave nothing; what nobody's span is around is not a trace of its own."""
    async with traced() as collector:
        async with await psycopg.AsyncConnection.connect(postgres.dsn(), cursor_factory=AsyncCursor) as connection:
            await connection.execute("select 1")
        with ConnectionPool(postgres.dsn(), min_size=1, max_size=1) as pool:
            taken = pool.getconn(20.0)
            with span("work"), contextlib.suppress(PoolTimeout), waiting("tiny"):
                pool.getconn(0.01)
            pool.putconn(taken)
    [wait] = collector.named(WAIT)
    attributes = wait["attributes"]
    assert (attributes["error.type"], wait["status"]) == ("psycopg_pool.PoolTimeout", 2)
    assert attributes["db.client.connection.pool.name"] == "tiny"
    assert [one["name"] for one in collector.spans] == [WAIT, "work"]


@pytest.mark.parametrize(
    ("shape", "summary"),
    [
        ("select * from public.items where id = ?", ("SELECT", "SELECT public.items")),
        ('(select ? from "Odd name")', ("SELECT", 'SELECT "Odd name"')),
        ("insert into items (id) values (?)", ("INSERT", "INSERT items")),
        ("select (select count(*) from other where (a) = ?) from items", ("SELECT", "SELECT items")),
        ("delete from only items", ("DELETE", "DELETE items")),
        ("select ?", ("SELECT", "SELECT")),
        ("?", ("", "")),
    ],
)
def test_a_statement_is_named_for_what_it_does_to_what(shape: str, summary: tuple[str, str]) -> None:
    """As well as it shows."""
    assert summary_of(shape) == summary
