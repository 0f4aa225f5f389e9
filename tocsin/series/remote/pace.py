"""How long to wait before a failed request is sent again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

from tocsin.model import Seconds

FIRST: Final[Seconds] = 0.25
LONGEST: Final[Seconds] = 5.0
"""As Prometheus' max_backoff: rules that wait for the samples wait no longer than that for nothing."""
MOST_OBEYED: Final[Seconds] = 600.0
"""A Retry-After beyond this is an error of the server, or an attack: the samples would be too old by then."""


def backoff(failures: int, chance: Random) -> Seconds:
    """After that many failures in a row: doubling, with half of it random, so that many senders don't come at once."""
    whole = min(LONGEST, FIRST * 2.0 ** min(failures - 1, 30))
    return whole * (0.5 + chance.random() / 2)


def retry_after(header: str | None, now: datetime) -> Seconds | None:
    """Seconds from a Retry-After header, which holds a number or a date; None when there is none that can be read.

    Source: RFC 9110, 10.2.3.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(MOST_OBEYED, float(text[:10]))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(MOST_OBEYED, max(0.0, (at - now).total_seconds()))
