"""A thread that watches the event loop: nothing on the loop itself can tell that it stands still.

The loop says each second that it is there. When it has not for STALLED seconds, the thread logs where the main thread
is (`loop.stalled`, with its stack) and counts; again after twice that time, and so on. When the thread itself did not
run either, the whole process was stopped (SIGSTOP, a suspended machine), which is logged as such.

Under systemd it also passes the sign of life on (sd_notify, WatchdogSec): a loop that stands still for good is ended
and started again by systemd. Protocol: sd_notify(3), datagrams to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from tocsin.model import Seconds
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

BEAT: Final[Seconds] = 1.0
STALLED: Final[Seconds] = 5.0
FRAMES: Final = 25
"""Of the stack, the innermost."""


class LoopWatchdog:
    """Start it on the loop that it watches."""

    def __init__(
        self, telemetry: Telemetry, *, environ: Mapping[str, str], stalled: Seconds = STALLED, beat: Seconds = BEAT
    ) -> None:
        self._telemetry = telemetry
        self._stalled = stalled
        self._every = beat
        self._beat = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched = threading.get_ident()
        self._systemd = Systemd(environ.get("NOTIFY_SOCKET", ""))

    def start(self) -> None:
        """Begin to watch, and tell systemd that the daemon is ready."""
        self._watched = threading.get_ident()
        self._say_so()
        self._thread = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)
        self._thread.start()
        self._systemd.say("READY=1")

    def stop(self) -> None:
        """The daemon ends."""
        self._systemd.say("STOPPING=1")
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()
        self._systemd.close()

    def _say_so(self) -> None:
        self._beat = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._every, self._say_so)

    def _watch(self) -> None:
        looked, told = time.monotonic(), self._stalled
        while not self._ended.wait(self._every):
            now = time.monotonic()
            if now - looked > self._every + self._stalled:
                self._paused(now - looked)
                self._beat = now  # the loop has not had its turn yet
            looked = now
            behind = now - self._beat
            if behind < self._stalled:
                if told > self._stalled:
                    logger().info("loop.goes_on")
                told = self._stalled
                self._systemd.say("WATCHDOG=1")
            elif behind >= told:
                self._tell(behind, first=told == self._stalled)
                told *= 2

    def _tell(self, behind: Seconds, *, first: bool) -> None:
        if first:
            self._telemetry.stalls.labels("blocked").inc()
        frame = sys._current_frames().get(self._watched)
        stack = "".join(traceback.format_stack(frame)[-FRAMES:]) if frame is not None else ""
        logger().error("loop.stalled", seconds=round(behind, 1), stack=stack)

    def _paused(self, seconds: Seconds) -> None:
        self._telemetry.stalls.labels("paused").inc()
        logger().warning("process.was_stopped", seconds=round(seconds, 1))


class Systemd:
    """sd_notify; does nothing where systemd did not start us."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    def say(self, state: str) -> None:
        """`READY=1` and the like; a manager that does not listen is no reason to fail."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto(state.encode(), self._address)

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
