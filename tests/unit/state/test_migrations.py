"""From every schema that was ever released to the newest: nothing is lost, on SQLite and on Postgres."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tocsin.model import Alert, AlertState, Labels
from tocsin.state import State, codec, migrations
from tocsin.state.engine import connect
from tocsin.state.lease import read_lease
from tocsin.state.schema import HEAD, alerts, checkpoints
from tocsin.testing.clock import START as NOW

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
