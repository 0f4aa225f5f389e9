"""The application's series over OTLP too: what /metrics shows, for who has a collector and no scraper.

    protect(app, otlp_endpoint="http://collector:4318", otlp_metrics=True)      # or TOCSIN_APP_OTLP_METRICS=yes

    points     a registry of prometheus_client as OpenTelemetry's metrics
    sending    the thread that sends them, and its end

Requests are counted by prometheus_client alone: a second set of instruments, the SDK's, would cost each request ten
times as much. The SDK's data model and exporter take over from there.
"""
