"""How Tocsin watches itself: structured logs, metrics, spans.

`logs` sets up structlog once per process; `metrics.Telemetry` is one registry per daemon, so that two daemons in one
test don't share counters; `tracing` is a no-op until an OTLP endpoint is configured.
"""
