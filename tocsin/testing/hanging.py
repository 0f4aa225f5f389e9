"""A step of delivery that ends, even if the notifier hangs: time passes until the courier's deadline ends it."""

from __future__ import annotations

import asyncio
from typing import Final

from tocsin.model import Seconds
from tocsin.runtime.delivery import Delivery
from tocsin.testing.clock import VirtualClock
from tocsin.testing.destination import FakeNotifier

HANGS_FOR: Final[Seconds] = 10.0
"""A courier's deadline."""
SOON: Final = 12
"""So many turns of the loop end a step that does not hang; only then it is worth watching for one that does."""


async def stepped(worker: Delivery, notifier: FakeNotifier, clock: VirtualClock) -> bool:
    """`worker` takes a step for that destination → whether there was one to take. Raises StateError."""
    step = asyncio.ensure_future(worker.step(notifier.name))
    for _ in range(SOON):
        if step.done():
            return step.result()
        await asyncio.sleep(0)
    try:
        while not step.done():
            hung = asyncio.ensure_future(notifier.hung.wait())
            await asyncio.wait({step, hung}, return_when=asyncio.FIRST_COMPLETED)
            hung.cancel()
            if not step.done():
                notifier.hung.clear()
                # Once the courier sleeps until its deadline, too.
                await clock.advance(HANGS_FOR)
        return step.result()
    finally:
        step.cancel()
