"""The monitored server comes to no harm: one read-only session that waits for nobody and makes nobody wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest

from collectors.postgres.session import Session
from collectors.postgres.state import State, Unreachable
from tocsin.tasks import end_tasks
from tocsin.testing.postgres import EmbeddedPostgres

Watching = Any
Client = Callable[..., Awaitable[psycopg.AsyncConnection[Any]]]


@pytest.fixture
async def session(server: EmbeddedPostgres) -> AsyncIterator[Session]:
    made = Session(
        lambda: server.dsn(user="watcher"), query_deadline=0.5, connect_deadline=5, application_name="tocsin",
        disturbed=lambda: None,
    )  # fmt: skip
    await made.open()
    yield made
    await made.close()


async def value(session: Session, sql: str) -> object:
    return (await session.fetch(sql)).rows[0][0]


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("application_name", "tocsin"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "500ms"),
        ("lock_timeout", "100ms"),
        ("idle_in_transaction_session_timeout", "1s"),
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("search_path", "pg_catalog"),
    ],
)
async def test_the_session_is_set_up_to_be_harmless(session: Session, setting: str, wanted: str) -> None:
    """Each of these keeps a monitoring query from becoming the incident."""
    assert await value(session, f"show {setting}") == wanted


async def test_the_session_can_not_write(session: Session) -> None:
    """Even where the role could."""
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await session.fetch("create table scratch (n int)")


async def test_a_refused_statement_does_not_cost_the_session(session: Session) -> None:
    """statement_timeout fires before the watchdog does, and the same backend answers next."""
    before = session.backend_pid
    with pytest.raises(psycopg.errors.QueryCanceled):
        await session.fetch("select pg_sleep(5)")
    assert await value(session, "select pg_backend_pid()") == before


async def test_a_stopped_backend_comes_back_at_the_deadline(server: EmbeddedPostgres, session: Session) -> None:
    """SIGSTOP: no timeout of the server fires and psycopg's own cancel takes seconds; the cut socket ends it."""
    server.pause(session.backend_pid)
    try:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable) as caught:
            await session.fetch("select 1")
        waited = asyncio.get_running_loop().time() - started
    finally:
        server.resume(session.backend_pid)
    # The bound is the contract itself: the deadline (0.75 s), not psycopg's cancel budget of five seconds more.
    assert (caught.value.state, waited < 4) == (State.HANGING, True)


async def test_a_cancelled_wait_ends_at_once_as_well(server: EmbeddedPostgres, session: Session) -> None:
    """The runtime cancels a poll at its deadline; that must not start psycopg's five seconds of asking to cancel."""
    server.pause(session.backend_pid)
    try:
        task = asyncio.create_task(session.fetch("select 1"))
        await asyncio.sleep(0)
        started = asyncio.get_running_loop().time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() - started < 4
    finally:
        server.resume(session.backend_pid)


async def test_a_second_statement_waits_its_turn(session: Session) -> None:
    """One connection, used serially, by whoever asks."""
    answers = await asyncio.gather(*(session.fetch(f"select {n}, pg_backend_pid()") for n in range(5)))
    assert {answer.rows[0] for answer in answers} == {(n, session.backend_pid) for n in range(5)}


