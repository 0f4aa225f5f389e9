"""From every schema that was ever released to the newest: nothing is lost, on SQLite and on Postgres; what needs no
migration is opened without one, and a newer schema not at all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tocsin.errors import StateError
from tocsin.model import Alert, AlertState, Labels
from tocsin.state import State, codec, migrations
from tocsin.state.engine import connect
from tocsin.state.lease import read_lease
from tocsin.state.schema import HEAD, alerts, checkpoints, metadata
from tocsin.testing.clock import START as NOW
from tocsin.testing.empty_store import empty_store

from .conftest import new_database

RELEASED = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
ALERT = Alert(rule="g;Down", labels=Labels(alertname="Down"), state=AlertState.PENDING, value=1.0, active_at=NOW)


def upgrade_to(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def test_every_released_schema_is_tested() -> None:
    """One file for each, and the newest is the head."""
    files = sorted(file.name[:4] for file in (Path(migrations.__file__).parent / "versions").glob("0*.py"))
    assert (tuple(files), RELEASED[-1]) == (RELEASED, HEAD)


@pytest.mark.parametrize("revision", RELEASED)
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_a_store_of_each_release_is_brought_up_to_date(
    dialect: str, revision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its rows are there afterwards, and it is sound."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if dialect == "postgresql":
        url = await asyncio.to_thread(new_database, request.getfixturevalue("postgres"))
    engine = connect(url)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade_to, revision)
        row = {"id": ALERT.id, "rule": ALERT.rule, "name": "Down", "severity": "P2", "state": "pending"}
        await connection.execute(sa.insert(alerts).values(**row, doc=codec.dump(codec.alert_json(ALERT))))
        await connection.execute(sa.insert(checkpoints).values(name="auth", blob=b"\x00\xff"))
    await engine.dispose()
    state = await State.open(url)
    try:
        assert (await state.load(NOW)).alerts == (ALERT,)
        assert (await state.checkpoint("auth").load(), await state.check()) == (b"\x00\xff", ())
        if dialect == "postgresql":
            async with state.reading() as connection:
                lease, replicas = await read_lease(connection)
            assert (lease.epoch, lease.remaining < 0, replicas) == (0, True, ())
    finally:
        await state.close()


async def test_migrations_make_the_schema(store: State) -> None:
    """The tables that the code names and those that the migrations create are the same."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with store.reading() as connection:
        assert await connection.run_sync(migrations.version) == HEAD
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(store: State) -> None:
    """`tocsin state migrate` may be run at any time."""
    async with store.writing() as connection:
        await connection.run_sync(migrations.upgrade)
    assert await store.check() == ()


async def test_a_current_store_is_opened_without_alembic(tmp_path: Path) -> None:
    """It costs start-up time and memory, and is needed once a release."""
    file = tmp_path / "state.db"
    file.write_bytes(await asyncio.to_thread(empty_store))
    script = (
        "import asyncio, sys\nfrom tocsin.state import State\n"
        f"async def main():\n    await (await State.open('sqlite:///{file}')).close()\n"
        "asyncio.run(main())\nassert 'alembic' not in sys.modules\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], check=True)


async def test_a_store_of_a_newer_tocsin_is_refused(store_url: str) -> None:
    """An older one would not know what it destroys."""
    state = await State.open(store_url)
    async with state.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    await state.close()
    with pytest.raises(StateError, match="install the newer"):
        await State.open(store_url)


async def test_a_store_that_is_behind_can_be_left_as_it_is(tmp_path: Path) -> None:
    """Commands that only look don't migrate."""
    with pytest.raises(StateError, match="tocsin state migrate"):
        await State.open(f"sqlite:///{tmp_path / 'new.db'}", migrate=False)
