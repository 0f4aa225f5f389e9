"""Errors that nobody waits for: of a task that a handler started and forgot, of a callback, of a future.

asyncio tells of them to the event loop's exception handler, when it lets go of the task: at once for one that nothing
refers to, as late as that for one that is kept in a list. We stand in front of the handler that is there, and pass on
to it. Where there is none, the loop's own line is not written for what is in our log already.

The request that a task was started in is in its context, which asyncio copies. What no request started is told where a
frame of the application took part: a connection that breaks inside of the server is the server's matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final
from weakref import WeakSet

from tocsin.asgi.call import CURRENT, Call, Site
from tocsin.asgi.errors.answer import AnswerBroken
from tocsin.asgi.errors.category import is_ending, is_gone, leaf_of
from tocsin.asgi.errors.told import OUTSIDE_CALL
from tocsin.asgi.routes import ROUTE_KEY

OUTSIDE: Final = "outside"
"""The route of what no request asked for, as of its statements."""
Tell = Callable[[Call, BaseException], None]
Handler = Callable[[AbstractEventLoop, dict[str, Any]], object]
_watching: WeakSet[Strays] = WeakSet()


class Strays:
    """Watches the event loop that an application runs in."""

    def __init__(self, site: Site, tell: Tell, is_own: Callable[[BaseException], bool]) -> None:
        """`tell` is called in the context of the task, also of what it knows; `is_own`: a frame of the application took
        part."""
        self.site = site
        self.begun = False
        self._tell, self._is_own = tell, is_own
        self._handler: _Handler | None = None

    def begin(self) -> None:
        """Watch the running loop; again is nothing. A loop that is not asyncio's tells of no task."""
        self.begun = True
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            if self._handler is None or self._handler.loop is not loop:
                self.end()
                self.begun = True
                self._handler = _Handler(self, loop)
                _watching.add(self)

    def end(self) -> None:
        """Give the loop back the handler that was there."""
        self.begun = False
        _watching.discard(self)
        if self._handler is not None:
            self._handler.end()
            self._handler = None

    def told(self, context: dict[str, Any]) -> bool:
        """True when what the loop tells of is in the log: told now, or before."""
        error = context.get("exception")
        if not isinstance(error, BaseException) or "protocol" in context or "transport" in context:
            return False
        error = leaf_of(error)
        if is_ending(error) or is_gone(error) or isinstance(error, AnswerBroken):
            return False
        within = _context_of(context)
        call = within.get(CURRENT)
        if call is None:
            if not self._is_own(error):
                return False
            call = _Outside(self.site)
            within.run(call.note_span)
        elif call.site is not self.site and any(call.site is other.site for other in _watching):
            return False  # another application's in the same loop
        # There, as lines take what is bound: here may be in the midst of another request.
        within.run(self._tell, call, error)
        return True


class _Handler:
    """The loop's exception handler; once ended it passes on, should somebody have put theirs in front."""

    __slots__ = ("_before", "_ended", "_strays", "loop")

    def __init__(self, strays: Strays, loop: AbstractEventLoop) -> None:
        self._strays, self.loop, self._ended = strays, loop, False
        self._before: Handler | None = loop.get_exception_handler()
        loop.set_exception_handler(self)

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        told = False
        try:
            told = not self._ended and self._strays.told(context)
        finally:
            if self._before is not None:
                self._before(loop, context)
            elif not told:
                loop.default_exception_handler(context)

    def end(self) -> None:
        self._ended = True
        if self.loop.get_exception_handler() is self:
            self.loop.set_exception_handler(self._before)


class _Outside(Call):
    """What no request asked for."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, {"type": "task", "method": "TASK", "path": "", "headers": [], ROUTE_KEY: OUTSIDE})

    @property
    def request_id(self) -> str:
        """None."""
        return ""

    @property
    def number(self) -> int:
        """The same for all of it."""
        return OUTSIDE_CALL


def _context_of(context: dict[str, Any]) -> Context:
    """A copy of the context of what the loop tells of, as the thing itself may be running; else an empty one."""
    handle = context.get("handle")
    if handle is not None:
        found = getattr(handle, "_context", None)
    else:
        task = context.get("task") or context.get("future")
        get = getattr(task, "get_context", None)  # Python 3.12
        # Before that a task shows its context to nobody but the garbage collector.
        found = get() if get is not None else next((one for one in _held_by(task) if isinstance(one, Context)), None)
    return found.copy() if isinstance(found, Context) else Context()


def _held_by(task: Any) -> list[Any]:
    return gc.get_referents(task) if isinstance(task, asyncio.Task) else []
