"""What leaves the process for another service: spans, and in later modules what else does. None of it is waited for.

Each has a queue of its own that is bounded, and counts what became of each thing in
`tocsin_http_exports_total{signal,outcome}`. They end together: in two seconds at most, whatever is at the other end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tocsin.asgi.errors.report import Observer
from tocsin.asgi.measures import Measures
from tocsin.asgi.settings import Settings

if TYPE_CHECKING:
    from tocsin.asgi.database import Database
    from tocsin.asgi.traces.tracing import Tracing


@dataclass(frozen=True, kw_only=True)
class Exports:
    """Of one application; empty where nothing is configured."""

    tracing: Tracing | None = None

    @classmethod
    def of(cls, settings: Settings, measures: Measures) -> Exports:
        """What `settings` ask for. Nothing is loaded or begun yet."""
        tracing = None
        if settings.otlp_endpoint:
            from tocsin.asgi.traces.tracing import Tracing

            tracing = Tracing(
                settings.otlp_endpoint,
                headers=headers_of(settings),
                service=settings.service,
                share=settings.trace_share,
                outcome=lambda outcome, count: measures.exports.labels("traces", outcome).inc(count),
            )
        return cls(tracing=tracing)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """To be told of errors."""
        if self.tracing is None:
            return ()
        from tocsin.asgi.traces.layer import note_error

        return (note_error,)

    def watch(self, database: Database) -> None:
        """Spans of its statements and waits."""
        if self.tracing is not None:
            from tocsin.asgi.traces.sql import observe

            database.watch.observers = (*database.watch.observers, observe)

    def start(self) -> None:
        """Load what is needed: with the first request it would hold that up."""
        if self.tracing is not None:
            self.tracing.start()

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.gather(*(export.close() for export in (self.tracing,) if export is not None))


def headers_of(settings: Settings) -> dict[str, str]:
    """What is sent to the collector besides."""
    parts = (header.partition("=") for header in settings.otlp_headers)
    return {name.strip().lower(): value.strip() for name, _, value in parts}
