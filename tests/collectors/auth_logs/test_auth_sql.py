"""auth.audit_log_entries as source, in a real Postgres: each row once, and hidden rows are no quiet ones."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tocsin.testing.postgres import EmbeddedPostgres

# A type of this folder's conftest, which a test can't import.
Auth = Any
AUDIT = "tocsin_auth_audit_events_total"
UP = "tocsin_auth_log_up"
DDL = (
    "create schema auth",
    """create table auth.audit_log_entries (
         instance_id uuid, id uuid primary key, payload json, created_at timestamptz,
         ip_address varchar(64) not null default '')""",
    "create index audit_logs_instance_id_idx on auth.audit_log_entries (instance_id)",
    "alter table auth.audit_log_entries enable row level security",
)
"""As supabase/auth's migrations 00_init_auth_schema and 20240612123726 leave it."""


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    postgres.execute(*DDL)
    postgres.create_role("reader", options="bypassrls")
    postgres.create_role("hidden")
    postgres.create_role("stranger")
    for role in ("reader", "hidden"):
        postgres.execute(f"grant usage on schema auth to {role}")
        postgres.execute(f"grant select on auth.audit_log_entries to {role}")
    yield postgres
    postgres.execute("drop schema auth cascade", "drop role reader, hidden, stranger", "drop database if exists other")


class Table:
    """The audit table, and a collector that reads it as some role."""

    def __init__(self, server: EmbeddedPostgres, auth: Auth) -> None:
        self.server, self._auth = server, auth

    def start(self, role: str = "reader", *, poll: dict[str, Any] | None = None, **sql: Any) -> None:
        # The other tables: test_auth_tables.py.
        source = {"sql": {"dsn": self.server.dsn(user=role), "tables": {"include": []}, **sql}}
        self._auth.start(source=source, **(poll or {}))

    def add(self, action: str, count: int = 1, *, at: datetime, actor: str = "ana@example.com") -> None:
        payload = json.dumps({"action": action, "actor_id": str(uuid.uuid4()), "actor_username": actor})
        rows = [(str(uuid.uuid4()), payload, at) for _ in range(count)]
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.cursor().executemany(
                "insert into auth.audit_log_entries (id, payload, created_at) values (%s, %s, %s)", rows
            )


@pytest.fixture
def table(server: EmbeddedPostgres, auth: Auth) -> Iterator[Table]:
    yield Table(server, auth)
    server.execute("truncate auth.audit_log_entries")


async def test_rows_are_counted_once_over_polls_and_restarts(table: Table, auth: Auth) -> None:
    """Reads overlap by two minutes; what is committed late is found, and nothing twice."""
    table.add("login", 3, at=auth.now)
    table.start()
    seen = await auth.poll()
    assert (seen.value(AUDIT), seen.value(UP)) == (None, 1)  # before the first look: history
    for round in range(4):
        table.add("login", 2, at=auth.now + timedelta(seconds=5))
        seen = await auth.poll(after=30)
        assert seen.value(AUDIT, action="login", actor="user") == 3 * round + 2
        table.add("login", at=auth.now - timedelta(seconds=20))  # committed after the poll, begun before it
        seen = await auth.poll(after=30)
        assert seen.value(AUDIT, action="login") == 3 * round + 3
        if round % 2:
            await auth.collector.close()
            table.start()
    table.add("user_deleted", at=auth.now, actor="service_role")
    assert (await auth.poll()).value(AUDIT, action="user_deleted", actor="service_role") == 1


async def test_a_backlog_is_read_in_bounded_reads(table: Table, auth: Auth) -> None:
    """More rows than one read has, of one moment too."""
    table.add("login", 1500, at=auth.now - timedelta(days=30))
    table.add("logout", 1200, at=auth.now - timedelta(days=20))
    table.start(poll={"start": "beginning"})
    seen = await auth.poll()
    assert (seen.value(AUDIT, action="login"), seen.value(AUDIT, action="logout")) == (1500, 1200)
    assert (await auth.poll()).value(AUDIT) == 2700


