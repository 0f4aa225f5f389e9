"""A state store to begin a test with: migrated, and nothing in it."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from pathlib import Path

from tocsin.state import State


@cache
def empty_store() -> bytes:
    """A store that is migrated and empty, as bytes: migrating each test's own would take most of its time."""

    async def migrate(file: Path) -> None:
        await (await State.open(f"sqlite:///{file}", durable=False)).close()

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "empty.db"
        asyncio.run(migrate(file))
        return file.read_bytes()


def make_store(file: Path) -> None:
    """Such a store in `file`, unless there is one."""
    if not file.exists():
        file.write_bytes(empty_store())
