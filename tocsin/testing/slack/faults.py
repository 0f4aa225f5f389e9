"""What can be made to go wrong in the stand-in Slack, call by call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a call goes wrong. `process_then_*`: the message is stored, yet the caller does not learn of it."""

    RATELIMITED = "ratelimited"
    """429 with Retry-After."""
    STATUS = "status"
    """An HTTP status with a body that is no JSON, before anything was done."""
    ERROR = "error"
    """`ok: false` with an error code of choice."""
    HTML = "html"
    """200 with a page, as a captive portal or a proxy answers."""
    SLOW = "slow"
    """Processed and answered, after a while."""
    HANG = "hang"
    """Never answered, nothing done."""
    RESET = "reset"
    """The connection is reset before anything was done."""
    PROCESS_THEN_RESET = "process_then_reset"
    PROCESS_THEN_HANG = "process_then_hang"
    PROCESS_THEN_STATUS = "process_then_status"

    @property
    def processes(self) -> bool:
        """True when the call takes effect."""
        return self is Kind.SLOW or self.value.startswith("process_then")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to go wrong, with its figures."""

    kind: Kind
    retry_after: float = 1.0
    """Seconds, for RATELIMITED."""
    status: int = 500
    """For STATUS and PROCESS_THEN_STATUS."""
    error: str = "internal_error"
    """For ERROR."""
    seconds: float = 1.0
    """For SLOW."""


class FaultPlan:
    """The faults to come: for a method or for any (`*`), first in, first out."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Fault]] = {}

    def add(self, method: str, fault: Fault, times: int = 1) -> None:
        self._queues.setdefault(method, deque()).extend([fault] * times)

    def take(self, method: str) -> Fault | None:
        """The next fault for a call of `method`, used up."""
        for name in (method, "*"):
            if queue := self._queues.get(name):
                return queue.popleft()
        return None

    def clear(self) -> None:
        self._queues.clear()

    @property
    def left(self) -> int:
        """How many injected faults have not struck yet."""
        return sum(len(queue) for queue in self._queues.values())
