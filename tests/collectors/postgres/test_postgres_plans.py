"""`tocsin doctor queries`: what reads whole tables is found, and nothing that is planned is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from collectors.postgres.plans import Advice, advice_of, plan_of, planned
from tocsin.cli import cli
from tocsin.errors import CollectError
from tocsin.testing.postgres import EmbeddedPostgres

BIG = 5000


@pytest.fixture(scope="module")
def shop(server: EmbeddedPostgres) -> Iterator[str]:
    """A database with a table that wants an index, used by its application."""
    server.execute("create database shop owner app")
    server.execute("create extension pg_stat_statements", dbname="shop")
    with psycopg.connect(server.dsn("shop", "app"), autocommit=True) as app:
        app.execute("create schema sales")
        app.execute("create table sales.orders (id bigint primary key, buyer text, state text, at timestamptz, n int)")
        app.execute(
            "insert into sales.orders select i, 'b' || i %% 500, 'open', now(), 0 from generate_series(1, %s) i", [BIG]
        )
        app.execute("create table sales.kinds (id int, name text)")
        app.execute("create index on sales.orders (n)")
        app.execute("analyze")
        for _ in range(5):
            app.execute("select * from sales.orders where buyer = %s and at > now() - interval '1 day'", ["b7"])
            app.execute("select * from sales.orders where id = %s", [7])
            app.execute("select * from sales.kinds where name = %s", ["x"])
            app.execute("update sales.orders set n = n + 1 where buyer = %s and state = %s", ["b8", "open"])
            app.execute("select * from sales.orders where n + 0 = %s", [3])
    yield "shop"
    server.execute("drop database shop with (force)")


def test_what_reads_a_large_table_whole_is_advised_an_index(server: EmbeddedPostgres, shop: str) -> None:
    """Equality first, then the range; not what has an index, nor a small table, nor a function of a column."""
    found = planned(server.dsn(shop), 50)
    advice = {one.text.split(" where ")[0]: [a.mend for a in one.advice] for one in found if one.advice}
    assert advice == {
        "select * from sales.orders": ["create index concurrently on sales.orders (buyer, at);"],
        "update sales.orders set n = n + $3": ["create index concurrently on sales.orders (buyer, state);"],
    }
    assert {round(a.rows) for one in found for a in one.advice} == {BIG}


def test_with_the_index_nothing_is_advised(server: EmbeddedPostgres, shop: str) -> None:
    """The mend mends it."""
    server.execute("create index wanted on sales.orders (buyer, at)", dbname=shop)
    try:
        found = planned(server.dsn(shop), 50)
    finally:
        server.execute("drop index sales.wanted", dbname=shop)
    assert [one.advice for one in found if one.advice] == []


def test_nothing_is_run(server: EmbeddedPostgres, shop: str) -> None:
    """Neither what is planned nor what somebody hides behind a semicolon in a statement's text."""
    with psycopg.connect(server.dsn(shop, "app")) as app:
        before = app.execute("select sum(n) from sales.orders").fetchone()
    planned(server.dsn(shop), 500)
    with psycopg.connect(server.dsn(shop, "app")) as app:
        assert app.execute("select sum(n) from sales.orders").fetchone() == before


def test_a_second_statement_is_refused_before_anything_runs(server: EmbeddedPostgres, shop: str) -> None:
    """A text that ends the first one and begins another."""
    with psycopg.connect(server.dsn(shop, "app"), autocommit=True) as app:
        for text in ("select 1; create table sales.injected ()", "select 1; commit; drop table sales.kinds"):
            with pytest.raises(psycopg.Error, match="multiple commands"):
                plan_of(app, text)
        assert app.execute("select to_regclass('sales.injected'), to_regclass('sales.kinds')::text").fetchone() == (
            None, "sales.kinds",
        )  # fmt: skip


def test_a_role_that_may_not_is_told_what_to_grant(server: EmbeddedPostgres, shop: str) -> None:
    """pg_monitor sees the statements and may not plan them."""
    found = planned(server.dsn(shop, "watcher"), 50)
    assert {one.unknown.partition("; ")[2] for one in found if "from sales.orders" in one.text} == {
        "grant pg_read_all_data to the role, or ask as another one"
    }


def test_statements_that_a_role_may_not_see_are_not_none(server: EmbeddedPostgres, shop: str) -> None:
    """Before, their absence looked like a database that nobody asked."""
    server.create_role("stranger")
    try:
        [hidden] = [one for one in planned(server.dsn(shop, "stranger"), 500) if "other roles" in one.text]
    finally:
        server.execute("drop role stranger")
    assert (hidden.unknown, hidden.calls >= 25) == ('not to be seen; grant pg_read_all_stats to "stranger"', True)


def test_a_database_that_nobody_asked_has_no_statement(server: EmbeddedPostgres) -> None:
    """An empty one is no error; one whose statements may not be read is."""
    server.execute("create database quiet")
    server.execute("create extension pg_stat_statements", dbname="quiet")
    found = planned(server.dsn("quiet"), 5)
    server.execute("revoke select on pg_stat_statements from public", dbname="quiet")
    with pytest.raises(CollectError, match="denied for view pg_stat_statements; the role needs select on"):
        planned(server.dsn("quiet", "app"), 5)
    server.execute("drop database quiet")
    assert found == []


def test_without_the_extension_it_says_so(server: EmbeddedPostgres) -> None:
    """And how to get it."""
    server.execute("create database bare")
    with pytest.raises(CollectError, match="create extension pg_stat_statements"):
        planned(server.dsn("bare"), 5)
    server.execute("drop database bare")


def a_scan(condition: str, **more: Any) -> list[dict[str, Any]]:
    return [{"Plan": {"Node Type": "Sort", "Plans": [
        {"Node Type": "Seq Scan", "Schema": "s", "Relation Name": "t", "Alias": "t", "Filter": condition, **more}
    ]}}]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("(t.a = $1)", ("a",)),
        ("((t.b > $1) AND (t.a = $2) AND (t.c < $3))", ("a", "b")),
        ("((t.name)::text = $1)", ("name",)),
        ("((t.a = $1) OR (t.b = $2))", ()),
        ("(lower(t.a) = $1)", ()),
        ("(NOT t.a)", ()),
        ("(t.indexed = $1)", ()),
    ],
)
def test_the_columns_of_a_condition(condition: str, columns: tuple[str, ...]) -> None:
    """Only those that a plain index serves."""
    tables = {"s.t": {"rows": 1e6, "leading": ["indexed"]}}
    found = list(advice_of(a_scan(condition), tables))
    assert found == ([Advice(table="s.t", columns=columns, rows=1e6)] if columns else [])


def test_the_command_says_what_to_type(
    server: EmbeddedPostgres, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And exits 1; a collector that is not there is named with those that are."""
    monkeypatch.setenv("SHOP_DSN", server.dsn(shop))
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({
        "collectors": [{"kind": "postgres", "name": "shop-db", "dsn_env": "SHOP_DSN"}],
        "routes": [{"match": {}, "notify": ["log"]}], "notifiers": [{"kind": "console", "name": "log"}],
    }))  # fmt: skip
    ran = CliRunner().invoke(cli, ["doctor", "queries", "shop-db", "--config", str(config)])
    assert (ran.exit_code, "create index concurrently on sales.orders (buyer, at);" in ran.output) == (1, True)
    ran = CliRunner().invoke(cli, ["doctor", "queries", "nope", "--config", str(config)])
    assert (ran.exit_code, "name one of: shop-db" in ran.output) == (2, True)
