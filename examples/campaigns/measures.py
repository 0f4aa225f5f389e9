"""Requests as series: counts, latency by route template, in flight.

The label is the template (`/campaigns/{id}`), never the path, so that no client can make series; what matches no
route is `unmatched`.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measures:
    """The application's own metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "campaigns_http_requests_total",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "campaigns_http_request_duration_seconds",
            "Time from the request's arrival to the last byte of its answer.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "campaigns_http_requests_in_flight", "Requests being answered now.", registry=self.registry
        )
        self.sends = Counter("campaigns_sends_total", "Sends the worker settled.", ("outcome",), registry=self.registry)
        self.backlog = Gauge("campaigns_sends_pending", "Sends of running campaigns that wait.", registry=self.registry)


class Measured:
    """ASGI middleware around the whole application, so that an error's answer is measured too."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what the server answers when the application gives no answer

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        with self._measures.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, watched)
            finally:
                route = scope.get("route")
                template = route.path if isinstance(route, Route) else "unmatched"
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._measures.requests.labels(method, template, str(status)).inc()
                self._measures.seconds.labels(method, template).observe(time.perf_counter() - began)