async def test_what_the_table_does_not_hold_is_not_told(table: Table, auth: Auth) -> None:
    """No failure is in it: a counter at zero would say that there was none."""
    table.start(poll={"start": "beginning"})
    table.add("login", at=auth.now)
    seen = await auth.poll()
    names = {sample.name for sample in seen.samples}
    assert {name for name in names if "sign_in" in name or "failures" in name or "requests" in name} == set()
    assert names >= {AUDIT, UP, "tocsin_auth_log_lines_total", "tocsin_auth_log_last_event_timestamp_seconds"}


async def test_an_empty_table_is_quiet(table: Table, auth: Auth) -> None:
    """A database that shows every row and has none says so."""
    table.start()
    seen = await auth.poll()
    assert (seen.value(UP), seen.blind) == (1, [])


async def test_hidden_rows_are_unknown(table: Table, auth: Auth) -> None:
    """Row security answers with no row and no error: blind, with the statement that mends it, which does."""
    table.add("login", 40, at=auth.now)
    table.server.execute("analyze auth.audit_log_entries")
    table.start("hidden", poll={"start": "beginning"})
    seen = await auth.poll()
    assert seen.value(UP) == 0
    assert "row security hides about 40 rows" in seen.blind[0]
    assert 'ALTER ROLE "hidden" BYPASSRLS' in seen.blind[0]
    table.server.execute('alter role "hidden" bypassrls')
    seen = await auth.poll()
    assert (seen.value(UP), seen.value(AUDIT)) == (1, 40)
    table.server.execute('alter role "hidden" nobypassrls')
    policy = 'create policy tocsin_reads on auth.audit_log_entries for select to "hidden" using (true)'
    assert policy.lower() in seen_lower(await auth.poll())
    table.server.execute(policy)
    assert (await auth.poll()).value(AUDIT) == 40
    await auth.collector.close()
    auth.checkpoint._path.unlink()
    table.start("hidden")  # what is there is older than the first look
    seen = await auth.poll()
    assert (seen.value(UP), seen.blind) == (1, [])
    table.server.execute("drop policy tocsin_reads on auth.audit_log_entries")


def seen_lower(seen: Any) -> str:
    return str(seen.blind[0]).lower()


async def test_a_role_without_the_right_is_told_the_grant(table: Table, auth: Auth) -> None:
    """By name; and a database that is not Auth's is told apart."""
    table.start("stranger")
    seen = await auth.poll()
    assert "GRANT USAGE ON SCHEMA auth" in seen.blind[0]
    await auth.collector.close()
    table.server.execute("create database other")
    table.start(dsn=table.server.dsn("other"))
    assert "database of Supabase Auth" in (await auth.poll()).blind[0]


async def test_a_read_ends_at_its_deadline(table: Table, auth: Auth) -> None:
    """Behind a lock, and with a server that has stopped: blind in time, and well again after."""
    table.start(query_deadline=0.2)
    assert (await auth.poll()).value(UP) == 1
    table.add("login", at=auth.now + timedelta(seconds=1))
    with psycopg.connect(table.server.dsn()) as blocker:
        blocker.execute("lock table auth.audit_log_entries in access exclusive mode")
        assert "can't be read" in (await auth.poll()).blind[0]
    assert (await auth.poll()).value(AUDIT) == 1
    pid = auth.collector._log[0].database.connection.info.backend_pid
    table.server.pause(pid)
    try:
        assert "can't be read" in (await auth.poll()).blind[0]
    finally:
        table.server.resume(pid)
    assert (await auth.poll()).value(AUDIT) == 1


async def test_it_only_reads(table: Table, auth: Auth) -> None:
    """The transaction is read-only, whatever the role may do."""
    table.start("postgres")
    await auth.poll()
    ((read_only, timeout),) = await auth.collector._log[0].database.ask(
        "select current_setting('transaction_read_only'), current_setting('statement_timeout')", (), of="", when_slow=""
    )
    assert (read_only, timeout) == ("on", "3s")
