"""That an error is in the log, on the error itself: whoever sees the same exception again leaves it.

It may come by several ways: raised through the request, by a task that the request forgot, by a future that the garbage
collector lets go of, which knows no request. The mark holds no object: an exception may be kept, copied and pickled.
"""

from __future__ import annotations

import contextlib
from typing import Final, NamedTuple

from tocsin.asgi.call import Call

OUTSIDE_CALL: Final = 0
"""The number of what no request asked for."""
_TOLD: Final = "__tocsin_told__"


class Told(NamedTuple):
    """Under which call, and as what."""

    call: int
    category: str
    fingerprint: str


def mark_told(error: BaseException, call: Call, category: str, fingerprint: str) -> None:
    """It is in the log."""
    with contextlib.suppress(Exception):  # one that takes no attribute: then twice
        setattr(error, _TOLD, Told(call.number, category, fingerprint))


def told_before(error: BaseException, call: Call) -> Told | None:
    """As what it is in the log already, for this call or for none. What was told for none is this call's from now on:
    an exception that an application keeps and raises again and again is told of each request."""
    told = getattr(error, _TOLD, None)
    if not isinstance(told, Told) or told.call not in (call.number, OUTSIDE_CALL):
        return None
    mark_told(error, call, told.category, told.fingerprint)
    return told
