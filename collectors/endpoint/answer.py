"""What a probe saw, and whether it meets what is expected. No socket, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from collectors.endpoint.settings import Expect, compiled
from tocsin.model import Seconds


class Reason(StrEnum):
    """Why a target is not up. The first six mean that there is no answer to judge."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    REDIRECT = "redirect"
    STATUS = "status"
    BODY = "body"
    SLOW = "slow"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One probe's result: an answer, or `failure`."""

    total: Seconds
    phases: Mapping[str, Seconds] = field(default_factory=dict)
    """dns, connect, tls, first_byte: those that were completed, summed over redirects."""
    failure: Reason | None = None
    status: int | None = None
    is_http: bool = True
    """False for a connection alone, which has no status."""
    body: str = ""
    """Its first `body_limit` bytes as text; empty unless the target's expectations ask for it."""
    certificate_expires_at: Seconds | None = None
    """Since the epoch; the earliest over redirects."""


def shortfalls(expect: Expect, answer: Answer) -> tuple[Reason, ...]:
    """The expectations that `answer` does not meet, in the order of Reason; empty: the target is up."""
    found: list[Reason] = []
    if answer.failure is not None:
        found.append(answer.failure)
    else:
        if answer.is_http and not _status_fits(expect, answer.status or 0):
            found.append(Reason.STATUS)
        if not _body_fits(expect, answer.body):
            found.append(Reason.BODY)
    if expect.max_seconds is not None and answer.total > expect.max_seconds:
        found.append(Reason.SLOW)
    return tuple(found)


def _status_fits(expect: Expect, status: int) -> bool:
    return status in expect.status if expect.status else 200 <= status <= 299


def _body_fits(expect: Expect, body: str) -> bool:
    if expect.body_contains is not None and expect.body_contains not in body:
        return False
    return expect.body_matches is None or compiled(expect.body_matches).search(body) is not None
