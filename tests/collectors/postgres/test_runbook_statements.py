"""The SQL on the runbooks' pages, on a real server: what Check asks is answered to the role that Tocsin watches with,
and what Mend says is done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, LiteralString, cast

import psycopg
import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from collectors.postgres.doctor import CAPABILITIES
from tests.content.pages import Statement, Typed, statements_in, typed_on
from tocsin.state.schema import leadership
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.supabase.schema import SCHEMA

DATABASE: Final = "runbooks"
FILLED_IN: Final = {
    "TABLE": "orders",
    "COLUMN": "state",
    "INDEX": "orders_state_idx",
    "SEQUENCE": "orders_id_seq",
    "DATABASE": DATABASE,
    "ROLE": "runbooks_app",
    "SETTING": "work_mem",
    "SLOT": "standby2",
    "GID": "shop-17",
    "QUERYID": "1",
    "APP": "campaigns",
    "ADDRESS": "203.0.113.7",
    "EMAIL": "ana@example.com",
    "USER": "6f1d0f0e-4f0e-4d0e-8f0e-0f0e0f0e0f0e",
    "FACTOR": "6f1d0f0e-4f0e-4d0e-8f0e-0f0e0f0e0f0f",
}
"""What a reader would put for the words in capitals. PID is a session that the test opens."""
NAMED: Final = {
    "alter table": "what a migration does",
    "alter system": "what a provider may refuse",
    "alter role … set": "what may have made a role read-only",
    "create index": "what may take minutes",
    "create index concurrently": "what a page says has failed",
    "reindex concurrently": "what a page says has failed",
    "explain (analyze, buffers)": "goes before the statement that is slow",
    "select … for share": "a form that the application's statements have",
    "insert … on conflict": "a form that the application's statements may have",
}
"""Spans that begin as a statement does and name one only, and why they can't be run."""
REFUSED: Final = {
    "commit prepared": "42704",  # there is no such transaction
    "rollback prepared": "42704",
    "select pg_drop_replication_slot": "42704",  # there is no such slot
    "select pg_promote": "55000",  # this is a primary
}
"""What a healthy server can only refuse: the SQLSTATE shows that it understood."""
ALONE: Final = re.compile(
    r"vacuum|reindex .*concurrently|(?:create|drop) index concurrently|alter system|(?:commit|rollback) prepared"
)
"""What can't be done inside of a transaction."""
PROGRAMS: Final = {"pg_basebackup", "pg_dump", "pg_isready", "pg_wal"}
"""Client programs, and the folder that nobody may empty: names that the server does not know."""
ELSEWHERE: Final = {
    "exclude_roles": "a key of config.yaml",
    "wait_event_type": "a column of pg_stat_activity",
    "shutting_down": "a state that tocsin_pg_state tells",
    **dict.fromkeys(CAPABILITIES, "a capability that tocsin_pg_capability tells"),
}


@pytest.fixture(scope="module")
def pages(root: Path) -> list[Typed]:
    """All code on all pages, the index included."""
    return [
        piece for path in sorted((root / "runbooks").glob("*.md")) for piece in typed_on(path.stem, path.read_text())
    ]


@pytest.fixture(scope="module")
def statements(pages: list[Typed]) -> list[Statement]:
    """Every statement that is typed, less what only names one."""
    found = [statement for piece in pages for statement in statements_in(piece)]
    return [statement for statement in found if statement.text not in NAMED]


