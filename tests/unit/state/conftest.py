"""A store per test on each database, and rows to put into it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from tocsin.state import State
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.world import empty_store

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server, started by the first test that wants one."""
    with EmbeddedPostgres.start() as server:
        yield server


def new_database(server: EmbeddedPostgres) -> str:
    """The URL of an empty database."""
    name = f"state{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    url = URL.create(
        "postgresql", username="postgres", password=server.password, host="127.0.0.1", port=server.port, database=name
    )
    return url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
async def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that may be new."""
    if request.param == "sqlite":
        (tmp_path / "state.db").write_bytes(await asyncio.to_thread(empty_store))
        return f"sqlite:///{tmp_path / 'state.db'}"
    return await asyncio.to_thread(new_database, request.getfixturevalue("postgres"))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[State]:
    """An open store, on SQLite and on Postgres."""
    state = await State.open(store_url)
    yield state
    await state.close()
