"""Reads auth.sessions by the time of the last refresh, and counts the sessions that moved (moves.py).

The first look takes the newest sessions as they are. Each further one reads from a little before the newest refresh
that is known, for a row bears the time that Auth gave it and is seen when it was committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from collectors.auth_logs import declarations as are
from collectors.auth_logs.database import Database
from collectors.auth_logs.naming import hashed
from collectors.auth_logs.samples import counted, from_zero, iso, time_of
from collectors.auth_logs.tables.moves import ADDRESS, AGENT, BOTH, Move, Server, Sessions, Sight
from collectors.auth_logs.top import Top
from tocsin.model import Sample, Seconds

PAGE: Final = 2000
PAGES: Final = 10
"""Of one look; what is left is read by the next."""
_OVERLAP: Final = timedelta(minutes=2)
_TOUCHED: Final = "coalesce(refreshed_at at time zone 'UTC', created_at)"
_COLUMNS: Final = f"id::text, user_id::text, coalesce(host(ip), ''), coalesce(user_agent, ''), {_TOUCHED}"
_NEWEST: Final = f"select {_COLUMNS} from auth.sessions where {_TOUCHED} is not null order by {_TOUCHED} desc limit %s"  # noqa: S608
_SINCE: Final = f"""
select {_COLUMNS} from auth.sessions
where {_TOUCHED} >= %s and ({_TOUCHED}, id) > (%s, %s::uuid)
order by {_TOUCHED}, id limit %s
"""  # noqa: S608 (of our own words)
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"


class Handover:
    """The sessions of one database."""

    needs = ("id", "user_id", "created_at", "refreshed_at", "user_agent", "ip")
    metrics = (are.SESSION_CHANGES, are.SESSION_MOVES)

    def __init__(
        self, *, salt: bytes, most: int, servers: Sequence[Server], top_users: int, idle: Seconds, saved: Any = None
    ) -> None:
        """`saved`: what `to_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        self._salt = salt
        self._most = most
        self._sessions = Sessions(salt=salt, most=most, servers=servers)
        self._users = Top(top_users, idle)
        self._changes = dict.fromkeys((ADDRESS, AGENT, BOTH), 0)
        self._born: datetime | None = None
        """The first look."""
        self._looked: datetime | None = None
        self._before: datetime | None = None
        """In the poll that looked: when it was looked before."""
        self._newest: datetime | None = None
        self._events: list[dict[str, Any]] = []
        if saved is not None:
            self._load(saved)

    def begin_poll(self) -> None:
        """Before a poll that may look."""
        self._before = None

    async def look(self, database: Database, at: datetime, *, when_slow: str) -> None:
        """Count what moved since the last look. Raises Trouble; what was read before it is counted."""
        of = "auth.sessions"
        if self._newest is None:
            rows = await database.ask(_NEWEST, (self._most,), of=of, when_slow=when_slow)
            self._take(reversed(rows), at)
        else:
            begin, after = self._newest - _OVERLAP, (self._newest - _OVERLAP, _FIRST_ID)
            for _ in range(PAGES):
                rows = await database.ask(_SINCE, (begin, *after, PAGE), of=of, when_slow=when_slow)
                self._take(rows, at)
                if len(rows) < PAGE:
                    break
                after = (rows[-1][4], rows[-1][0])
        self._before, self._looked = self._looked, at
        self._born = self._born or at

    def _take(self, rows: Any, at: datetime) -> None:
        """Counted and remembered in one go: a poll that is cut short has done both or neither."""
        sights = [Sight(*row) for row in rows]
        moves = self._sessions.take(sights)
        # A row that bears a time to come must not hide those that are written until then.
        newest = min(max((sight.at for sight in sights), default=at - timedelta(hours=1)), at)
        self._newest = newest if self._newest is None else max(self._newest, newest)
        users: dict[str, dict[tuple[str, ...], int]] = {}
        for move in moves:
            self._changes[move.changed] += 1
            if move.changed == BOTH:
                hits = users.setdefault(hashed(self._salt, "user", move.sight.user), {(): 0})
                hits[()] += 1
        self._users.take(users, at, self._looked)
        self._events += map(_event, moves)

    def events(self) -> list[dict[str, Any]]:
        """The moves since the last call, in clear."""
        events, self._events = self._events, []
        return events

    def samples(self, at: datetime) -> Iterator[Sample]:
        """The counters, once there was a look."""
        if self._born is None:
            return
        for changed, count in self._changes.items():
            yield counted(are.SESSION_CHANGES, (changed,), count, at, self._born)
        for hit in self._users:
            yield from from_zero(are.SESSION_MOVES, (hit.subject,), hit.count, at, hit.born, self._before)

    def to_json(self) -> dict[str, Any]:
        """For `saved`."""
        return {
            "sessions": self._sessions.to_json(),
            "users": self._users.to_json(),
            "changes": self._changes,
            "born": iso(self._born),
            "looked": iso(self._looked),
            "newest": iso(self._newest),
        }

    def _load(self, saved: Any) -> None:
        self._sessions.load(saved["sessions"])
        self._users.load(saved["users"])
        for changed in self._changes:
            self._changes[changed] = int(saved["changes"][changed])
        self._born, self._looked = time_of(saved["born"]), time_of(saved["looked"])
        self._newest = time_of(saved["newest"])


def _event(move: Move) -> dict[str, Any]:
    sight = move.sight
    return {
        "msg": "session moved", "action": f"session_moved ({move.changed})", "user_id": sight.user,
        "session_id": sight.id, "remote_addr": sight.address, "user_agent": sight.agent,
        "time": sight.at.astimezone(UTC).isoformat(),
    }  # fmt: skip
