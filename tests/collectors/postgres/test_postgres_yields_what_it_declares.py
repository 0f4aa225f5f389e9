"""Every declared metric is one that a server can show, and nothing undeclared is: no rule names a dead metric."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from collectors.postgres import SPEC
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.waiting import eventually

Watching = Any
Client = Callable[..., Awaitable[psycopg.AsyncConnection[Any]]]

# What a primary without replicas does not have.
STANDBY = {
    "pg_replication_lag_seconds",
    "tocsin_pg_replay_lag_bytes",
    "tocsin_pg_wal_receiver_up",
    *(f"pg_stat_database_conflicts_confl_{why}" for why in ("tablespace", "lock", "snapshot", "bufferpin", "deadlock")),
}
REPLICAS = {
    "pg_stat_replication_pg_wal_lsn_diff",
    "pg_stat_replication_reply_time",
    "tocsin_pg_replica_write_lag_seconds",
    "tocsin_pg_replica_flush_lag_seconds",
    "tocsin_pg_replica_replay_lag_seconds",
}
# Absent until somebody resets the counters, archives a file, turns checksums on, or limits what a slot may keep.
RARE = {
    "pg_stat_database_stats_reset",
    "pg_stat_archiver_last_archive_age",
    "pg_stat_database_checksum_failures",
    "tocsin_pg_replication_slot_safe_wal_size_bytes",
}
BY_VERSION = {
    "pg_settings_reserved_connections": 16,
    "pg_stat_io_": 16,
    "pg_stat_checkpointer_": 17,
    "tocsin_pg_replication_slot_inactive_seconds": 17,
}


def expected(version: int) -> set[str]:
    """What a primary of this major version shows once there is something of each kind."""
    too_new = {name for prefix, first in BY_VERSION.items() if version < first for name in _starting(prefix)}
    return {metric.name for metric in SPEC.metrics} - STANDBY - REPLICAS - RARE - too_new


def _starting(prefix: str) -> set[str]:
    return {metric.name for metric in SPEC.metrics if metric.name.startswith(prefix)}


async def test_a_busy_primary_shows_every_metric_declared(
    server: EmbeddedPostgres, watching: Watching, client: Client
) -> None:
    """Tables, a slot, a prepared transaction, a sequence, a blocked session: everything declared is seen, no more."""
    server.execute(
        "create table if not exists app.things (id serial primary key, colour text)",
        "alter table app.things owner to app",
        "grant select on all sequences in schema app to watcher",
        "grant usage on schema app to watcher",
        "insert into app.things (colour) values ('red')",
        "select pg_create_logical_replication_slot('declared', 'pgoutput')",
    )
    with psycopg.connect(server.dsn()) as preparing:
        preparing.execute("insert into app.things (colour) values ('blue')")
        preparing.execute("prepare transaction 'declared'")
    holder, waiter = await client(), await client()
    await holder.execute("begin")
    await holder.execute("select * from app.things for update")
    waiting = asyncio.create_task(waiter.execute("update app.things set colour = 'green'"))
    try:
        async with watching(server.dsn(user="watcher")) as watch:
            wanted = expected(server.binaries.version)
            told = await watch.poll_until(lambda told: wanted <= told.names)
    finally:
        await holder.execute("rollback")
        await waiting
        server.execute("rollback prepared 'declared'", "select pg_drop_replication_slot('declared')")
    assert (wanted - told.names, told.names - {metric.name for metric in SPEC.metrics}) == (set(), set())


async def test_a_primary_and_its_replica_show_the_rest(
    breakable: EmbeddedPostgres, replica: EmbeddedPostgres, watching: Watching
) -> None:
    """A real standby streams from a real primary: each side shows what only it has."""
    standby_dsn = psycopg.conninfo.make_conninfo(breakable.dsn(user="watcher"), port=replica.port)
    lags = {f"tocsin_pg_replica_{step}_lag_seconds" for step in ("write", "flush", "replay")}
    async with watching(breakable.dsn(user="watcher")) as watch:
        # The lags are known only while there is something to ship.
        breakable.execute("create table if not exists shipped (n int)", "vacuum pg_class")
        primary = await watch.poll_until(lambda told: told.names >= REPLICAS)
    # Whoever reads the log for a while is no replica: its end would be told as one that is lost.
    backup = streaming(breakable)
    await eventually(lambda: len(senders(breakable)) == 2)
    async with watching(breakable.dsn(user="watcher")) as watch:
        beside = await watch.poll_until(lambda told: "tocsin_pg_replicas" in told.names)
    backup.finish()
    async with watching(standby_dsn) as watch:
        standby = await watch.poll_until(lambda told: told.names >= STANDBY and told.state == "in_recovery")
    assert (REPLICAS - lags <= primary.names, STANDBY - standby.names) == (True, set())
    assert (primary.value("tocsin_pg_replicas"), standby.value("tocsin_pg_wal_receiver_up")) == (1, 1)
    assert beside.value("tocsin_pg_replicas") == 1


def streaming(server: EmbeddedPostgres) -> psycopg.pq.abc.PGconn:
    """A connection that streams the log as pg_basebackup's second one does: over a slot that ends with it."""
    where = psycopg.conninfo.make_conninfo(server.dsn(), replication="true", application_name="nightly")
    connection = psycopg.pq.PGconn.connect(where.encode())
    connection.exec_(b"CREATE_REPLICATION_SLOT nightly TEMPORARY PHYSICAL RESERVE_WAL")
    position = connection.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2)
    assert position is not None
    begun = connection.exec_(b"START_REPLICATION SLOT nightly PHYSICAL " + position)
    assert begun.status == psycopg.pq.ExecStatus.COPY_BOTH, begun.get_error_message()
    return connection


