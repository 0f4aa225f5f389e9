"""Alertmanager's terms: how its JSON names alerts, silences and matchers, and how its errors are told.

Source: alertmanager/api/v2/openapi.yaml.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.errors import StateError
from tocsin.incidents.matching import all_match, parse_matcher, pattern
from tocsin.incidents.silences import in_force
from tocsin.model import Alert, Matcher, MatchOp, Silence
from tocsin.runtime.external import RESOLVE_TIMEOUT, TooMany
from tocsin.web.form import Form
from tocsin.web.gate import Endpoint
from tocsin.web.streaming import Body, respond

_OPS = {(False, True): MatchOp.EQUAL, (False, False): MatchOp.NOT_EQUAL,
        (True, True): MatchOp.REGEX, (True, False): MatchOp.NOT_REGEX}  # fmt: skip
"""(isRegex, isEqual) → operator"""
_FLAGS = {op: flags for flags, op in _OPS.items()}


class BadRequest(ValueError):
    """The request can't be used; the message says why."""


def answer(request: Request, value: Any, status: int = 200) -> Response:
    """An answer of plain values."""
    return respond(request, Body.begun(iter((orjson.dumps(value),))), status=status)


def answering(endpoint: Callable[[Request], Awaitable[Response]]) -> Endpoint:
    """The endpoint, with its errors told as Alertmanager does: the message as a JSON string."""

    @wraps(endpoint)
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BadRequest as error:
            return answer(request, str(error), 400)
        except (TooMany, StateError) as error:
            return answer(request, str(error), 503)
        except HTTPException as error:
            return answer(request, str(error.detail), error.status_code)

    return answered


def time_text(at: datetime) -> str:
    """RFC 3339 to the millisecond, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def time_of(value: Any, name: str) -> datetime | None:
    """A time; None where there is none, or Go's zero time. Raises BadRequest."""
    if value is None or value == "":
        return None
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadRequest(f"{name}: not a time: {value!r}; write it like 2026-07-01T12:00:00Z") from None
    if at.tzinfo is None:
        raise BadRequest(f"{name}: {value!r} has no time zone; write it like 2026-07-01T12:00:00Z")
    try:
        return None if at.year <= 1 else at.astimezone(UTC)
    except OverflowError:
        raise BadRequest(f"{name}: {value!r} is past the last time there is") from None


def flag_of(form: Form, name: str) -> bool:
    """A parameter that is true unless it says false. Raises BadRequest."""
    text = form.one(name, "true").lower()
    if text not in ("true", "false", "1", "0"):
        raise BadRequest(f"{name}: {text!r} is neither true nor false")
    return text in ("true", "1")


def filters_of(form: Form) -> tuple[Matcher, ...]:
    """The repeated parameter `filter`. Raises BadRequest."""
    try:
        return tuple(parse_matcher(text) for text in form.all("filter"))
    except ValueError as error:
        raise BadRequest(f"filter: {error}") from None


def receiver_of(form: Form) -> Any:
    """The parameter `receiver`, compiled; None where any will do. Raises BadRequest."""
    try:
        return pattern(form.one("receiver")) if form.one("receiver") else None
    except ValueError as error:
        raise BadRequest(f"receiver: {error}") from None


def matcher_json(matcher: Matcher) -> dict[str, Any]:
    is_regex, is_equal = _FLAGS[matcher.op]
    return {"isEqual": is_equal, "isRegex": is_regex, "name": matcher.name, "value": matcher.value}


def matcher_of(value: Any) -> Matcher:
    """Raises BadRequest."""
    match value:
        case {"name": str(name), "value": str(text)} if name:
            regex, equal = value.get("isRegex", False), value.get("isEqual", True)
        case _:
            raise BadRequest("matchers: each has a name and a value")
    if not isinstance(regex, bool) or not isinstance(equal, bool):
        raise BadRequest("matchers: isRegex and isEqual are true or false")
    if regex:
        try:
            pattern(text)
        except ValueError as error:
            raise BadRequest(f"matchers: {error}") from None
    return Matcher(name=name, op=_OPS[regex, equal], value=text)


def silence_json(silence: Silence, now: datetime) -> dict[str, Any]:
    state = "expired" if silence.ends_at <= now else "pending" if silence.starts_at > now else "active"
    return {
        "id": silence.id,
        "status": {"state": state},
        "updatedAt": time_text(min(silence.starts_at, now)),
        "comment": silence.why,
        "createdBy": silence.created_by,
        "endsAt": time_text(silence.ends_at),
        "matchers": [matcher_json(matcher) for matcher in silence.matchers],
        "startsAt": time_text(silence.starts_at),
    }


def alert_json(
    alert: Alert, silences: Iterable[Silence], parents: Iterable[Alert], receivers: Sequence[str],
    updated: datetime | None, now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """An alert; `silences` are those in the book, `parents` what explains it."""
    hiding = sorted(each.id for each in in_force(silences, now) if all_match(each.matchers, alert.labels))
    explained = sorted(parent.id for parent in parents)
    return {
        "annotations": dict(alert.annotations),
        "endsAt": time_text(alert.ends_at or now + RESOLVE_TIMEOUT),
        "fingerprint": alert.id,
        "receivers": [{"name": name} for name in receivers],
        "startsAt": time_text(_began(alert)),
        "status": {
            "inhibitedBy": explained,
            "silencedBy": hiding,
            "state": "suppressed" if hiding or explained else "active",
        },
        "updatedAt": time_text(updated or alert.fired_at or alert.active_at),
        "generatorURL": alert.source_url,
        "labels": dict(alert.labels),
    }


def _began(alert: Alert) -> datetime:
    """As its sender says; of a rule's own alert when it fired, as Prometheus sends it."""
    sent = alert.ends_at is not None
    return alert.active_at if sent or alert.fired_at is None else alert.fired_at


def text_map(value: Any, name: str) -> Mapping[str, str]:
    """A JSON object of texts. Raises BadRequest."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise BadRequest(f"{name} must be an object of texts")
    return value
