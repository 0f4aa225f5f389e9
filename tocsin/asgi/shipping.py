"""Things on their way to another service, without anybody's waiting for it: a bounded queue, and a thread that sends.

    shipper = Shipper(send, name="sentry", outcome=count, most=100)
    shipper.put(thing)            # a microsecond; False when it is lost
    await shipper.close()         # sends what waits, for two seconds at most

Nothing is sent twice: what could not be delivered is lost and counted. Who is told to wait (`Sent.rest`) drops what
comes until then, as that service would. At most `most` things wait or are under way. A fork begins its own thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener
from weakref import WeakMethod

from tocsin.asgi.traces.tracing import joined
from tocsin.model import Seconds

Outcome = Callable[[str, int], None]
"""Told of what became of how many: sent, full, failed, limited, left."""
TIMEOUT: Seconds = 5.0
MOST_REST: Final[Seconds] = 3600.0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of a batch."""

    ok: bool
    limited: bool = False
    rest: Seconds = 0.0
    """Nothing may be sent for so long."""


class Shipper:
    """One queue and its thread, which begins with the first thing."""

    def __init__(
        self,
        send: Callable[[list[Any]], Sent],
        *,
        name: str,
        outcome: Outcome,
        most: int,
        batch: int = 1,
        every: Seconds = 0.0,
        patience: Seconds = 2.0,
    ) -> None:
        """`send` is called in the thread with up to `batch` things that came within `every` seconds; what it raises is
        a failure."""
        self._send, self._name, self._outcome = send, name, outcome
        self._most, self._batch, self._every, self._patience = most, batch, every, patience
        self._lock = threading.Lock()
        self._begin(pid=0)
        # A fork copies the lock as it is: held by a thread that the child has not, it would hold a request for ever.
        unlocked = WeakMethod(self._unlocked)
        os.register_at_fork(after_in_child=lambda: _call(unlocked()))

    def has_room(self) -> bool:
        """False counts a loss: for what is dear to make."""
        lost = self._why_not()
        if lost:
            self._outcome(lost, 1)
        return not lost

    def put(self, thing: Any) -> bool:
        """Hand over; False when it is lost."""
        if self._pid != os.getpid():
            self._start()
        with self._lock:
            lost = self._why_not()
            self._waiting += not lost
        if lost:
            self._outcome(lost, 1)
            return False
        self._queue.put(thing)
        return True

    async def close(self) -> None:
        """Send what waits, for `patience` at most; what is left then is lost. The event loop goes on."""
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            self._closing.set()
            self._queue.put(None)
            await joined(thread, self._patience)
        with self._lock:
            self._given_up, left = True, self._waiting
        if left:
            self._outcome("left", left)

    def _unlocked(self) -> None:
        self._lock = threading.Lock()

    def _begin(self, pid: int) -> None:
        self._pid = pid
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._waiting = 0
        self._rest_until = 0.0
        self._given_up = False

    def _start(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._begin(pid=os.getpid())
            self._thread = threading.Thread(target=self._run, name=f"tocsin-{self._name}", daemon=True)
            self._thread.start()

    def _why_not(self) -> str:
        if self._given_up:
            return "left"
        if time.monotonic() < self._rest_until:
            return "limited"
        return "full" if self._waiting >= self._most else ""

    def _run(self) -> None:
        queue, closing = self._queue, self._closing
        going = True
        while going:
            heap = [queue.get()]
            if self._every:
                closing.wait(self._every)
            while len(heap) < self._batch and heap[-1] is not None:
                try:
                    heap.append(queue.get_nowait())
                except Empty:
                    break
            things = [thing for thing in heap if thing is not None]
            going = len(things) == len(heap)
            if things:
                self._settle(len(things), self._try(things))

    def _try(self, things: list[Any]) -> Sent:
        if time.monotonic() < self._rest_until:
            return Sent(ok=False, limited=True)
        try:
            return self._send(things)
        except Exception:  # noqa: BLE001 (whatever it is: without the thread all that comes later would be lost)
            return Sent(ok=False)

    def _settle(self, count: int, sent: Sent) -> None:
        with self._lock:
            if self._given_up:
                return
            self._waiting -= count
            if sent.rest:
                self._rest_until = time.monotonic() + min(sent.rest, MOST_REST)
        self._outcome("sent" if sent.ok else "limited" if sent.limited else "failed", count)


def _call(method: Callable[[], None] | None) -> None:
    if method is not None:
        method()


class _Stay(HTTPRedirectHandler):
    """What is redirected would become a GET, or take its credentials elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER: Final = build_opener(_Stay)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
    """(status, headers with lower-case names) of the answer. Raises OSError or HTTPException where there is none."""
    request = Request(url, data=body, headers=dict(headers), method="POST")  # noqa: S310 (settings check the scheme)
    try:
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}
    except HTTPError as refused:
        with refused:
            return refused.code, {name.lower(): value for name, value in refused.headers.items()}


def seconds_of(text: str | None, otherwise: Seconds) -> Seconds:
    """A Retry-After in seconds; `otherwise` for none and for what is no number."""
    try:
        return max(float(text), 0.0) if text is not None else otherwise
    except ValueError:
        return otherwise
