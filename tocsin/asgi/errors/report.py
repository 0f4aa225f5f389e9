"""One error, as it is logged, counted and forwarded."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from tocsin.asgi.errors.scrub import excerpt

MOST_STACK: Final = 16_384
"""Characters; the middle of a longer one (deep recursion, long messages) is left out."""


class Phase(StrEnum):
    """How far the answer was."""

    BEFORE = "before_answer"
    DURING = "during_answer"
    """It was cut off: the client has a part of it."""
    AFTER = "after_answer"
    """The client noticed nothing: a background task."""
    WEBSOCKET = "websocket"
    TASK = "task"
    """Nobody waited for it: a task that a handler started, see strays."""


@dataclass(frozen=True, kw_only=True)
class ErrorReport:
    """What went wrong, where, for whom. Strings are scrubbed; `error` itself is not."""

    error: BaseException | None
    """None for a 5xx that the application answered of its own will."""
    category: str
    fingerprint: str
    where: str
    """`module:function` of the application's last frame."""
    phase: Phase
    method: str
    route: str
    status: int
    """Answered, or that would have been."""
    request_id: str
    trace_id: str
    span_id: str
    user: str | None
    """Hashed."""
    scope: Any = field(repr=False)
    """The ASGI scope, for observers that want more. Headers hold credentials: pass none on."""

    @cached_property
    def message(self) -> str:
        """The exception's text."""
        if self.error is None:
            return ""
        return excerpt("".join(traceback.format_exception_only(self.error)), MOST_STACK).strip()

    @cached_property
    def stack(self) -> str:
        """The whole stack trace, causes included."""
        if self.error is None:
            return ""
        return excerpt("".join(traceback.format_exception(self.error)), MOST_STACK)

    def fields(self) -> dict[str, Any]:
        """The log line's fields, without the stack."""
        return {
            "category": self.category,
            "fingerprint": self.fingerprint,
            "error": self.message or f"answered {self.status}",
            "where": self.where,
            "phase": self.phase.value,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "request_id": self.request_id,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "user": self.user,
        }


Observer = Callable[[ErrorReport], None]
"""Told of every error, in the event loop: it must not wait for anything. What it raises is logged, no more."""
