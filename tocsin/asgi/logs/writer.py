"""Log lines leave the event loop: a queue, and a thread that writes them in heaps.

A request hands over its line in a microsecond and waits for no disk. The queue is bounded: what comes when it is full
is lost and counted (`lost`), because a log must not take the application's memory. `close` writes what is left, for
`patience` at most. After a fork the child starts a thread of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TextIO

from tocsin.asgi.logs.files import Files
from tocsin.model import Seconds

MOST_WAITING: Final = 20_000
_HEAP: Final = 2000
_TIDY_EVERY: Final[Seconds] = 60.0
_GATHERED_FOR: Final[Seconds] = 0.1
"""A write for each line would wake the thread and take the interpreter from the event loop each time. It is also what
`kill -9` may cost."""


class Sink(Protocol):
    """Takes finished lines, without their line ends. Called from the event loop: it must not wait."""

    def put(self, line: bytes) -> bool:
        """False when the line is lost."""

    def close(self) -> None:
        """Nothing more will come."""


class StreamSink:
    """Lines to a stream, standard error by default; for containers, whose runtime keeps them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def put(self, line: bytes) -> bool:
        """Written at once."""
        try:
            stream = self._stream or sys.stderr
            stream.write(line.decode("utf-8", "replace") + "\n")
            stream.flush()
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        """The stream is not ours to close."""


class FileSink:
    """Lines to files that turn."""

    def __init__(self, files: Files, *, most: int = MOST_WAITING, patience: Seconds = 2.0) -> None:
        self._files = files
        self._most = most
        self._patience = patience
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self.lost = 0

    def put(self, line: bytes) -> bool:
        """Into the queue."""
        if self._thread is None or self._pid != os.getpid():
            self._start()
        if self._queue.qsize() >= self._most:
            self.lost += 1
            return False
        self._queue.put(line)
        return True

    def close(self) -> None:
        """Write what waits, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            self._closing.set()
            self._queue.put(None)
            thread.join(self._patience)

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._pid == os.getpid():
                return
            if self._pid and self._pid != os.getpid():
                self._queue = SimpleQueue()  # a fork: what waits in the queue is the parent's to write
            self._files = self._files.of_this_process()  # made before a fork, though perhaps not yet written to
            self._pid = os.getpid()
            self._closing = threading.Event()
            self._thread = threading.Thread(target=self._run, name="tocsin-log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        queue, files, closing = self._queue, self._files, self._closing
        tidied = 0.0
        going = True
        while going:
            if time.monotonic() - tidied >= _TIDY_EVERY or not tidied:
                files.tidy(time.time())
                tidied = time.monotonic()
            try:
                heap = [queue.get(timeout=_TIDY_EVERY)]
            except Empty:
                continue
            closing.wait(_GATHERED_FOR)
            while len(heap) < _HEAP and heap[-1] is not None:
                try:
                    heap.append(queue.get_nowait())
                except Empty:
                    break
            lines = [line for line in heap if line is not None]
            going = len(lines) == len(heap)
            if lines and not files.write(b"\n".join(lines) + b"\n", time.time()):
                self.lost += len(lines)
        files.close()
