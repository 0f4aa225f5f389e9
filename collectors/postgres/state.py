"""Which state a server is in, told from what it says when it refuses us. Pure.

A failed connection carries no SQLSTATE in libpq (psycopg leaves it None), so its text is all there is. A text that is
not known stays unknown: a guess would page somebody, or not.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from tocsin.errors import CollectError


class State(StrEnum):
    """What a server is, as seen by one client."""

    UP = "up"
    IN_RECOVERY = "in_recovery"
    """A standby that answers."""
    SATURATED = "saturated"
    """It has no slot left for ordinary roles. Whoever is connected is served."""
    AUTH_FAILURE = "auth_failure"
    """It refuses our login; others may well be served."""
    STARTING = "starting"
    SHUTTING_DOWN = "shutting_down"
    HANGING = "hanging"
    """It accepts connections and does not answer."""
    DOWN = "down"
    UNKNOWN = "unknown"

    @property
    def serves(self) -> bool:
        """Whether clients are served, as far as this state tells."""
        return self in _SERVING


_SERVING: Final = frozenset({State.UP, State.IN_RECOVERY, State.SATURATED, State.AUTH_FAILURE})


class Unreachable(CollectError):
    """There is no session with the server."""

    def __init__(self, state: State, why: str) -> None:
        super().__init__(why)
        self.state = state


# In order of what a text tells when several hosts or addresses were tried: the most informative first.
# Sources: src/backend/postmaster/postmaster.c (canAcceptConnections), src/backend/utils/init/postinit.c,
# src/backend/libpq/auth.c, src/interfaces/libpq/fe-connect.c; pgbouncer src/client.c, src/janitor.c.
_TEXTS: Final = tuple(
    (state, re.compile(pattern, re.IGNORECASE))
    for state, pattern in (
        (
            State.SATURATED,
            r"too many clients already|too many connections for (?:role|database)|remaining connection slots"
            r"|no more connections allowed|max(?:imum)? client connections|MaxClientsInSessionMode"
            r"|number of requested standby connections exceeds",
        ),
        (
            State.STARTING,
            r"the database system is starting up|not yet accepting connections|not accepting connections"
            r"|the database system is in recovery mode|consistent recovery state has not been (?:yet )?reached",
        ),
        (State.SHUTTING_DOWN, r"the database system is shutting down"),
        (
            State.AUTH_FAILURE,
            r"authentication failed|no pg_hba\.conf entry|pg_hba\.conf rejects|no password supplied"
            r"|password is required"
            r"|role \".*\" does not exist|database \".*\" does not exist|is not permitted to log in"
            r"|permission denied for database|is not currently accepting connections|certificate|no such user"
            r"|tenant or user not found|server does not support SSL|SCRAM|requires? a valid client",
        ),
        (State.HANGING, r"timeout expired|connection timed? ?out|query_wait_timeout"),
        (
            State.DOWN,
            r"connection refused|no route to host|network is unreachable|host is down|host is unreachable"
            r"|no such file or directory|connection reset by peer|server closed the connection unexpectedly"
            r"|server (?:login has been|conn crashed)|could not receive data|broken pipe"
            r"|terminating connection",
        ),
    )
)


def state_of(text: str) -> State:
    """The state that the text of a connection error tells of."""
    return next((state for state, pattern in _TEXTS if pattern.search(text)), State.UNKNOWN)


def refuses_options(text: str) -> bool:
    """Whether a pooler refused our session settings, as pgbouncer does."""
    return "unsupported startup parameter" in text.lower()


def one_line(text: str) -> str:
    """An error's text for people: without line breaks and without the password that a DSN in it might hold."""
    joined = " ".join(text.split())
    joined = re.sub(r"(?i)(password\s*=\s*)('[^']*'|\S+)", r"\1***", joined)
    return re.sub(r"(postgres(?:ql)?://[^:@/\s]*:)[^@\s]*@", r"\1***@", joined)[:500]
