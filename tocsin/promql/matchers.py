"""Label matchers: RE2, anchored at both ends.

Source: prometheus/model/labels/matcher.go and regexp.go.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import re2

from tocsin.errors import PromQLError
from tocsin.model import Matcher, MatchOp

_QUIET: Final = re2.Options()
_QUIET.log_errors = False


def compile_regex(pattern: str, position: int | None = None) -> re2._Regexp:
    """An anchored RE2 expression; `.` takes a newline, as in Prometheus. Raises PromQLError."""
    try:
        return _compiled(pattern)
    except re2.error as error:
        raise PromQLError(f"error parsing regexp: {_reason(error)}: `{pattern}`", position=position) from None


@lru_cache(4096)
def _compiled(pattern: str) -> re2._Regexp:
    return re2.compile(f"^(?s:{pattern})$", options=_QUIET)


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return re.sub(r"^b'|'$", "", text)


def matches(matcher: Matcher, value: str) -> bool:
    """Whether a label value satisfies a matcher; "" is the value of a label that is not set."""
    match matcher.op:
        case MatchOp.EQUAL:
            return value == matcher.value
        case MatchOp.NOT_EQUAL:
            return value != matcher.value
        case MatchOp.REGEX:
            return compile_regex(matcher.value).fullmatch(value) is not None
        case _:
            return compile_regex(matcher.value).fullmatch(value) is None
