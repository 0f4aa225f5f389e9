"""What the store holds is for the daemon alone: no other user of the machine, no REST interface of Supabase."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import sqlalchemy as sa

from tocsin.state import State
from tocsin.state.schema import metadata
from tocsin.testing.postgres import EmbeddedPostgres

from .conftest import OPEN_AS_ON_SUPABASE, new_database

READABLE = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
      AND (NOT c.relrowsecurity OR has_table_privilege('anon', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
           OR has_table_privilege('authenticated', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
"""


async def test_no_table_is_open_to_supabases_rest_interface(postgres: EmbeddedPostgres) -> None:
    """Though its default privileges open every new one; a table that is added later and left open fails here."""
    url = await asyncio.to_thread(new_database, postgres)
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(OPEN_AS_ON_SUPABASE)
    state = await State.open(url)
    await state.close()
    with engine.connect() as connection:
        readable = connection.exec_driver_sql(READABLE).scalars().all()
        tables = set(sa.inspect(connection).get_table_names())
    engine.dispose()
    assert (readable, tables >= set(metadata.tables)) == ([], True)


async def test_a_new_sqlite_store_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask: the file, its write-ahead log, a backup."""
    before = os.umask(0)
    try:
        state = await State.open(f"sqlite:///{tmp_path / 'new.db'}", durable=False)
        await state.backup(tmp_path / "copy.db")
        modes = {file.name: file.stat().st_mode & 0o777 for file in sorted(tmp_path.iterdir())}
        await state.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["copy.db", "new.db", "new.db-shm", "new.db-wal"], 0o600)