@pytest.fixture(scope="module")
def shop(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A database with what the pages speak of: a table, Auth's tables, the lease of Tocsin's replicas."""
    server.execute(f"create database {DATABASE}", "create role runbooks_app")
    server.create_role("runbooks_editor", "pg_monitor", options="bypassrls")
    server.execute(
        "create extension pg_stat_statements",
        "create table orders (id serial primary key, state text)",
        *SCHEMA,
        str(CreateTable(leadership).compile(dialect=postgresql.dialect())),
        "grant usage on schema auth to runbooks_editor",
        "grant all on all tables in schema auth, public to runbooks_editor",
        dbname=DATABASE,
    )
    yield server
    server.execute(f"drop database {DATABASE} with (force)", "drop role runbooks_app, runbooks_editor")


def told(statement: Statement, connection: psycopg.Connection[tuple[object, ...]], pid: int) -> str:
    """The SQLSTATE and the first line of what the server says against it; empty for nothing."""
    text = re.sub(r"\b[A-Z]{3,}\b", lambda word: {**FILLED_IN, "PID": str(pid)}.get(word[0], word[0]), statement.text)
    try:
        if ALONE.match(text):
            if "index" in text:
                connection.execute("create index if not exists orders_state_idx on orders (state)")
            connection.execute(cast(LiteralString, text))
            if text.startswith("alter system set"):
                connection.execute(cast(LiteralString, f"alter system reset {text.split()[3]}"))
        else:
            with connection.transaction(force_rollback=True):
                connection.execute(cast(LiteralString, text))
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}"
    return ""


def wanted(statement: Statement, version: int) -> str:
    """How what the server says against it must begin."""
    if not statement.since <= version <= statement.until:
        return "42"  # another version's column or view
    return next((state for start, state in REFUSED.items() if statement.text.startswith(start)), "")


def test_what_is_asked_under_check_is_answered_to_the_watching_role(
    statements: list[Statement], shop: EmbeddedPostgres
) -> None:
    """pg_monitor is enough, and nothing is changed by looking. Auth's own tables and Tocsin's store take a right to
    those; the index says so."""
    asked = [statement for statement in statements if statement.section != "Mend"]
    own = re.compile(r"\bauth\.|\bleadership\b")
    wrong: dict[str, str] = {}
    with (
        psycopg.connect(shop.dsn(DATABASE, "watcher"), autocommit=True) as watcher,
        psycopg.connect(shop.dsn(DATABASE, "runbooks_editor"), autocommit=True) as editor,
    ):
        for role in (watcher, editor):
            role.execute("set default_transaction_read_only = on")
        for statement in asked:
            heard = told(statement, editor if own.search(statement.text) else watcher, watcher.info.backend_pid)
            if bool(heard) != bool(must := wanted(statement, shop.binaries.version)) or not heard.startswith(must):
                wrong[f"{statement.page}: {statement.text}"] = heard
    assert wrong == {}
    assert len(asked) > 50


def test_what_mend_says_is_done_by_an_administrator(statements: list[Statement], shop: EmbeddedPostgres) -> None:
    """As far as a healthy server can: it has no prepared transaction and no slot to end, and is no replica."""
    done = [statement for statement in statements if statement.section == "Mend"]
    wrong: dict[str, str] = {}
    with (
        psycopg.connect(shop.dsn(DATABASE), autocommit=True) as admin,
        psycopg.connect(shop.dsn(DATABASE, "watcher"), autocommit=True) as victim,
    ):
        for statement in done:
            heard = told(statement, admin, victim.info.backend_pid)
            if bool(heard) != bool(must := wanted(statement, shop.binaries.version)) or not heard.startswith(must):
                wrong[f"{statement.page}: {statement.text}"] = heard
        with pytest.raises(psycopg.errors.AdminShutdown):
            victim.execute("select 1")
    assert wrong == {}
    assert len(done) > 20


def test_every_word_in_capitals_is_one_that_a_reader_can_fill_in(statements: list[Statement]) -> None:
    """The same word everywhere means the same; in quotes there are names of the server's own."""
    words = {
        (statement.page, word)
        for statement in statements
        for word in re.findall(r"\b[A-Z]{2,}\b", statement.text)
        if f"'{word}'" not in ("'UTC'",)
    }
    assert sorted((page, word) for page, word in words if word not in {*FILLED_IN, "PID"}) == []
    assert sorted(set(FILLED_IN) - {word for _, word in words}) == []


def test_no_part_of_a_block_is_left_out(pages: list[Typed]) -> None:
    """What is read out of a block is all of it, but for comments and semicolons: nothing is skipped unseen."""
    blocks = [piece for piece in pages if piece.language == "sql"]
    read = ["".join("".join(statement.text.split()) for statement in statements_in(piece)) for piece in blocks]
    assert [re.sub(r"--[^\n]*|[;\s]", "", piece.text) for piece in blocks] == read
    assert len(blocks) > 10


def test_what_is_only_named_is_still_there(pages: list[Typed]) -> None:
    """The list of what is not run holds nothing that nobody writes any more, and no block."""
    assert sorted(set(NAMED) - {piece.text for piece in pages if not piece.block}) == []


def test_functions_views_and_settings_that_pages_name_are_the_servers(
    pages: list[Typed], shop: EmbeddedPostgres
) -> None:
    """Also in prose: whoever types the name is understood."""
    spans = {
        (piece.page, found[1])
        for piece in pages
        if not piece.block and piece.page.startswith("Postgres")
        and (found := re.fullmatch(r"([a-z]+(?:_[a-z0-9]+)+)(?:\(.*\)| = .*)?", piece.text))
    }  # fmt: skip
    with psycopg.connect(shop.dsn(DATABASE, "watcher")) as connection:
        known = {name for (name,) in connection.execute(
            "select name from pg_settings union select proname from pg_proc union select relname from pg_class"
        )}  # fmt: skip
    ours = {name for _, name in spans if name.startswith("tocsin_")}
    """Held by tests/content."""
    assert sorted((page, name) for page, name in spans if name not in known | PROGRAMS | set(ELSEWHERE) | ours) == []
    assert len(spans) > 30
