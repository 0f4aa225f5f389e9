"""The end of the daemon's own tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from tocsin.tasks import end_tasks
from tocsin.telemetry.logs import logger


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """End `tasks`. What broke one is logged, and holds up nobody's end."""
    for error in await end_tasks(*tasks):
        logger().error("task.broken", exc_info=error)
