"""Statements of the database helper: what is slow is told without its values, however its rows are fetched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.asgi.items import Made, opened
from tocsin.asgi.database import Event, Statement, Wait
from tocsin.asgi.database.shape import shape_of
from tocsin.testing.postgres import EmbeddedPostgres


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
    assert "tests/asgi/test_database_statements.py:" in slow[0]["where"]
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
