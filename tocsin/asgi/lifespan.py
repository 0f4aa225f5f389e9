"""The lifespan protocol around an application that may not speak it.

Ours starts first and ends last, so that the application's own start may already log and measure. An application that
raises at the lifespan scope before it says anything has none (Django, small ASGI functions): servers take that so too,
and tell of it, as it may be a start that went wrong.
https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from tocsin.asgi.call import App, Message, Receive, Scope, Send
from tocsin.model import Seconds
from tocsin.tasks import end_tasks, within

LEFT_AFTER: Final[Seconds] = 5.0
"""What has not ended then, when the server does, is left behind: the server would wait for it without end."""


class Starts(Protocol):
    """What runs around."""

    async def start(self) -> None:
        """Before the application starts."""

    async def close(self) -> None:
        """After it has stopped."""


async def run_lifespan(
    app: App, ours: Starts, scope: Scope, receive: Receive, send: Send, *, has_none: Callable[[BaseException], None]
) -> None:
    """Serve one lifespan. `has_none` is told what an application without one raised."""
    await receive()  # lifespan.startup
    try:
        await ours.start()
    except Exception as error:  # noqa: BLE001 (whatever it is: the server must not take requests)
        await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
        await _closed(ours)
        return
    inner = _Inner(app, scope, has_none)
    try:
        failed = await inner.start()
        if failed is not None:
            await send(failed)
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        failed = await inner.stop()
    finally:
        await inner.cancel()
        ours_failed = await _closed(ours)
    await send(failed or ours_failed or {"type": "lifespan.shutdown.complete"})


async def _closed(ours: Starts) -> Message | None:
    """None when all ended well."""
    try:
        await ours.close()
    except Exception as error:  # noqa: BLE001 (the server is to say it, whatever it is)
        return {"type": "lifespan.shutdown.failed", "message": f"{type(error).__name__}: {error}"}
    return None


class _Inner:
    """The application's side, in a task of its own."""

    def __init__(self, app: App, scope: Scope, has_none: Callable[[BaseException], None]) -> None:
        self._has_none = has_none
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self._spoke = False
        self._task = asyncio.ensure_future(self._run(app, scope))

    async def start(self) -> Message | None:
        """None when it has started or has no lifespan; what it said when it failed."""
        return await self._ask("lifespan.startup")

    async def stop(self) -> Message | None:
        """None when it has stopped; what it said when that failed."""
        return None if self._task.done() else await self._ask("lifespan.shutdown")

    async def cancel(self) -> None:
        """Leave no task behind that can be ended."""
        await within(LEFT_AFTER, end_tasks(self._task))

    async def _ask(self, what: str) -> Message | None:
        self._incoming.put_nowait({"type": what})
        said = asyncio.ensure_future(self._outgoing.get())
        await asyncio.wait({said, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not said.done():
            said.cancel()
            if self._task.cancelled() or (error := self._task.exception()) is None:
                return None
            if not self._spoke:
                self._has_none(error)
                return None
            return {"type": f"{what}.failed", "message": f"{type(error).__name__}: {error}"}
        message = said.result()
        return message if message["type"].endswith(".failed") else None

    async def _run(self, app: App, scope: Scope) -> None:
        async def send(message: Message) -> None:
            self._spoke = True
            self._outgoing.put_nowait(message)

        await app(scope, self._incoming.get, send)
