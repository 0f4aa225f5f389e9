"""What leaves the process for another service: spans, log lines, series, errors. Nobody waits for any of it.

Each has a queue of its own that is bounded, and counts what became of each thing in
`tocsin_http_exports_total{signal,outcome}`. They end together: in two seconds at most, whatever is at the other end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tocsin.asgi.errors.fingerprint import InApp
from tocsin.asgi.errors.report import Observer
from tocsin.asgi.logs.writer import Sink
from tocsin.asgi.measures import Measures
from tocsin.asgi.settings import Settings
from tocsin.errors import InputError

if TYPE_CHECKING:
    from tocsin.asgi.database import Database
    from tocsin.asgi.errors.sentry import Forwarder
    from tocsin.asgi.logs.otlp import OtlpSink
    from tocsin.asgi.series.sending import SeriesExport
    from tocsin.asgi.traces.tracing import Tracing

Outcome = Callable[[str, int], None]


class Exports:
    """Of one application; empty where nothing is configured. Nothing is loaded or begun before it must be."""

    def __init__(self, settings: Settings, measures: Measures, environment: Mapping[str, str]) -> None:
        """Raises InputError for a DSN that is none."""
        self._settings, self._measures = settings, measures
        self._sink: OtlpSink | None = None
        self._begun = False
        self.tracing = self._tracing() if settings.otlp_endpoint else None
        self._series = self._series_export() if settings.otlp_metrics else None
        self._sentry = self._forwarder(environment)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """To be told of errors."""
        observers: list[Observer] = []
        if self.tracing is not None:
            from tocsin.asgi.traces.layer import note_error

            observers.append(note_error)
        return tuple(observers) if self._sentry is None else (*observers, self._sentry)

    def beside(self, sink: Sink) -> Sink:
        """`sink`, sending its lines too where they are to be sent."""
        settings = self._settings
        if not settings.otlp_logs:
            return sink
        from tocsin.asgi.logs.otlp import OtlpSink

        self._sink = OtlpSink(
            sink, settings.otlp_endpoint, outcome=self._counting("logs"), headers=headers_of(settings),
            service=settings.service,
        )  # fmt: skip
        return self._sink

    def watch(self, database: Database) -> None:
        """Spans of its statements and waits."""
        if self.tracing is not None:
            from tocsin.asgi.traces.sql import observe

            database.watch.observers = (*database.watch.observers, observe)

    def start(self) -> None:
        """Load what is needed: with the first request it would hold that up. Once."""
        if self._begun:
            return
        self._begun = True
        if self.tracing is not None:
            self.tracing.start()
        if self._series is not None:
            self._series.start()

    async def close(self) -> None:
        """Send what is left, all at once."""
        ends = [self.tracing.close()] if self.tracing is not None else []
        ends += [self._sentry.close()] if self._sentry is not None else []
        ends += [self._sink.ship()] if self._sink is not None else []
        ends += [self._series.close()] if self._series is not None else []
        await asyncio.gather(*ends)

    def _tracing(self) -> Tracing:
        from tocsin.asgi.traces.tracing import Tracing

        settings = self._settings
        return Tracing(
            settings.otlp_endpoint, headers=headers_of(settings), service=settings.service,
            share=settings.trace_share, outcome=self._counting("traces"), baggage=settings.baggage,
        )  # fmt: skip

    def _series_export(self) -> SeriesExport:
        from tocsin.asgi.series.sending import SeriesExport

        settings = self._settings
        return SeriesExport(
            self._measures.registry, settings.otlp_endpoint, headers=headers_of(settings), service=settings.service,
            outcome=self._counting("metrics"),
        )  # fmt: skip

    def _forwarder(self, environment: Mapping[str, str]) -> Forwarder | None:
        given = self._settings.sentry_dsn
        text = given or environment.get("SENTRY_DSN", "")
        if not text:
            return None
        from tocsin.asgi.errors.sentry import Dsn, Forwarder

        try:
            dsn = Dsn.of(text)
        except ValueError as error:
            name = "TOCSIN_APP_SENTRY_DSN" if given else "SENTRY_DSN"
            raise InputError.at(
                "settings", 0, f"{name}: {error}", f"copy it from the project's settings, or unset {name}"
            ) from None
        return Forwarder(
            dsn, outcome=self._counting("sentry"), environment=environment.get("SENTRY_ENVIRONMENT", ""),
            release=environment.get("SENTRY_RELEASE", ""), service=self._settings.service, yields=not given,
            in_app=InApp(self._settings.in_app),
        )  # fmt: skip

    def _counting(self, signal: str) -> Outcome:
        counter = self._measures.exports
        return lambda outcome, count: counter.labels(signal, outcome).inc(count)


def headers_of(settings: Settings) -> dict[str, str]:
    """What is sent to the collector besides."""
    parts = (header.partition("=") for header in settings.otlp_headers)
    return {name.strip().lower(): value.strip() for name, _, value in parts}
