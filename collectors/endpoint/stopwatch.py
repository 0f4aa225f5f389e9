"""How long each phase of a probe took.

aiohttp's tracing tells lookup, connection and headers apart, but not the TLS handshake from the TCP connection before
it. The handshake begins when asyncio asks the SSLContext for a TLS object, so our context notes that moment.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from tocsin.model import Seconds


@dataclass(slots=True)
class Stopwatch:
    """The phases of one probe as they complete."""

    phases: dict[str, Seconds] = field(default_factory=dict)
    began: dict[str, Seconds] = field(default_factory=dict)
    handshakes: list[ssl.SSLObject] = field(default_factory=list)

    def begin(self, phase: str) -> None:
        self.began[phase] = perf_counter()

    def end(self, phase: str) -> None:
        if (began := self.began.pop(phase, None)) is not None:
            self.phases[phase] = self.phases.get(phase, 0.0) + perf_counter() - began


running: ContextVar[Stopwatch | None] = ContextVar("endpoint_stopwatch", default=None)
"""The stopwatch of the probe that this task makes."""


class TimedContext(ssl.SSLContext):
    """Tells the running stopwatch when a handshake begins, and keeps its connection for the certificate."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        connection = super().wrap_bio(*args, **kwargs)
        if (watch := running.get()) is not None:
            watch.end("connect")
            watch.begin("tls")
            watch.handshakes.append(connection)
        return connection
