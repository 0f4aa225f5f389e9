"""A store per test on each database, and rows to put into it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tocsin.state import State
from tocsin.testing.empty_store import empty_store
from tocsin.testing.postgres import EmbeddedPostgres

_numbers = itertools.count(1)

OPEN_AS_ON_SUPABASE = """
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN
            CREATE ROLE anon; CREATE ROLE authenticated;
        END IF;
    END $$;
    GRANT USAGE ON SCHEMA public TO anon, authenticated;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server, started by the first test that wants one."""
    with EmbeddedPostgres.start() as server:
        yield server


@pytest.fixture(scope="module")
def migrated(postgres: EmbeddedPostgres) -> str:
    """A database with a store that is migrated and empty, to copy from: migrating would take most of a test's time."""

    async def migrate() -> None:
        await (await State.open(new_database(postgres, name="migrated"))).close()

    asyncio.run(migrate())
    return "migrated"


def new_database(server: EmbeddedPostgres, *, name: str = "", copy_of: str = "template1") -> str:
    """The URL of a new database: an empty one, or a copy of another that nobody is connected to."""
    name = name or f"state{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {copy_of}")
    url = URL.create(
        "postgresql", username="postgres", password=server.password, host="127.0.0.1", port=server.port, database=name
    )
    return url.render_as_string(hide_password=False)


@pytest.fixture
def migrated_url(postgres: EmbeddedPostgres, migrated: str) -> str:
    """The URL of a store on Postgres that is migrated and empty."""
    return new_database(postgres, copy_of=migrated)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that is migrated and empty."""
    if request.param == "sqlite":
        (tmp_path / "state.db").write_bytes(empty_store())
        return f"sqlite:///{tmp_path / 'state.db'}"
    url: str = request.getfixturevalue("migrated_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[State]:
    """An open store, on SQLite and on Postgres."""
    state = await State.open(store_url)
    yield state
    await state.close()
