"""Matchers: does a label set match? Alertmanager's four operators, regular expressions anchored at both ends.

The expressions are RE2, as in Prometheus and Alertmanager: linear in the text, so that no silence can stall the daemon.
A label that is not there has the value "".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import re2

from tocsin.model import Matcher, MatchOp

_QUIET: Final = re2.Options()
_QUIET.log_errors = False

_MATCHER: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^"\s][^"]*|)\s*')
_ESCAPES: Final = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}


@lru_cache(maxsize=4096)
def pattern(text: str) -> Any:
    """The compiled expression. Raises ValueError that quotes it and says what RE2 objects to."""
    try:
        return re2.compile(text, options=_QUIET)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"not a regular expression (RE2): {text!r}: {why}") from None


def fits(expression: str, value: str) -> bool:
    """True when the whole of `value` matches `expression`."""
    return pattern(expression).fullmatch(value) is not None


def matches(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    """True when the label that `matcher` names has, or has not, the value."""
    value = labels.get(matcher.name, "")
    match matcher.op:
        case MatchOp.EQUAL:
            return value == matcher.value
        case MatchOp.NOT_EQUAL:
            return value != matcher.value
        case MatchOp.REGEX:
            return fits(matcher.value, value)
        case MatchOp.NOT_REGEX:
            return not fits(matcher.value, value)


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """True when every matcher matches; of no matchers, True."""
    return all(matches(matcher, labels) for matcher in matchers)


def parse_matcher(text: str) -> Matcher:
    """`severity=~"P0|P1"` or, as amtool reads it, `severity=~P0|P1`; a bare word is an alertname.

    Raises ValueError that shows the form wanted.
    """
    if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", text.strip()):
        return Matcher(name="alertname", op=MatchOp.EQUAL, value=text.strip())
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f'not a matcher: {text!r}; write it like alertname="ApiDown" or service=~"api|web"')
    name, op, value = found.groups()
    if value.startswith('"'):
        value = re.sub(r'\\["\\n]', lambda escape: _ESCAPES[escape.group()], value[1:-1])
    matcher = Matcher(name=name, op=MatchOp(op), value=value.strip() if not found[3].startswith('"') else value)
    if matcher.op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
        pattern(matcher.value)
    return matcher
