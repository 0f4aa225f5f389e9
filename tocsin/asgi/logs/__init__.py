"""The request log: a JSON line per request that is worth one, without who asked for what in clear.

    app = RequestLog(app, lines=Lines(FileSink(Files(Path("logs")))))

    {"event": "request.done", "method": "GET", "route": "/campaigns/{id}", "status": 200, "seconds": 0.0123,
     "bytes": 512, "request_id": …, "trace_id": …, "span_id": …, "user": (hashed), "kept": "share", "stands_for": 10}

The route is the template: paths and query strings hold ids and addresses, and are not written. Which lines are written:
see sampling. Where they go: files and writer (turned, compressed, deleted), or standard error. What a day of it costs:
`tocsin doctor logs FOLDER`. Lines of the application itself get the ids by `add_request`.

Over OTLP too: see otlp. A collector that reads the JSON files (its filelog receiver) also gets what was written while
it was dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any

from tocsin.asgi.arguments import app_of, has, wrong
from tocsin.asgi.call import CALL_KEY, CURRENT, App, Call, Receive, Scope, Send, Site
from tocsin.asgi.logs.lines import Lines, add_request
from tocsin.asgi.logs.sampling import Sampler, Sampling
from tocsin.asgi.measures import Measures, measures_of
from tocsin.model import Seconds

__all__ = ["Lines", "RequestLog", "Sampling", "add_request"]


class RequestLog:
    """ASGI middleware that writes."""

    def __init__(
        self,
        app: App,
        *,
        site: Site | None = None,
        measures: Measures | None = None,
        lines: Lines | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        if lines is not None:
            has("RequestLog(lines=…)", lines, ("request", "info"), "where lines go: Lines(sink)")
        if sampling is not None and not isinstance(sampling, Sampling):
            raise wrong("RequestLog(sampling=…)", "Sampling(share=…)", sampling)
        self._app = app_of("RequestLog(app)", app)
        self._site = site or Site(app)
        self._lines = lines or Lines()
        self._sampler = Sampler(sampling)
        self._every = (sampling or Sampling()).at_least_every
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        counter = (measures or measures_of()).log_lines
        self._kept, self._out = counter.labels("kept").inc, counter.labels("sampled_out").inc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        token = CURRENT.set(call)
        try:
            await self._app(scope, receive, call.track(send))
        finally:
            CURRENT.reset(token)
            self._note(call)

    def close(self) -> None:
        """Tell what was left out since the last lines, so that the counts are whole."""
        if self._timer is not None:
            self._timer.cancel()
        self._tell(self._sampler.leftovers())

    def _tell(self, leftovers: Iterable[tuple[str, int, str, int]]) -> None:
        for route, status, why, count in leftovers:
            were = {"were": why} if why else {}
            self._lines.info("request.left_out", route=route, status=status, stands_for=count, **were)

    def _left_out(self, now: Seconds) -> None:
        """A route that goes quiet is not waited for: its count would come hours late, as a peak that never was, and a
        kill would take it along."""
        if now < self._due:
            return
        with contextlib.suppress(RuntimeError):  # an event loop that is not asyncio's: at the end, then
            loop = asyncio.get_running_loop()
            self._due = now + self._every
            self._timer = loop.call_later(self._every, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self._tell(self._sampler.leftovers(now))
        if self._sampler.open:
            self._due = 0.0
            self._left_out(now)

    def _note(self, call: Call) -> None:
        route, took = call.route, call.seconds
        long = call.opened  # a WebSocket lasts as long as somebody looks: that is not slow
        now = time.monotonic()
        why, stands_for = self._sampler.verdict(call, route, 0.0 if long else took, now)
        if not why:
            self._out()
            self._left_out(now)
            return
        self._kept()
        fields: dict[str, Any] = {
            "method": call.method[:16],
            "route": route,
            "status": call.outcome,
            "seconds": round(took, 6),
            "bytes": call.size,
            "request_id": call.request_id,
            "trace_id": call.trace_id,
            "span_id": call.span_id,
            "user": call.user,
            "kept": why,
            "stands_for": stands_for,
        }
        if call.fate:
            fields["fate"] = call.fate
        if call.stopped_by:
            fields["stopped_by"] = call.stopped_by
            if call.refusal:
                fields["refusal"] = call.refusal
        if call.failed is not None:
            fields.update(call.failed)
        self._lines.request(fields)
