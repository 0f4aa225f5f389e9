"""The end of the process: SIGTERM and SIGINT begin it, and nothing holds it up for ever.

    leaving = Leaving()
    leaving.listen(stop.set)                  # on the loop, in the main thread
    await leaving.part("drain", 26, drain())  # what takes longer is told, and left behind
    leaving.done()                            # all is stored and closed: what is still there has nothing to keep

Two bounds. A part of the end that hangs (a plug-in's close(), a store that says nothing) is left behind after its time,
so that those after it have their turn. And a thread counts LIMIT seconds from the signal to the end of the process: a
loop that stands still, a task that swallows its cancellation, a thread in a name server's or a file system's hands,
which Python would wait for without end, are told by name and place (`daemon.held_up`), and the process ends. So it does
at once when it is told a second time.

Alerts need no more: what is to be said is rows, written before it is said (state/outbox.py). A `kill -9` loses none.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final

from tocsin.model import Seconds
from tocsin.tasks import within
from tocsin.telemetry.logs import logger

LIMIT: Final[Seconds] = 37.0
"""From the signal to the end of the process; what starts us waits 40 s before it kills (deploy/tocsin.service)."""
AFTERWARDS: Final[Seconds] = 3.0
"""For tasks and threads that are still there when all is stored and closed."""
SAME: Final[Seconds] = 1.0
"""Signals within this long are one: Ctrl-C reaches the process and whoever started it, who passes it on."""
TELLING: Final[Seconds] = 2.0
"""For the last line of the log: who reads it may be what hangs."""
FAILED: Final = 1
HELD_UP: Final = 3
"""Exit code of an end that left something behind, or was cut short by a second signal."""
_SHOWN: Final = 20
_FRAMES: Final = 6


class Leaving:
    """One for the process."""

    def __init__(self, *, limit: Seconds = LIMIT, afterwards: Seconds = AFTERWARDS) -> None:
        self.code = 0
        """What the process is to end with."""
        self._limit = limit
        self._afterwards = afterwards
        # Written to by a signal's handler, which may come between any two lines of any other code: no lock will do.
        self._news: SimpleQueue[str] = SimpleQueue()

    def listen(self, told: Callable[[], None]) -> None:
        """Call `told` on the running loop at the first signal. In the main thread."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._watch, args=(loop, told), name="leaving", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Not the loop's own handlers: they wait for a loop that stands still.
            signal.signal(number, self._heard)
            signal.siginterrupt(number, False)

    def begin(self) -> None:
        """The end begins without a signal."""
        self._news.put("begin")

    def done(self) -> None:
        """All is stored and closed."""
        self._news.put("done")

    async def part(self, what: str, seconds: Seconds, work: Awaitable[Any]) -> None:
        """Do it, for so long at most. Whatever becomes of it, the next part has its turn; `code` and the log tell."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task}, timeout=seconds)
        where = stands(task)
        try:
            if await within(0.0, task):
                return
        except Exception:  # noqa: BLE001 (whatever it is, the others have something to keep)
            logger().exception("daemon.end_failed", part=what)
            self.code = self.code or FAILED
        else:
            self.code = HELD_UP
            logger().error("daemon.left_behind", part=what, seconds=seconds, stands=where)

    def _heard(self, number: int, _: FrameType | None) -> None:
        self._news.put(signal.Signals(number).name)

    def _watch(self, loop: asyncio.AbstractEventLoop, told: Callable[[], None]) -> None:
        first: Seconds | None = None
        ends: Seconds | None = None
        while True:
            try:
                news = self._news.get(timeout=None if ends is None else max(0.0, ends - time.monotonic()))
            except Empty:
                self._leave(loop, "it has not ended in time")
                return
            now = time.monotonic()
            ends = now + self._limit if ends is None else ends
            if news == "done":
                ends = min(ends, now + self._afterwards)
            elif news != "begin" and first is None:
                first = now
                with suppress(RuntimeError):  # the loop has ended, by itself
                    loop.call_soon_threadsafe(told)
            elif first is not None and now - first > SAME:
                self._leave(loop, f"told a second time: {news}")
                return

    def _leave(self, loop: asyncio.AbstractEventLoop, why: str) -> None:
        try:
            # In a thread of its own: whatever the log waits for may be what hangs.
            teller = threading.Thread(target=_tell, args=(loop, why), name="leaving-tells", daemon=True)
            teller.start()
            teller.join(TELLING)
        finally:
            os._exit(HELD_UP)


def _tell(loop: asyncio.AbstractEventLoop, why: str) -> None:
    tasks = [] if loop.is_closed() else [f"{task.get_name()}: {stands(task)}" for task in asyncio.all_tasks(loop)]
    logger().error("daemon.held_up", why=why, tasks=sorted(tasks)[:_SHOWN], threads=held_threads()[:_SHOWN])


def stands(task: asyncio.Future[Any]) -> str:
    """Where a task waits: FILE:LINE of each coroutine, the innermost last."""
    places = list(_places(task.get_coro())) if isinstance(task, asyncio.Task) else []
    return " > ".join(places[-_FRAMES:])


def _places(awaits: object) -> Iterator[str]:
    while awaits is not None:
        frame = getattr(awaits, "cr_frame", None) or getattr(awaits, "gi_frame", None)
        if frame is not None:
            yield _place(frame)
        awaits = getattr(awaits, "cr_await", None) or getattr(awaits, "gi_yieldfrom", None)


def held_threads() -> list[str]:
    """The threads that Python waits for before it ends, and where each stands; those in a pool that idle apart."""
    frames = sys._current_frames()
    found = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread.daemon or frame is None or _idles(frame):
            continue
        places: list[str] = []
        while frame is not None and len(places) < _FRAMES:
            places.insert(0, _place(frame))
            frame = frame.f_back
        found.append(f"{thread.name}: {' > '.join(places)}")
    return found


def _idles(frame: FrameType) -> bool:
    return frame.f_code.co_name == "_worker" and Path(frame.f_code.co_filename).parts[-2:] == ("futures", "thread.py")


def _place(frame: FrameType) -> str:
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno} {frame.f_code.co_name}"
