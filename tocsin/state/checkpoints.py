"""Where each collector has read to: one blob each, replaced atomically."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tocsin.errors import Deposed
from tocsin.state.rows import upsert
from tocsin.state.schema import checkpoints

if TYPE_CHECKING:
    from tocsin.state.store import State


class StoredCheckpoint:
    """ports.Checkpoint in the state store."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self._name = name

    async def load(self) -> bytes | None:
        """What was saved last, or None. Raises StateError."""
        async with self._state.reading() as connection:
            found = await connection.execute(sa.select(checkpoints.c.blob).where(checkpoints.c.name == self._name))
            blob = found.scalar()
        return None if blob is None else bytes(blob)

    async def save(self, blob: bytes) -> None:
        """Durable when this returns; of several replicas the leader's counts. Raises StateError."""
        with suppress(Deposed):
            async with self._state.deciding() as connection:
                await upsert(connection, checkpoints, [{"name": self._name, "blob": blob}])
