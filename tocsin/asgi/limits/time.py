"""Time: an answer begins within `seconds`, or is given up with 504 and the work for it cancelled.

Once it has begun it may go on: a download, a stream of events. `whole` limits that as well; what is over then is broken
off, since a status can't be taken back. The work is cancelled as asyncio cancels: code that swallows CancelledError, or
blocks the loop, can't be stopped. A WebSocket has to be accepted or
refused in that time, and then lasts as long as somebody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import takewhile

from tocsin.asgi.arguments import app_of, function, number
from tocsin.asgi.call import CALL_KEY, App, Call, Receive, Scope, Send, Site
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
        number("Time(seconds=…)", seconds, least=0, above=True)
        if whole is not None:
            number("Time(whole=…)", whole, least=seconds)
        function("Time(seconds_for=…)", seconds_for, "of the scope")
        self._app = app_of("Time(app)", app)
        self._seconds, self._whole, self._seconds_for = seconds, whole, seconds_for
        self._queue = _Queue(seconds)
        self._site = site or Site(app)
        self._hit = (measures or measures_of()).limited.labels("time").inc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        limit = _Limit(call, self._whole if scope["type"] == "http" else None)
        own = self._seconds_for(scope)
        if own is None or own == self._seconds:
            self._queue.enter(limit)
        else:
            limit.later(own)
        try:
            await self._app(scope, receive, call.track(send))
        except asyncio.CancelledError:
            if not limit.was_all():
                raise  # somebody else cancelled us
            self._hit()
            if call.status:
                raise TimeoutError("the answer took longer than it may") from None
            call.stopped_by = "time"
            await answer(call, send, 504)
        finally:
            self._queue.leave(limit)


class _Limit:
    """Cancels the task that made it, and knows whether that is why it was cancelled."""

    __slots__ = ("_call", "_cancelling", "_handle", "_task", "_whole_until", "expired", "until")

    def __init__(self, call: Call, whole: Seconds | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._call = call
        self._whole_until = None if whole is None else time.perf_counter() + whole
        self._task, self._cancelling = task, task.cancelling()
        self._handle: asyncio.TimerHandle | None = None
        self.until = 0.0
        self.expired = False

    def later(self, seconds: Seconds) -> None:
        """Expire in `seconds`, by a timer of its own."""
        self._handle = asyncio.get_running_loop().call_later(seconds, self.expire)

    def end(self) -> None:
        """No longer wanted."""
        if self._handle is not None:
            self._handle.cancel()

    def was_all(self) -> bool:
        """True when nobody but us cancelled the task, which then goes on."""
        return self.expired and self._task.uncancel() <= self._cancelling

    def expire(self) -> None:
        """The time is over: give up what has not begun, and what takes longer than the whole may."""
        if self._call.status:  # it has begun
            if self._whole_until is None:
                return
            left = self._whole_until - time.perf_counter()
            if left > 0:
                self.later(left)
                return
        self.expired = True
        self._task.cancel()


class _Queue:
    """Limits of equal length, which end in the order in which they began: one timer serves them all.

    A timer for each request, made and cancelled, would be a tenth of what all layers cost."""

    __slots__ = ("_loop", "_seconds", "_timer", "_waiting")

    def __init__(self, seconds: Seconds) -> None:
        self._seconds = seconds
        self._waiting: dict[_Limit, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, limit: _Limit) -> None:
        """`limit` expires after our seconds unless it leaves before."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # an application that is served by another loop than before
            self._loop, self._timer = loop, None
            self._waiting.clear()
        limit.until = loop.time() + self._seconds
        self._waiting[limit] = None
        if self._timer is None:
            self._timer = loop.call_at(limit.until, self._look)

    def leave(self, limit: _Limit) -> None:
        """It ended in time, or not."""
        self._waiting.pop(limit, None)
        limit.end()

    def _look(self) -> None:
        assert self._loop is not None
        self._timer = None
        # A timer may come a clock's tick early.
        now = self._loop.time() + 0.001
        for limit in list(takewhile(lambda one: one.until <= now, self._waiting)):
            del self._waiting[limit]
            limit.expire()
        first = next(iter(self._waiting), None)
        if first is not None:
            self._timer = self._loop.call_at(first.until, self._look)