def senders(server: EmbeddedPostgres) -> list[str]:
    """Who streams, by application_name."""
    with psycopg.connect(server.dsn()) as connection:
        found = connection.execute("select application_name from pg_stat_replication where state = 'streaming'")
        return [name for (name,) in found]


async def test_labels_are_those_declared(server: EmbeddedPostgres, watching: Watching) -> None:
    """A label that is not declared can be in no rule's `by`."""
    declared = {metric.name: set(metric.labels) for metric in SPEC.metrics}
    async with watching(server.dsn(user="watcher")) as watch:
        told = await watch.poll_until(lambda told: not told.blinds)
    surplus = {
        (sample.name, label) for sample in told.samples for label in sample.labels if label not in declared[sample.name]
    }
    assert surplus == set()


async def test_no_series_is_told_twice_in_a_poll(server: EmbeddedPostgres, watching: Watching) -> None:
    """A second sample of a series at the same time would be refused by the store."""
    async with watching(server.dsn(user="watcher")) as watch:
        told = await watch.poll_until(lambda told: not told.blinds)
    series = [(sample.name, sample.labels) for sample in told.samples]
    assert len(series) == len(set(series))


async def test_query_text_is_no_label(server: EmbeddedPostgres, watching: Watching, client: Client) -> None:
    """Texts hold what users typed, and make a series of each."""
    app = await client()
    async with watching(server.dsn(user="watcher"), slow_query_seconds=0.2) as watch:
        await watch.poll()
        running = asyncio.create_task(app.execute("select pg_sleep(0.6), 'visible'"))
        await watch.woken()
        told = await watch.poll()
        await running
    assert [sample for sample in told.samples if "visible" in str(sample.labels)] == []


async def test_another_databases_tables_are_seen_through_its_own_session(
    server: EmbeddedPostgres, watching: Watching
) -> None:
    """Table statistics are per database: each database named gets a session, and its series its name."""
    server.execute("drop database if exists second", "create database second")
    server.execute("create table other (n int primary key)", dbname="second")
    async with watching(server.dsn(user="watcher"), databases=["second"]) as watch:
        told = await watch.poll_until(
            lambda told: bool(told.find("pg_stat_user_tables_n_live_tup", datname="second")) and not told.blinds
        )
    (sample,) = told.find("pg_stat_user_tables_n_live_tup", datname="second")
    assert (sample.labels["relname"], told.value("tocsin_pg_invalid_indexes", datname="second")) == ("other", 0)


async def test_a_database_that_is_not_there_blinds_its_own_series_only(
    server: EmbeddedPostgres, watching: Watching
) -> None:
    """The blindness is narrowed by the database's name; the rest of the server is fine."""
    async with watching(server.dsn(user="watcher"), databases=["nowhere"]) as watch:
        told = await watch.poll_until(lambda told: "pg_stat_user_tables_n_live_tup" in told.names or told.blinds)
    (blind,) = told.blinds
    assert (blind.labels["datname"], "nowhere" in blind.why, told.state) == ("nowhere", True, "up")


async def test_a_reload_of_the_server_is_no_loss(server: EmbeddedPostgres, watching: Watching) -> None:
    """SIGHUP makes the server speak unasked; the watched socket stirs, and the session goes on."""
    async with watching(server.dsn(user="watcher")) as watch:
        await watch.poll()
        server.execute("alter system set log_min_messages = 'notice'", "alter database postgres set timezone = 'UTC'")
        server.execute("alter system reset log_min_messages", "select pg_reload_conf()")
        told = await watch.poll_until(lambda told: watch.polls >= 5)
    assert (told.state, told.value("tocsin_pg_reconnects_total")) == ("up", 0)
