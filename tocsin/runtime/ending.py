"""The end of the daemon's own tasks, and of what plug-ins hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from tocsin.model import Seconds
from tocsin.tasks import end_tasks, within
from tocsin.telemetry.logs import logger

CLOSES: Final[Seconds] = 5.0
"""For the close() of what a reload has taken out."""


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """End `tasks`. What broke one is logged, and holds up nobody's end."""
    for error in await end_tasks(*tasks):
        logger().error("task.broken", exc_info=error)


async def closed(event: str, work: Awaitable[Any], *, limit: Seconds = CLOSES, **who: str) -> None:
    """Wait for a plug-in's close(). One that fails, or hangs and is left behind, is an `event` of the log and no more:
    a reload and the daemon's end go on."""
    try:
        if await within(limit, work):
            return
        why = f"it has not ended within {limit:g} s"
    except Exception as error:  # noqa: BLE001 (whatever a plug-in raises)
        why = f"{type(error).__name__}: {error}"
    logger().warning(event, error=why, **who)
