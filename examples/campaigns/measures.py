"""The application's own series. Requests, latency and errors by route are tocsin.asgi's, in the same registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Measures:
    """The application's own metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sends = Counter("campaigns_sends_total", "Sends the worker settled.", ("outcome",), registry=self.registry)
        self.backlog = Gauge("campaigns_sends_pending", "Sends of running campaigns that wait.", registry=self.registry)