async def test_the_collector_holds_one_connection(server: EmbeddedPostgres, watching: Watching) -> None:
    """However many polls and looks there were."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        async with watching(server.dsn(user="watcher"), application_name="tocsin-alone") as watch:
            for _ in range(5):
                await watch.poll()
            query = "select count(*) from pg_stat_activity where application_name = 'tocsin-alone'"
            assert admin.execute(query).fetchone() == (1,)


async def test_a_queued_alter_table_stops_nothing(server: EmbeddedPostgres, watching: Watching, client: Client) -> None:
    """A table locked exclusively with an ALTER queued behind it is a common incident: every group still answers."""
    server.execute("create table if not exists app.busy (id serial primary key)")
    server.execute("alter table app.busy owner to app")
    holder, queued = await client(), await client()
    await holder.execute("begin")
    await holder.execute("lock table app.busy in access exclusive mode")
    waiting = asyncio.create_task(queued.execute("alter table app.busy add column later int"))
    try:
        async with watching(server.dsn(user="watcher")) as watch:
            told = await watch.poll_until(
                lambda told: told.value("tocsin_pg_blocking_root_victims", pid=str(holder.info.backend_pid)) == 1
            )
    finally:
        await holder.execute("rollback")
        await waiting
    assert (told.blinds, told.value("pg_exporter_last_scrape_error")) == ([], 0)
    (root,) = told.find("tocsin_pg_blocking_root_victims", pid=str(holder.info.backend_pid))
    assert (root.labels["state"], root.labels["usename"]) == ("idle in transaction", "app")
    assert told.value("tocsin_pg_blocked_sessions", datname="postgres") == 1


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Pooler:
    """A TCP relay that treats startup options as pgbouncer does: refuses them, or drops them without a word."""

    def __init__(self, server: EmbeddedPostgres, *, ignores: bool) -> None:
        self._server = server
        self._ignores = ignores
        self.refused = 0
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Pooler]:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    await self._relay(reader, writer)
            finally:
                await _closed(writer)

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        yield self
        listener.close()
        await end_tasks(*tasks)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        startup = await self._read_startup(reader)
        if startup[4:8] == b"\x04\xd2\x16\x2f":  # SSLRequest
            writer.write(b"N")
            startup = await self._read_startup(reader)
        parameters = startup[8:].rstrip(b"\0").split(b"\0")
        pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
        if not self._ignores and any(name == b"options" for name, _ in pairs):
            self.refused += 1
            body = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
            writer.write(b"E" + (len(body) + 4).to_bytes(4, "big") + body)
            await writer.drain()
            return
        kept = b"".join(name + b"\0" + text + b"\0" for name, text in pairs if name != b"options") + b"\0"
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._server.port)
        upstream.write((len(kept) + 8).to_bytes(4, "big") + startup[4:8] + kept)
        back = asyncio.create_task(self._pump(upstream_reader, writer))
        try:
            await self._pump(reader, upstream)
        finally:
            await end_tasks(back)
            await _closed(upstream)

    @staticmethod
    async def _read_startup(reader: asyncio.StreamReader) -> bytes:
        length = await reader.readexactly(4)
        return length + await reader.readexactly(int.from_bytes(length, "big") - 4)

    @staticmethod
    async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()


@pytest.mark.parametrize("ignores", [False, True], ids=["refuses options", "ignores options"])
async def test_behind_a_pooler_each_statement_brings_its_own_settings(
    server: EmbeddedPostgres, watching: Watching, ignores: bool
) -> None:
    """No session setting survives a transaction pooler, and none may be left on a connection that others use next."""
    async with Pooler(server, ignores=ignores).running() as pooler:
        dsn = psycopg.conninfo.make_conninfo(server.dsn(user="watcher"), port=pooler.port)
        async with watching(dsn) as watch:
            told = await watch.poll_until(lambda told: not told.blinds)
            assert (told.state, told.value("tocsin_pg_pooled"), told.blinds) == ("up", 1, [])
        made = Session(
            lambda: dsn, query_deadline=0.5, connect_deadline=5, application_name="tocsin", disturbed=lambda: None
        )
        await made.open()
        try:
            query = "select current_setting('lock_timeout'), current_setting('transaction_read_only')"
            assert (await made.fetch(query)).rows[0] == ("100ms", "on")
            with pytest.raises(psycopg.errors.QueryCanceled):
                await made.fetch("select pg_sleep(5)")
            assert (await made.fetch("select 1")).rows[0] == (1,)
        finally:
            await made.close()


async def test_a_role_without_grants_is_told_what_to_grant(server: EmbeddedPostgres, watching: Watching) -> None:
    """Nothing raises an error there: other sessions are NULL. The metrics are blind, with the command that mends it."""
    async with watching(server.dsn(user="naked")) as watch:
        told = await watch.poll()
    assert (told.state, told.value("tocsin_pg_capability", capability="activity")) == ("up", 0)
    for metric in ("tocsin_pg_slow_queries_total", "pg_stat_activity_count", "pg_wal_size_bytes"):
        assert "GRANT pg_monitor TO naked;" in told.why(metric), metric
        assert metric not in told.names
    assert told.value("pg_static", short_version=_short(server)) == 1


def _short(server: EmbeddedPostgres) -> str:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("show server_version").fetchone()
        assert row is not None
        return str(row[0]).split()[0]


async def test_without_pg_stat_statements_the_rest_goes_on(server: EmbeddedPostgres, watching: Watching) -> None:
    """A database without the extension: its metrics are blind, and slow queries are still seen running."""
    if not _exists(server, "bare"):
        server.execute("create database bare")
    async with watching(server.dsn("bare", user="watcher")) as watch:
        told = await watch.poll_until(lambda told: told.value("tocsin_pg_capability", capability="statements") == 0)
    assert "CREATE EXTENSION pg_stat_statements" in told.why("pg_stat_statements_calls_total")
    assert "tocsin_pg_slow_queries_total" in told.names


def _exists(server: EmbeddedPostgres, database: str) -> bool:
    with psycopg.connect(server.dsn()) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", (database,)).fetchone()
        return found is not None


async def test_sequences_that_are_hidden_are_counted(server: EmbeddedPostgres, watching: Watching) -> None:
    """pg_monitor does not include them, and Postgres shows NULL instead of an error."""
    server.execute("create sequence if not exists app.hidden")
    async with watching(server.dsn(user="watcher")) as watch:
        told = await watch.poll_until(lambda told: not told.blinds)
    hidden = told.value("tocsin_pg_sequences_hidden", datname="postgres")
    assert hidden is not None
    assert hidden >= 1
    assert told.value("tocsin_pg_capability", capability="sequences") == 0


async def test_our_own_time_is_measured(server: EmbeddedPostgres, watching: Watching) -> None:
    """The observer's cost is a series like any other."""
    async with watching(server.dsn(user="watcher")) as watch:
        told = await watch.poll_until(lambda told: bool(told.find("tocsin_pg_observer_seconds_total")))
    assert {"activity_looks", "database", "server"} <= {
        sample.labels["group"] for sample in told.find("tocsin_pg_observer_seconds_total") if sample.value > 0
    }


async def test_our_defaults_are_not_taken_for_the_servers(server: EmbeddedPostgres, watching: Watching) -> None:
    """Our session is read-only; the server's default is not."""
    async with watching(server.dsn(user="watcher")) as watch:
        told = await watch.poll_until(lambda told: not told.blinds)
    assert told.value("pg_settings_default_transaction_read_only") == 0
