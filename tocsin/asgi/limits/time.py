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
        limit = asyncio.timeout(self._seconds_for(scope) or self._seconds)
        started = False

        async def starting(message: Message) -> None:
            nonlocal started
            if limit.expired():
                return  # it was given up, and is answered by us
            if not started:
                started = True
                limit.reschedule(None if self._whole is None else began + self._whole)
            await send(message)

        try:
            async with limit:
                await self._app(scope, receive, starting)
        except TimeoutError:
            if not limit.expired():
                raise  # the application's own
            self._hit()
            if started:
                raise
            call: Call = scope.get(CALL_KEY) or self._site.call(scope)
            call.stopped_by = "time"
            await answer(call, send, 504)
