"""What `tocsin doctor` learns of a real server."""

from __future__ import annotations

from pathlib import Path

import psycopg

from collectors.postgres import PostgresSettings
from collectors.postgres.examine import examine
from collectors.postgres.state import State
from tocsin.testing.postgres import EmbeddedPostgres


def settings(dsn: str) -> PostgresSettings:
    return PostgresSettings.model_validate({"kind": "postgres", "name": "db", "dsn": dsn})


async def test_a_role_with_its_grants_is_sound(server: EmbeddedPostgres) -> None:
    """pg_monitor and pg_stat_statements are all that is needed."""
    found = await examine(settings(server.dsn(user="watcher")), Path("/"))
    assert (found.sound, found.state, found.role, found.version) == (
        True,
        State.UP,
        "watcher",
        server.binaries.version,
    )


async def test_each_gap_comes_with_its_statement(server: EmbeddedPostgres) -> None:
    """And running the statement closes it."""
    server.create_role("newcomer")
    before = await examine(settings(server.dsn(user="newcomer")), Path("/"))
    remedies = {gap.mend for gap in before.gaps if gap.blinds}
    server.execute(*remedies)
    after = await examine(settings(server.dsn(user="newcomer")), Path("/"))
    assert (before.sound, remedies, after.sound) == (False, {"GRANT pg_monitor TO newcomer;"}, True)


async def test_a_server_that_can_not_be_reached_is_a_finding() -> None:
    """Doctor says so and goes on to the next source."""
    found = await examine(settings("postgresql://w:s3cret@127.0.0.1:1/x"), Path("/"))
    assert (found.sound, found.state, "s3cret" in found.why) == (False, State.DOWN, False)


async def test_it_leaves_no_connection_behind(server: EmbeddedPostgres) -> None:
    """A look is a look."""
    given = settings(server.dsn(user="watcher")).model_copy(update={"application_name": "tocsin-doctor"})
    await examine(given, Path("/"))
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        query = "select count(*) from pg_stat_activity where application_name = 'tocsin-doctor'"
        for _ in range(1000):  # the backend ends a moment after its socket
            row = admin.execute(query).fetchone()
            if row == (0,):
                break
    assert row == (0,)
