"""The layers' log lines over OTLP too: a record for each, with its trace, beside the file or the stream it goes to.

Written in OTLP's own messages, which are stable; OpenTelemetry's Python API for logs is not yet. A collector that is
slow, gone or hangs costs records, which are counted; the lines are in the file all the same.
https://opentelemetry.io/docs/specs/otel/logs/data-model/
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from tocsin.asgi.logs.writer import Sink
from tocsin.asgi.shipping import Outcome, Sent, Shipper, post, seconds_of
from tocsin.telemetry.tracing import signal_url

_SEVERITY: Final = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
_TAKEN: Final = frozenset({"event", "level", "timestamp", "trace_id", "span_id"})
_LATER: Final = frozenset({429, 502, 503, 504})
"""https://opentelemetry.io/docs/specs/otlp/#failures-1"""


class OtlpSink:
    """A sink that also sends what another one writes."""

    def __init__(
        self,
        inner: Sink,
        endpoint: str,
        *,
        outcome: Outcome,
        headers: Mapping[str, str] | None = None,
        service: str = "",
        most: int = 10_000,
        every: float = 1.0,
    ) -> None:
        self._inner = inner
        self._url = signal_url(endpoint, "logs")
        self._headers = {"Content-Type": "application/x-protobuf", **(headers or {})}
        self._service = service
        self._shipper = Shipper(self._send, name="otlp-logs", outcome=outcome, most=most, batch=500, every=every)

    def put(self, line: bytes) -> bool:
        """False when the other one lost it."""
        self._shipper.put(line)
        return self._inner.put(line)

    def close(self) -> None:
        """Close the other one; what is to be sent ends with `ship`."""
        self._inner.close()

    async def ship(self) -> None:
        """Send what waits, for two seconds at most."""
        await self._shipper.close()

    def _send(self, lines: list[Any]) -> Sent:
        status, headers = post(self._url, request_of(lines, self._service), self._headers)
        if status in _LATER:
            return Sent(ok=False, limited=status == 429, rest=seconds_of(headers.get("retry-after"), 0.0))
        return Sent(ok=status < 300)


def request_of(lines: list[bytes], service: str) -> bytes:
    """An ExportLogsServiceRequest."""
    # Imported here: most applications don't use it.
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    for name, value in _resource(service, os.getpid()).items():
        _set(group.resource.attributes, name, value)
    scope = group.scope_logs.add()
    scope.scope.name = "tocsin.asgi"
    now = time.time_ns()
    for line in lines:
        _fill(scope.log_records.add(), orjson.loads(line), now)
    found: bytes = request.SerializeToString()
    return found


@lru_cache(maxsize=8)
def _resource(service: str, _: int) -> Mapping[str, Any]:
    """Who the process is: what its spans and series say too, OTEL_RESOURCE_ATTRIBUTES among it."""
    from opentelemetry.sdk.resources import Resource

    return Resource.create({"service.name": service} if service else {}).attributes


def _fill(record: Any, fields: dict[str, Any], now: int) -> None:
    record.observed_time_unix_nano = now
    at = fields.get("timestamp")
    record.time_unix_nano = int(datetime.fromisoformat(at).timestamp() * 1e6) * 1000 if isinstance(at, str) else now
    level = str(fields.get("level", "info"))
    record.severity_text, record.severity_number = level.upper(), _SEVERITY.get(level, 9)
    record.body.string_value = str(fields.get("event", ""))
    if fields.get("trace_id"):
        record.trace_id, record.span_id = bytes.fromhex(fields["trace_id"]), bytes.fromhex(fields["span_id"])
    for name, value in fields.items():
        if name not in _TAKEN and value not in (None, ""):
            _set(record.attributes, name, value)


def _set(attributes: Any, name: str, value: Any) -> None:
    one = attributes.add()
    one.key = name
    if isinstance(value, bool):
        one.value.bool_value = value
    elif isinstance(value, int):
        one.value.int_value = value
    elif isinstance(value, float):
        one.value.double_value = value
    else:
        one.value.string_value = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
