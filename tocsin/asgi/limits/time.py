"""Time: an answer begins within `seconds`, or is given up with 504 and the work for it cancelled.

Once it has begun it may go on: a download, a stream of events. `whole` limits that as well; what is over then is broken
off, since a status can't be taken back. The work is cancelled as asyncio cancels: code that swallows CancelledError, or
blocks the loop, can't be stopped. WebSockets have no limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tocsin.asgi.call import CALL_KEY, App, Call, Message, Receive, Scope, Send, Site
from tocsin.asgi.measures import Measures, measures_of
from tocsin.asgi.problem import answer
from tocsin.model import Seconds


class Time:
    """ASGI middleware that waits no longer."""

    def __init__(
        self,
        app: App,
        seconds: Seconds = 30.0,
        *,
        whole: Seconds | None = None,
        seconds_for: Callable[[Scope], Seconds | None] = lambda scope: None,
        site: Site | None = None,
        measures: Measures | None = None,
    ) -> None:
        """`seconds_for` gives a request's own limit, None for `seconds`: a report may take longer."""
        if seconds <= 0 or (whole is not None and whole < seconds):
            raise ValueError("a time limit is above 0 s, and that of the whole answer not below that of its beginning")
        self._app = app
        self._seconds, self._whole, self._seconds_for = seconds, whole, seconds_for
        self._site = site or Site(app)
        self._hit = (measures or measures_of()).limited.labels("time").inc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        # What asyncio.timeout does, without its object: it would be a tenth of what all layers cost.
        limit = _Limit(loop, self._seconds_for(scope) or self._seconds)
        started = False

        async def starting(message: Message) -> None:
            nonlocal started
            if limit.expired:
                return  # it was given up, and is answered by us
            if not started:
                started = True
                limit.move(None if self._whole is None else began + self._whole)
            await send(message)

        try:
            await self._app(scope, receive, starting)
        except asyncio.CancelledError:
            if not limit.was_all():
                raise  # somebody else cancelled us
            self._hit()
            if started:
                raise TimeoutError("the answer took longer than it may") from None
            call: Call = scope.get(CALL_KEY) or self._site.call(scope)
            call.stopped_by = "time"
            await answer(call, send, 504)
        finally:
            limit.move(None)


class _Limit:
    """Cancels the running task at a time, and knows whether that is why it was cancelled."""

    __slots__ = ("_cancelling", "_handle", "_loop", "_task", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: Seconds) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self._loop, self._task, self._cancelling = loop, task, task.cancelling()
        self.expired = False
        self._handle: asyncio.TimerHandle | None = loop.call_later(seconds, self._expire)

    def move(self, when: float | None) -> None:
        """To another time of the loop, or to none."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._expire) if when is not None and not self.expired else None

    def was_all(self) -> bool:
        """True when nobody but us cancelled the task, which then goes on."""
        return self.expired and self._task.uncancel() <= self._cancelling

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()
