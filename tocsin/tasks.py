"""Ending asyncio's tasks, so that nothing waits for ever for one that did not hear it.

A cancellation can be lost. `asyncio.wait_for` of Python 3.11 gives its result, and no CancelledError, when both come in
the same turn of the loop (mended in Python 3.12, python/cpython#96764); psycopg waits by it in every statement. A task
that loops then goes on, and who cancelled it once and awaits it hangs: a daemon that does not end on SIGTERM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from tocsin.model import Seconds

AGAIN: Final[Seconds] = 0.5
"""After this long without an end, a task is cancelled once more."""


async def end_tasks(*tasks: asyncio.Future[Any]) -> list[Exception]:
    """Cancel `tasks`, again where that was lost, until all have ended; the errors with which they did, in their order.

    An error counts as taken note of: asyncio does not log it any more. Where the caller itself is cancelled meanwhile,
    that is raised, as ever; each task has been cancelled once by then.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN)
    errors = [task.exception() for task in tasks if not task.cancelled()]
    return [error for error in errors if isinstance(error, Exception)]


async def within(seconds: Seconds, work: Awaitable[Any]) -> bool:
    """Wait for `work`, for so long at most; whether it ended by then. Raises what it raised.

    What takes longer is cancelled, and after AGAIN seconds more left behind, whatever it makes of that. Not so with
    `asyncio.timeout`, which waits for what swallows its cancellation.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.done():
        task.result()
        return True
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody asks any more
    await asyncio.wait({task}, timeout=AGAIN)
    return False
