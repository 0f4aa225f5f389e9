"""The database helper on a real Postgres: every wait ends, what is slow is told without its values, N+1 is found."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from psycopg import sql
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.asgi.frameworks import Kept, served
from tocsin.asgi import Database, Lines, Unavailable, protect, queries
from tocsin.asgi.database import Event, NPlusOne, Saturated, Statement, TookTooLong, Unreachable, Wait
from tocsin.asgi.database.shape import shape_of
from tocsin.asgi.measures import Measures
from tocsin.testing.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start() as running:
        running.execute(
            "create table items (id int primary key, name text)",
            "insert into items select n, 'item ' || n from generate_series(1, 50) as n",
        )
        yield running


class Made:
    """A database, its series and its log."""

    def __init__(self, dsn: str, **more: Any) -> None:
        self.registry = CollectorRegistry()
        self.kept = Kept()
        self.database = Database(dsn, measures=Measures(self.registry), lines=Lines(self.kept), **more)

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(f"tocsin_database_{name}", {"database": "app", **labels})
        return -1.0 if found is None else found


@contextlib.asynccontextmanager
async def opened(dsn: str, **more: Any) -> AsyncIterator[Made]:
    made = Made(dsn, **{"wait": 20.0, **more})
    async with made.database:
        yield made


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


async def test_a_slow_statement_is_logged_without_its_values(postgres: EmbeddedPostgres) -> None:
    """Five of a shape, the others counted, with the place in the code; a statement that fails too."""
    made = Made(postgres.dsn(), slow=0.0001, wait=20.0)
    async with made.database as database:
        for number in range(7):
            await database.rows(f"select pg_sleep(0.001), 'hunter2' as word, {number} -- for ana")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await database.rows("select pg_sleep(0.001), %s::int", ["ana@example.com"])
    slow, failed = made.kept.of("database.slow")[:5], made.kept.of("database.slow")[5]
    assert {line["statement"] for line in slow} == {"select pg_sleep(?), ? as word, ?"}
    assert "tests/asgi/test_database.py:" in slow[0]["where"]
    assert (failed["statement"], failed["error"]) == ("select pg_sleep(?), ?::int", "InvalidTextRepresentation")
    (repeated,) = made.kept.of("database.slow_repeatedly")
    assert (repeated["times"], repeated["statement_id"]) == (2, slow[0]["statement_id"])
    assert made.value("slow_statements_total", route="outside") == 8
    assert made.value("statement_seconds_count", route="outside") == 8
    assert not {"hunter2", "ana"} & set(json.dumps(made.kept.lines).replace('"', " ").split())


async def test_a_slow_statement_is_told_however_its_rows_are_fetched(postgres: EmbeddedPostgres) -> None:
    """Streamed, from a cursor on the server, by COPY, many at once; broken off is no error, failed is one."""
    made = Made(postgres.dsn(), slow=0.0001, wait=20.0)
    async with made.database as database, database.transaction() as connection:
        cursor = connection.cursor()
        assert [row["n"] async for row in cursor.stream("select pg_sleep(0.001), 1 as n")] == [1]
        async for _ in cursor.stream("select pg_sleep(0.001), n as broken_off from generate_series(1, 9) as n"):
            break
        with contextlib.suppress(psycopg.errors.UndefinedTable):
            async with connection.transaction():
                _ = [row async for row in cursor.stream("select 'streamed' from nowhere, pg_sleep(0.001)")]
        async with connection.cursor("named") as named:
            await named.execute("select n as named from generate_series(1, 9) as n, pg_sleep(0.001)")
            await named.fetchone()
            await named.fetchmany(2)
            assert [row["named"] async for row in named] == [4, 5, 6, 7, 8, 9]
        async with cursor.copy("copy (select pg_sleep(0.001), 'x' as copied) to stdout") as copy:
            assert [len(row) async for row in copy.rows()] == [2]
        await cursor.executemany("select pg_sleep(0.001), %s::int as many", [(1,), (2,)])
    told = {(line["statement"], line["error"]) for line in made.kept.of("database.slow")}
    assert told >= {
        ("select pg_sleep(?), ? as n", None),
        ("select pg_sleep(?), n as broken_off from generate_series(?) as n", None),
        ("select ? from nowhere, pg_sleep(?)", "UndefinedTable"),
        ("select n as named from generate_series(?) as n, pg_sleep(?)", None),
        ("copy (select pg_sleep(?), ? as copied) to stdout", None),
        ("select pg_sleep(?), ?::int as many", None),
    }
    assert made.value("slow_statements_total", route="outside") >= 6


async def test_what_is_done_between_fetches_is_not_the_statements_time(postgres: EmbeddedPostgres) -> None:
    """A slow reader of a cursor on the server is no slow statement."""
    seen: list[Event] = []
    async with opened(postgres.dsn(), observers=[seen.append]) as made, made.database.transaction() as connection:
        began = time.perf_counter()
        async with connection.cursor("named") as cursor:
            await cursor.execute("select 2")
            await asyncio.sleep(0.2)
            assert await cursor.fetchall() == [{"?column?": 2}]
        lasted = time.perf_counter() - began
    [named] = [one for one in seen if isinstance(one, Statement)]
    assert named.shape == "select ?"
    assert named.seconds <= lasted - 0.2


async def test_observers_are_told_of_statements_and_waits(postgres: EmbeddedPostgres) -> None:
    """In the order in which they end, for spans."""
    seen: list[Event] = []
    async with opened(postgres.dsn(), observers=[seen.append]) as made, made.database.connection() as connection:
        await connection.execute(sql.SQL("select {}").format(17))
        cursor = connection.cursor()
        await cursor.executemany("select %s::int", [[1], [2]])
        with contextlib.suppress(psycopg.errors.SyntaxError):
            await connection.execute(b"selec")
    assert [type(one) for one in seen] == [Wait, Statement, Statement, Statement]
    statements = [one for one in seen if isinstance(one, Statement)]
    assert [one.shape for one in statements] == ["select ?", "select ?::int", "selec"]
    assert [type(one.error).__name__ for one in statements] == ["NoneType", "NoneType", "SyntaxError"]
    assert all(one.route == "outside" and one.seconds > 0 for one in statements)


async def test_rows_that_stream_and_what_is_copied_are_statements_too(postgres: EmbeddedPostgres) -> None:
    """A stream takes as long as it was waited for, not as long as its reader took; one that is left is no error."""
    told: list[Event] = []
    async with (
        opened(postgres.dsn(), slow=0.2, observers=[told.append]) as made,
        made.database.connection() as connection,
        connection.cursor() as cursor,
    ):
        began = time.perf_counter()
        async with contextlib.aclosing(cursor.stream("select id from items order by id")) as rows:
            assert await anext(rows) == {"id": 1}
            await asyncio.sleep(0.3)
        took = time.perf_counter() - began
        assert [row async for row in cursor.stream("select 7 as n, pg_sleep(0.25)")] == [{"n": 7, "pg_sleep": ""}]
        with pytest.raises(psycopg.errors.DivisionByZero):
            assert [row async for row in cursor.stream("select 1 / 0")] == []
        async with cursor.copy("copy (select 1) to stdout") as out:
            assert [row async for row in out.rows()] == [("1",)]
    ended = [one for one in told if isinstance(one, Statement)]
    assert [(one.shape, type(one.error).__name__) for one in ended] == [
        ("select id from items order by id", "NoneType"), ("select ? as n, pg_sleep(?)", "NoneType"),
        ("select ? / ?", "DivisionByZero"), ("copy (select ?) to stdout", "NoneType"),
    ]  # fmt: skip
    assert ended[0].seconds <= took - 0.3
    assert "select ? as n, pg_sleep(?)" in [line["statement"] for line in made.kept.of("database.slow")]


def test_wrong_settings_are_refused() -> None:
    """At the start."""
    for wrong in ({"size": 0}, {"size": 2, "least": 3}, {"wait": 0}, {"statement_timeout": 0}):
        with pytest.raises(ValueError, match=r"pool has|above 0"):
            Database("", **wrong)  # type: ignore[arg-type]


# Behind the layers ---------------------------------------------------------------------------------------------------


class App:
    """Two routes behind all layers: a list with N+1, and the same with one statement; and one that finds no place."""

    def __init__(self, dsn: str) -> None:
        self.registry, self.kept = CollectorRegistry(), Kept()
        self.database = Database(dsn, size=1, wait=20.0)
        routes = [Route("/loop/{count:int}", self.loop), Route("/once", self.once), Route("/busy", self.busy)]
        self.protected = protect(
            Starlette(routes=routes), database=self.database, supabase_url="off", environment={}, slow_seconds=1e-5,
            registry=self.registry, lines=Lines(self.kept),
        )  # fmt: skip

    async def loop(self, request: Request) -> JSONResponse:
        numbers = range(request.path_params["count"])
        found = [await self.database.row(f"select name from items where id = {number}") for number in numbers]
        return JSONResponse(len(found))

    async def once(self, _: Request) -> JSONResponse:
        return JSONResponse(len(await self.database.rows("select name from items where id = any(%s)", [[1, 2, 3]])))

    async def busy(self, _: Request) -> JSONResponse:
        async with self.database.connection():
            self.database._pool.timeout = 0.02
            try:
                return JSONResponse(await self.database.rows("select 1"))
            finally:
                self.database._pool.timeout = 20.0


@pytest.fixture(scope="module")
def app(postgres: EmbeddedPostgres) -> App:
    return App(postgres.dsn())


@pytest.fixture(scope="module")
def port(app: App) -> Iterator[int]:
    with served(app.protected) as port:
        yield port


def get(port: int, path: str) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def test_a_request_that_asks_in_a_loop_is_found(port: int) -> None:
    """With the statement, how often, the route, and the place in the code."""
    with queries() as asked:
        get(port, "/once")
        get(port, "/once")
        get(port, "/once")
    asked.assert_no_n_plus_one()
    with queries() as asked:
        get(port, "/loop/12")
    with pytest.raises(NPlusOne) as found:
        asked.assert_no_n_plus_one()
    told = str(found.value)
    assert "12 times in one request (GET /loop/{count:int}):\n  select name from items where id = ?\n" in told
    assert "tests/asgi/test_database.py:" in told
    assert " in loop" in told
    asked.assert_no_n_plus_one(allow=["select name from items where id = 1"])
    asked.assert_no_n_plus_one(most=12)


def test_two_requests_at_once_are_told_apart(port: int) -> None:
    """Two of each is nobody's loop, though it is many in all."""
    with queries() as asked:
        threads = [threading.Thread(target=get, args=(port, "/loop/2")) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 12
    asked.assert_no_n_plus_one()


def test_no_connection_in_time_is_a_503_that_says_when_to_come_back(app: App, port: int) -> None:
    """Logged once, as the database's matter."""
    status, headers, problem = get(port, "/busy")
    assert (status, headers["retry-after"], problem["title"]) == (503, "1", "Service Unavailable")
    (line,) = app.kept.of("request.failed")
    assert (line["category"], line["status"], line["route"]) == ("database", 503, "/busy")
    labels = {"category": "database", "route": "/busy"}
    assert app.registry.get_sample_value("tocsin_http_errors_total", labels) == 1


def test_a_slow_statement_bears_the_ids_of_its_request(app: App, port: int) -> None:
    """The log line of the statement and that of the request are found by each other."""
    app.kept.lines.clear()
    _, headers, _ = get(port, "/once")
    (line,) = app.kept.of("database.slow")
    assert (line["request_id"], line["route"]) == (headers["x-request-id"], "/once")
    labels = {"database": "app", "route": "/once"}
    assert (app.registry.get_sample_value("tocsin_database_statement_seconds_count", labels) or 0) >= 1


def test_the_pool_is_gone_when_the_application_has_stopped(postgres: EmbeddedPostgres) -> None:
    """`protect` opens it and closes it."""
    app = App(postgres.dsn())
    with served(app.protected) as port:
        get(port, "/once")
    assert app.database._pool.closed


# Shapes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        ("select 1", "select ?"),
        ("select * from t1 where a=1 and b = -2.5e3;", "select * from t1 where a=? and b = -?"),
        ("select 'it''s', E'it\\'s', $$x$$, $a$ $$ $a$, b'01', U&'x'", "select ?, ?, ?, ?, ?, ?"),
        ("select E'a\\", "select ?"),
        ("select %s, %(name)s, $1", "select ?, ?, ?"),
        ('select "a 1".b2 from "x""y"', 'select "a 1".b2 from "x""y"'),
        ("select a -- of ana\n from t /* and bo */ where x", "select a from t where x"),
        ("where id in (1, 2,\n 3) or x = any(array[1,2])", "where id in (?) or x = any(array[?])"),
        ("insert into t values (1, 'a'), (2, 'b'), (3, 'c')", "insert into t values (?)"),
        ("select a[1], t.x1, 0x1F, 1_000", "select a[?], t.x1, ?, ?"),
        ("select 'never ends", "select ?"),
        ("select a$1b, x::int8", "select a$1b, x::int8"),
    ],
)
def test_a_shape_is_the_statement_without_its_values(statement: str, shape: str) -> None:
    """Equal but for values is equal."""
    assert shape_of(statement) == shape


@given(st.text(alphabet="ab'\\\"$-/* \n%(1)é", max_size=12), st.text(alphabet="ab'\\\"$-/* \n%(1)é", max_size=12))
@settings(max_examples=150)
def test_no_value_that_was_quoted_is_in_the_shape(before: str, after: str) -> None:
    """Whatever it holds, as psycopg quotes it."""
    quoted = sql.Literal(f"{before}secret{after}").as_string(None)
    assert shape_of(f"select * from t where a = {quoted} and b = 2") == "select * from t where a = ? and b = ?"


def test_unavailable_says_what_it_is() -> None:
    """The class' first line, where nobody said more."""
    assert str(Unavailable()).startswith("It can't be done now, and may work in a moment")
