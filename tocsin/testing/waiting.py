"""Waiting for what real processes do: by the condition, never by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tocsin.model import Seconds

PATIENCE: Final[Seconds] = 60.0
"""A bound for machines that are busy, not a measure."""


async def eventually(
    what: Callable[[], bool | Awaitable[bool]], *, within: Seconds = PATIENCE, says: Callable[[], str] | None = None
) -> None:
    """Wait until `what` holds. Raises AssertionError after a generous bound, with what `says` tells by then."""
    try:
        async with asyncio.timeout(within):
            while True:
                holds = what()
                if (await holds) if not isinstance(holds, bool) else holds:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"it did not come within {within:g} s{says() if says is not None else ''}") from None
