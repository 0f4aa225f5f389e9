"""Postgres tells of a change of the list: a NOTIFY of the table's trigger, heard on a connection of its own.

Only quicker, never needed: a roster looks once a second anyway, so a connection that died unnoticed costs a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from tocsin.model import Seconds
from tocsin.ports import Clock

CHANNEL: Final = "tocsin_allowlist"
LEAST_PAUSE: Final = 1.0
MOST_PAUSE: Final = 30.0

log = structlog.get_logger(__name__)


async def listen(dsn: str, heard: Callable[[], None], clock: Clock) -> None:
    """Call `heard` at each change, and after each reconnection, until cancelled. `dsn` is libpq's."""
    import psycopg  # 8 MB that a daemon with its state in SQLite does without

    pause: Seconds = LEAST_PAUSE
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                dsn, autocommit=True, connect_timeout=5, keepalives_idle=10, keepalives_interval=5
            ) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                pause = LEAST_PAUSE
                heard()  # what was told while nobody listened
                async for _ in connection.notifies():
                    heard()
        except (psycopg.Error, OSError) as error:
            log.warning("access.list_changes_not_heard", why=_why(error), again_in=pause)
        await clock.sleep(pause)
        pause = min(pause * 2, MOST_PAUSE)


def _why(error: Exception) -> str:
    """The first line of it; what a socket raises may have none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
