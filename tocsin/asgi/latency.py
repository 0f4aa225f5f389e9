"""Latency: how long requests take, how many there are, and how many are under way; by route template.

    app = Latency(app)

A request ends with the last byte of its answer: what a background task does afterwards is not waited for by anybody.
One that ends without an answer counts as status 499 when the client went away, 500 otherwise. WebSockets last
as long as somebody looks: of them it is counted how many are open, from being accepted to the application's end.

An exemplar (the trace id) is left at most once in `exemplar_every` per series: a histogram keeps one per bucket, and
writing it costs as much as all the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tocsin.asgi.arguments import app_of, number
from tocsin.asgi.call import CALL_KEY, App, Call, Receive, Scope, Send, Site
from tocsin.asgi.measures import Measures, measures_of, method_label, status_label
from tocsin.model import Seconds

if TYPE_CHECKING:
    from prometheus_client import Gauge


class _Series:
    """The children of one method and route: `labels()` costs more than counting does."""

    __slots__ = ("counts", "exemplar_at", "observe")

    def __init__(self, observe: Callable[..., None]) -> None:
        self.observe = observe
        self.counts: dict[int, Callable[[], None]] = {}
        self.exemplar_at = 0.0


class Latency:
    """ASGI middleware that measures."""

    def __init__(
        self, app: App, *, site: Site | None = None, measures: Measures | None = None, exemplar_every: Seconds = 1.0
    ) -> None:
        number("Latency(exemplar_every=…)", exemplar_every, least=0)
        self._app = app_of("Latency(app)", app)
        self._site = site or Site(app)
        self._measures = measures or measures_of()
        self._under_way = self._measures.under_way()
        self._exemplar_every = exemplar_every
        self._series: dict[tuple[str, str], _Series] = {}  # bounded as the labels are

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await (self._socket if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        self._under_way.inc()
        try:
            await self._app(scope, receive, call.track(send))
        finally:
            self._under_way.dec()
            self._count(call)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        counted: list[Gauge] = []

        def opened() -> None:
            # Whoever accepts it has been routed to; what it is called must be the same at its end.
            counted.append(self._measures.sockets.labels(call.route))
            counted[0].inc()

        call.when_opened = opened
        try:
            await self._app(scope, receive, call.track(send))
        finally:
            call.when_opened = None
            for gauge in counted:
                gauge.dec()

    def _count(self, call: Call) -> None:
        ended = call.ended or time.perf_counter()
        method, route = method_label(call.scope["method"]), call.route
        status = call.outcome if call.fate or not call.status else call.status
        series = self._series.get((method, route))
        if series is None:
            series = self._series[method, route] = _Series(self._measures.seconds.labels(method, route).observe)
        if ended - series.exemplar_at >= self._exemplar_every and call.trace_id:
            series.exemplar_at = ended
            series.observe(ended - call.began, {"trace_id": call.trace_id, "span_id": call.span_id})
        else:
            series.observe(ended - call.began)
        count = series.counts.get(status)
        if count is None:
            count = self._measures.requests.labels(method, route, status_label(status)).inc
            if 100 <= status <= 599:
                series.counts[status] = count
        count()
