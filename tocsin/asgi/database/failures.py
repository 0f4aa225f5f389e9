"""What the database could not do in time, as a class that says what to look at."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from tocsin.asgi.problem import Unavailable


class Saturated(Unavailable):
    """All connections are in use: longer statements than usual, more requests, or too small a pool."""

    reason = "saturated"


class Unreachable(Unavailable):
    """No connection could be made, or the one in use broke: look at the database and the way to it."""

    reason = "unreachable"


class TookTooLong(Unavailable):
    """A statement was ended by its timeout, or waited too long for a lock: see the slow statements."""

    reason = "took_too_long"


_TOO_LONG: Final = (errors.QueryCanceled, errors.LockNotAvailable, errors.IdleInTransactionSessionTimeout)
_GONE: Final = ("08", "57P01", "57P02", "57P03", "57P05")
"""SQLSTATEs of a connection that ended, or of a server that takes none."""


def translated(error: psycopg.OperationalError, *, broken: bool) -> Unavailable | None:
    """What `error` means for whoever asked; None: it is about the statement (a deadlock, say), and stays what it is."""
    if isinstance(error, _TOO_LONG):
        lock = isinstance(error, errors.LockNotAvailable)
        return TookTooLong("A statement waited too long for a lock." if lock else "A statement took too long.")
    if isinstance(error, errors.TooManyConnections):
        return Saturated("The server takes no more connections.")
    if broken or (error.sqlstate or "").startswith(_GONE):
        return Unreachable("The connection to the database broke.")
    return None
