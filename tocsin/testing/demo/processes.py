"""Children that announce themselves in one JSON line, and that end with us, however we end (leash.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tocsin.errors import TocsinError
from tocsin.tasks import end_tasks

_LEASH: Final = Path(__file__).with_name("leash.py")
_TAIL: Final = 15


class DemoError(TocsinError):
    """The demo can't go on; the message says what is missing or who ended, and what to do."""


class Child:
    """A process of the demo. Its standard error goes to a file, of which an error shows the end."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path, before: int) -> None:
        self.name = name
        self.log = log
        self._before = before
        """So many bytes of the log are of earlier runs in the same folder."""
        self.lines: deque[dict[str, Any]] = deque(maxlen=1000)
        """The JSON objects it printed on standard output, the newest last."""
        self._process = process
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read(), name=f"demo.{name}.stdout")

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, folder: Path, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start `command` in `folder` with `env` on top of our environment. Raises DemoError."""
        log = folder / f"{name}.log"
        leashed = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command]
        with log.open("ab") as sink:
            before = sink.tell()
            try:
                process = await asyncio.create_subprocess_exec(
                    *leashed,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=sink,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                    # Ctrl-C is ours to handle: we end the children, in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise DemoError(f"can't start {name}: {error}") from None
        return cls(name, process, log, before)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def said(self, deadline: float, **wanted: object) -> dict[str, Any]:
        """The first line on its standard output that holds `wanted`. Raises DemoError when it ends or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while True:
                    for line in self.lines:
                        if all(line.get(name) == value for name, value in wanted.items()):
                            return line
                    if self._reader.done():
                        break
                    self._changed.clear()
                    await self._changed.wait()
        raise DemoError(await self._complaint(deadline))

    def reload(self) -> None:
        """SIGHUP."""
        self._process.send_signal(signal.SIGHUP)

    async def logged(self, text: str, deadline: float) -> None:
        """Wait for `text` in its log. Raises DemoError when it ends or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while self.running:
                    if text in self._log_of_this_run():
                        return
                    await asyncio.sleep(0.05)
        raise DemoError(await self._complaint(deadline))

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        return await self._process.wait()

    async def _complaint(self, deadline: float) -> str:
        if self._reader.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._process.wait()
            what = f"{self.name} ended with code {self._process.returncode} before it was ready"
        else:
            what = f"{self.name} was not ready within {deadline:g} s"
        return f"{what}. Its last lines ({self.log}):\n{self.tail()}"

    def tail(self) -> str:
        """The end of its log."""
        try:
            lines = self._log_of_this_run().splitlines()
        except OSError as error:
            return f"  ({error})"
        return "\n".join(f"  {line}" for line in lines[-_TAIL:]) or "  (it wrote nothing)"

    def _log_of_this_run(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._before)
            return log.read().decode("utf-8", errors="replace")

    async def _read(self) -> None:
        """Take in what it prints, to the end: a pipe that nobody empties would stop it."""
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # a line longer than the stream's limit
            async for raw in self._process.stdout:
                with contextlib.suppress(ValueError):
                    line = json.loads(raw)
                    if isinstance(line, dict):
                        self.lines.append(line)
                        self._changed.set()
        self._changed.set()

    async def stop(self, grace: float = 8.0) -> None:
        """SIGTERM, and SIGKILL where that does not end it. Harmless when it has ended."""
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            if self.running:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._process.wait()
        await end_tasks(self._reader)
