"""The API's parameters: times, durations, steps, selectors, limits. What is wrong with one is said as Prometheus does.

Source: prometheus/web/api/v1/api.go, parseTime, parseDuration, parseMatchersParam, parseLimitParam.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from tocsin.durations import parse_duration
from tocsin.errors import PromQLError
from tocsin.model import Matcher, Seconds, utc
from tocsin.promql import Plan, Selector, compile_expr
from tocsin.web.form import Form
from tocsin.web.prometheus.answers import invalid

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:[.,](\d+))?([Zz]|[+-]\d\d:\d\d)",
)
_OPEN: Final = ("-292273086-05-16T16:47:06Z", "292277025-08-18T07:12:54.999999999Z")
"""The earliest and the latest time that Go clients write: no bound."""
_REMEMBERED: Final = 4096
"""Characters of an expression that is worth remembering."""
_LONGEST: Final = 2**63 / 1e9
"""Seconds: what a duration in nanoseconds can hold."""


def time_of(form: Form, name: str, default: datetime | None) -> datetime | None:
    """A time; `default` where none is given. Raises ApiError."""
    text = form.one(name)
    if text == "" or text in _OPEN:
        return default
    try:
        return parse_time(text)
    except ValueError as error:
        raise invalid(name, f"Invalid time value for '{name}': {error}") from None


def required_time(form: Form, name: str) -> datetime:
    """A time that must be given. Raises ApiError."""
    try:
        return parse_time(form.one(name))
    except ValueError as error:
        raise invalid(name, str(error)) from None


def parse_time(text: str) -> datetime:
    """Unix seconds, or RFC 3339; to the millisecond. Raises ValueError."""
    try:
        if _NUMBER.fullmatch(text):
            return utc(round(float(text), 3))
        if found := _RFC3339.fullmatch(text):
            day, clock, fraction, zone = found.groups()
            micros = (fraction or "0")[:6].ljust(6, "0")
            offset = "+00:00" if zone in "Zz" else zone
            return datetime.fromisoformat(f"{day}T{clock}.{micros}{offset}").astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError(f'cannot parse "{text}" to a valid timestamp')


def duration_of(form: Form, name: str) -> Seconds | None:
    """A duration; None where none is given. Raises ApiError."""
    text = form.one(name)
    if text == "":
        return None
    try:
        return _duration(text)
    except ValueError as error:
        raise invalid(name, str(error)) from None


def _duration(text: str) -> Seconds:
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if abs(seconds) > _LONGEST:
            raise ValueError(f'cannot parse "{text}" to a valid duration. It overflows int64')
        return seconds
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f'cannot parse "{text}" to a valid duration') from None


def step_of(form: Form) -> Seconds:
    """A range query's step, above 0. Raises ApiError."""
    text = form.one("step")
    try:
        step = _duration(text)
    except ValueError as error:
        raise invalid("step", str(error)) from None
    if step <= 0:
        why = "zero or negative query resolution step widths are not accepted. Try a positive integer"
        raise invalid("step", why)
    if round(step * 1000) < 1:
        raise invalid("step", "a step is one millisecond at least")
    return step


def limit_of(form: Form, name: str = "limit") -> int:
    """How many entries are wanted; 0: all. Raises ApiError."""
    text = form.one(name)
    if text == "":
        return 0
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise invalid(name, f'cannot parse "{text}" to a valid number')
    if int(text) < 0:
        raise invalid(name, "limit must be non-negative")
    return int(text)


def plan_of(form: Form, name: str = "query") -> Plan:
    """The expression. Raises ApiError, with line and column."""
    text = form.one(name)
    try:
        return _compiled(text) if len(text) <= _REMEMBERED else compile_expr(text)
    except PromQLError as error:
        raise invalid(name, parse_error(text, error)) from None


@lru_cache(maxsize=512)
def _compiled(text: str) -> Plan:
    """A dashboard asks the same few expressions over and over."""
    return compile_expr(text)


def parse_error(text: str, error: PromQLError) -> str:
    """`1:5: parse error: …`"""
    if error.position is None:
        return f"parse error: {error}"
    line = text.count("\n", 0, error.position) + 1
    column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
    return f"{line}:{column}: parse error: {error}"


def matcher_sets(form: Form, name: str = "match[]") -> tuple[tuple[Matcher, ...], ...]:
    """The selectors, as matchers. Raises ApiError."""
    return tuple(_matchers(text, name) for text in form.all(name))


def _matchers(text: str, name: str) -> tuple[Matcher, ...]:
    try:
        tree = compile_expr(text).tree
    except PromQLError as error:
        if "at least one non-empty matcher" in str(error):
            raise invalid(name, "match[] must contain at least one non-empty matcher") from None
        raise invalid(name, parse_error(text, error)) from None
    if not isinstance(tree, Selector) or tree.window or tree.offset or tree.at is not None:
        raise invalid(name, f"1:1: parse error: not a series selector: {text}")
    return tree.matchers


def names_of(form: Form, name: str) -> frozenset[str] | None:
    """The values of a repeated parameter; None where it is not given."""
    return frozenset(form.all(name)) if name in form else None


def cut(entries: Iterable[str], limit: int) -> tuple[list[str], bool]:
    """The first `limit` entries, and whether there were more."""
    listed = list(entries)
    if limit and len(listed) > limit:
        return listed[:limit], True
    return listed, False
