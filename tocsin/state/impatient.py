"""A connection to Postgres that does not wait for ever.

psycopg waits for an answer until TCP gives the connection up: a quarter of an hour where the other machine is gone, and
without end where it takes bytes and says nothing. Here each wait has an end: then the socket is shut down, so that
psycopg finds the connection closed, and the pool makes another.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

import psycopg

from tocsin.model import Seconds


class Impatient(psycopg.AsyncConnection[Any]):
    """Hangs up when one answer takes longer than `patience`."""

    patience: Seconds = 0.0
    """0: as long as it takes."""

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's, with an end."""
        if not self.patience:
            return await super().wait(gen, *args, **kwargs)
        ends = asyncio.get_running_loop().call_later(self.patience, self._hang_up)
        try:
            return await super().wait(gen, *args, **kwargs)
        finally:
            ends.cancel()

    def _hang_up(self) -> None:
        # A copy of the descriptor: the shutdown is the socket's, and psycopg keeps what it opened.
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as copy:
            copy.shutdown(socket.SHUT_RDWR)


def arguments(patience: Seconds) -> dict[str, Any]:
    """SQLAlchemy's `connect_args` for connections with that patience."""

    async def create(*args: Any, **kwargs: Any) -> Impatient:
        made = await Impatient.connect(*args, **kwargs)
        made.patience = patience
        return made

    # Whole seconds, and 2 at the least: libpq's own rule.
    return {"async_creator_fn": create, "connect_timeout": max(2, round(patience))}
