"""Errors to Sentry, or to anything that takes its envelopes (Tocsin's `sentry` collector does).

    protect(app, sentry_dsn="https://KEY@sentry.example/7")       # or TOCSIN_APP_SENTRY_DSN, or SENTRY_DSN

One event for each error that the log has or counts: the chain of exceptions with their frames, the route, the category,
our fingerprint, the request's and the trace's ids, the hashed user. Texts are masked by the same rules as the log's; no
variable, header, query or body goes along. At most 100 events wait; a storm, a limit that Sentry sets and a Sentry that
is gone cost events, which are counted, and never a request's time.

Where sentry-sdk is active in the process and the DSN is only in SENTRY_DSN, it is left to that: an error is told once.
Our own hundred lines, as the SDK hooks into frameworks that the layers already stand around, and would scrub otherwise.
https://develop.sentry.dev/sdk/data-model/envelopes/
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import getrandbits
from types import FrameType
from typing import Any, Final, Self

import orjson

from tocsin.asgi.errors.fingerprint import InApp
from tocsin.asgi.errors.report import ErrorReport
from tocsin.asgi.errors.scrub import text_of
from tocsin.asgi.shipping import Outcome, Sent, Shipper, post, seconds_of
from tocsin.model import Seconds
from tocsin.telemetry.logs import json_of

_DSN: Final = re.compile(r"(https?)://([^:@/\s]+)(?::[^@/\s]*)?@([^/@\s]+)((?:/[^/\s]+)*)/(\d+)/?")
_MOST_WAITING: Final = 100
_MOST_FRAMES: Final = 100
_MOST_CHAIN: Final = 10
_REST: Final[Seconds] = 60.0
"""Where Sentry says 429 and not for how long; its SDKs do so too."""


@dataclass(frozen=True, kw_only=True)
class Dsn:
    """Where events go."""

    url: str
    key: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError that does not show the key."""
        found = _DSN.fullmatch(text.strip())
        if found is None:
            raise ValueError("a DSN is https://KEY@HOST/PROJECT")
        scheme, key, host, path, project = found.groups()
        return cls(url=f"{scheme}://{host}{path}/api/{project}/envelope/", key=key)


class Forwarder:
    """An observer of Errors."""

    def __init__(
        self, dsn: Dsn, *, outcome: Outcome, environment: str = "", release: str = "", service: str = "",
        yields: bool = False, in_app: InApp | None = None,
    ) -> None:  # fmt: skip
        """`yields`: not where sentry-sdk is active."""
        self._dsn = dsn
        self._base: dict[str, Any] = {"environment": environment or "production"}
        if release:
            self._base["release"] = release
        self._service = service
        self._yields = yields
        self._in_app = in_app or InApp()
        self._shipper = Shipper(self._send, name="sentry", outcome=outcome, most=_MOST_WAITING)

    def __call__(self, report: ErrorReport) -> None:
        """Take one along."""
        if self._yields and _sdk_is_active():
            return
        if self._shipper.has_room():
            self._shipper.put(self._base | event_of(report, self._service, self._in_app))

    async def close(self) -> None:
        """Send what waits, for two seconds at most."""
        await self._shipper.close()

    def _send(self, events: list[Any]) -> Sent:
        [event] = events
        headers = {
            "Content-Type": "application/x-sentry-envelope",
            "User-Agent": "tocsin.asgi",
            "X-Sentry-Auth": f"Sentry sentry_version=7, sentry_client=tocsin.asgi, sentry_key={self._dsn.key}",
        }
        status, answered = post(self._dsn.url, envelope_of(event), headers)
        return Sent(ok=status < 300, limited=status == 429, rest=rest_of(status, answered))


def event_of(report: ErrorReport, service: str = "", in_app: InApp | None = None) -> dict[str, Any]:
    """The event's payload. https://develop.sentry.dev/sdk/data-model/event-payloads/"""
    tags = {
        "category": report.category, "fingerprint": report.fingerprint, "phase": report.phase.value,
        "status": str(report.status), "request_id": report.request_id, "service": service,
    }  # fmt: skip
    event: dict[str, Any] = {
        "event_id": f"{getrandbits(128):032x}",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "platform": "python",
        "level": "error",
        "logger": "tocsin.asgi",
        "transaction": f"{report.method} {report.route}",
        "tags": {name: value for name, value in tags.items() if value},
    }
    if report.trace_id:
        event["contexts"] = {"trace": {"trace_id": report.trace_id, "span_id": report.span_id}}
    if report.user:
        event["user"] = {"id": report.user}
    if report.error is not None:
        event["exception"] = {"values": [_raised(error, in_app or InApp()) for error in _chain(report.error)]}
    else:
        event["message"] = f"{report.method} {report.route} answered {report.status}"
        event["fingerprint"] = [report.fingerprint]  # or all that were not raised would be one
    return event


def envelope_of(event: Mapping[str, Any]) -> bytes:
    """One item."""
    payload = json_of(event)
    head = orjson.dumps({"event_id": event["event_id"], "sent_at": datetime.now(UTC)}, option=orjson.OPT_UTC_Z)
    item = orjson.dumps({"type": "event", "length": len(payload), "content_type": "application/json"})
    return head + b"\n" + item + b"\n" + payload + b"\n"


def rest_of(status: int, headers: Mapping[str, str]) -> Seconds:
    """For how long no error may be sent. https://develop.sentry.dev/sdk/expected-features/rate-limiting/"""
    limits = headers.get("x-sentry-rate-limits", "")
    rests = [0.0]
    for limit in limits.split(","):
        seconds, _, rest = limit.strip().partition(":")
        categories = rest.partition(":")[0].split(";")
        if seconds and ("error" in categories or categories == [""]):
            rests.append(seconds_of(seconds, _REST))
    if status == 429 and not limits:
        rests.append(seconds_of(headers.get("retry-after"), _REST))
    return max(rests)


def _chain(error: BaseException) -> list[BaseException]:
    """What it was raised from first, as Sentry wants it."""
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and all(step is not one for one in found) and len(found) < _MOST_CHAIN:
        found.append(step)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return found[::-1]


def _raised(error: BaseException, in_app: InApp) -> dict[str, Any]:
    frames = [_frame(frame, line, in_app) for frame, line in traceback.walk_tb(error.__traceback__)]
    if len(frames) > _MOST_FRAMES:
        frames = frames[: _MOST_FRAMES // 2] + frames[-_MOST_FRAMES // 2 :]
    kind = type(error)
    value: dict[str, Any] = {
        "type": kind.__qualname__, "module": kind.__module__, "value": text_of(error),
        "mechanism": {"type": "tocsin.asgi", "handled": False},
    }  # fmt: skip
    if frames:
        value["stacktrace"] = {"frames": frames}
    return value


def _frame(frame: FrameType, line: int, in_app: InApp) -> dict[str, Any]:
    code = frame.f_code
    return {
        "module": frame.f_globals.get("__name__", "?"),
        "function": code.co_qualname,
        "filename": "/".join(code.co_filename.rsplit("/", 3)[-3:]),
        "lineno": line,
        "in_app": in_app(frame),
    }


def _sdk_is_active() -> bool:
    sdk = sys.modules.get("sentry_sdk")
    return sdk is not None and bool(sdk.is_initialized())
