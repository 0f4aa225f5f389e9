"""An envelope's events. Pure.

An envelope is a line of JSON, then items: a line of JSON each with `type` and `length`, then so many bytes, or where no
length is given the rest of the line. Source: https://develop.sentry.dev/sdk/data-model/envelopes/
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from collectors.sentry.category import category_of
from tocsin.categories import Names

LEVELS: Final = ("fatal", "error", "warning", "info", "debug")
FAILURES: Final = LEVELS[:2]
"""The levels of what is an error."""
MOST_ITEMS: Final = 100
MOST_EVENT_BYTES: Final = 1 << 20
"""Sentry's own limit. JSON takes forty times its size in memory, and time in which nothing else runs."""
_DEFAULT: Final = ("{{ default }}", "{{default}}")
_LONGEST: Final = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What is counted of an event."""

    level: str
    environment: str
    category: str
    """Of tocsin.categories, or one that the configuration adds."""
    type: str = ""
    """The exception's; empty for a plain message."""
    where: str = ""
    """`module:function` of the last frame of the application."""
    fingerprint: str = ""
    """12 hexadecimal digits; empty for a message without one of the SDK's own."""


def events_of(body: bytes, names: Names) -> tuple[str, tuple[Event, ...]]:
    """(the envelope's event_id, its events). Raises ValueError that says what is wrong with it."""
    end = _line_end(body, 0)
    if end > MOST_EVENT_BYTES:
        raise ValueError("the envelope's header is longer than any that an SDK sends")
    header = _object(body[:end], "the envelope's header")
    return _text(header.get("event_id")), tuple(_event(payload, names) for payload in _event_items(body, end + 1))


def _event_items(body: bytes, at: int) -> Iterator[bytes]:
    """From offset `at`: what is behind is not copied for each item."""
    events = 0
    for _ in range(MOST_ITEMS):
        while body[at : at + 1] == b"\n":
            at += 1
        if at >= len(body):
            return
        end = _line_end(body, at)
        if end - at > MOST_EVENT_BYTES:
            raise ValueError("an item's header is longer than any that an SDK sends")
        header = _object(body[at:end], "an item's header")
        at = min(end + 1, len(body))
        length = header.get("length")
        if length is None:
            end = _line_end(body, at)
        elif type(length) is int and 0 <= length <= len(body) - at:
            end = at + length
        else:
            raise ValueError(f"an item says that it is {str(length)[:20]} bytes long, and {len(body) - at} are left")
        if header.get("type") == "event":
            events += 1
            if events > 1:
                raise ValueError("the envelope has more than one event")
            if end - at > MOST_EVENT_BYTES:
                raise ValueError(f"an event is larger than the {MOST_EVENT_BYTES >> 20} MiB that Sentry takes")
            yield body[at:end]
        at = end
    raise ValueError(f"the envelope has more than {MOST_ITEMS} items")


def _line_end(body: bytes, at: int) -> int:
    found = body.find(b"\n", at)
    return len(body) if found < 0 else found


def _event(payload: bytes, names: Names) -> Event:
    event = _object(payload, "an event")
    level = event.get("level")
    chain = _chain(event)
    kind, where = _exception(chain)
    own = event.get("fingerprint")
    custom = [part for part in own if type(part) is str] if type(own) is list else []
    parts = [kind if part in _DEFAULT else part for part in custom] or ([kind, where] if kind else [])
    if any(part in _DEFAULT for part in custom):
        parts.append(where)
    return Event(
        level=level if level in LEVELS else "error",
        environment=_text(event.get("environment")) or "production",
        category=category_of(event, chain, names),
        type=kind,
        where=where,
        fingerprint=_named(parts) if any(parts) else "",
    )


def _chain(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The exceptions, the one that was raised last at the end, as the SDKs have it."""
    found = event.get("exception")
    values = found.get("values") if type(found) is dict else found
    return [value for value in values if type(value) is dict] if type(values) is list else []


def _exception(chain: list[dict[str, Any]]) -> tuple[str, str]:
    """(type, where) of the one that was raised last."""
    if not chain:
        return "", ""
    raised = chain[-1]
    stack = raised.get("stacktrace")
    frames = stack.get("frames") if type(stack) is dict else None
    known = [frame for frame in frames if type(frame) is dict] if type(frames) is list else []
    own = [frame for frame in known if frame.get("in_app") is True]
    frame = (own or known or [{}])[-1]
    module = _text(frame.get("module")) or _text(frame.get("filename"))
    where = f"{module}:{_text(frame.get('function'))}" if module or frame.get("function") else ""
    return _text(raised.get("type")) or "Error", where[:_LONGEST]


def _named(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]


def _text(value: object) -> str:
    """A label's value: printable, and not long."""
    text = value if type(value) is str else ""
    return "".join(sign for sign in text[:_LONGEST] if sign.isprintable())


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{what} is not JSON: {error}") from None
    if type(found) is not dict:
        raise ValueError(f"{what} is not a JSON object")
    return found
