"""auth.audit_log_entries over SQL: what users and administrators did. Failed sign-ins are not in this table.

Each poll reads from `overlap` before the newest known row, for `created_at` is set before the row is committed; ids
tell what was counted. Reads are of a bounded number of rows and end at `query_deadline`.

Row security hides every row from a reader without BYPASSRLS and says nothing. An answer without rows is therefore
looked into (tables/shape.py).

Source: supabase/auth, migrations/00_init_auth_schema and 20240612123726 (row security).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from collectors.auth_logs import declarations as are
from collectors.auth_logs.database import Database
from collectors.auth_logs.settings import Sql
from collectors.auth_logs.sources.source import Batch, Trouble
from collectors.auth_logs.sources.window import Microseconds, Row, Window, microseconds
from collectors.auth_logs.tables.shape import probe

ROWS: Final = 1000
"""Of one read."""
_TABLE: Final = "auth.audit_log_entries"
_COLUMNS: Final = ("id", "created_at", "payload", "ip_address")
_WHEN_SLOW: Final = (
    "the table has no index on created_at and is never pruned by Auth; delete old rows, or raise "
    "source.sql.query_deadline"
)
_READ: Final = """
select id::text, created_at, payload::text, ip_address
from auth.audit_log_entries
where created_at >= %s and (created_at, id) > (%s, %s::uuid)
order by created_at, id
limit %s
"""
_ANY: Final = "select exists (select from auth.audit_log_entries)"
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Cursor = tuple[datetime, str]


class SqlSource:
    """Polls one table."""

    not_told = frozenset(
        name
        for metric in are.METRICS
        if metric not in (are.AUDIT_EVENTS, are.LINES, are.GAPS)
        for name in metric.series_names()
    )

    beside = ""

    def __init__(self, settings: Sql, *, saved: Any, from_end: bool, job: str) -> None:
        self.name = f"auth.audit_log_entries of {job}"
        self._from_end = from_end
        overlap = round(settings.overlap * 1e6)
        self._window = Window(floor=0, overlap=overlap, saved=saved) if saved is not None else None
        self._overlap = overlap
        self.database = Database(settings)
        self._next: Cursor | None = None
        """After which row the next read begins; None: all was read."""

    async def look(self, at: datetime) -> tuple[int, str]:
        if self._window is None:
            self._window = Window(floor=microseconds(at) if self._from_end else 0, overlap=self._overlap)
        self._next = (_EPOCH + timedelta(microseconds=self._window.begin), _FIRST_ID)
        return 0, ""

    async def read(self) -> Batch | None:
        window, after = self._window, self._next
        if window is None or after is None:
            return None
        found = await self.database.ask(_READ, (after[0], *after, ROWS), of=_TABLE, when_slow=_WHEN_SLOW)
        if not found and after[1] == _FIRST_ID:
            await self._look_why()
        rows = [_row(*each) for each in found]
        lines = [row.line for row in window.sift(rows)]
        full = len(found) >= ROWS
        return Batch(
            lines=lines, size=sum(map(len, lines)), after=(rows, (found[-1][1], found[-1][0]) if full else None)
        )

    def commit(self, batch: Batch) -> None:
        rows, self._next = batch.after
        assert self._window is not None
        self._window.take(rows)

    async def unread(self) -> None:
        return None

    async def signature(self) -> None:
        return None

    def to_json(self) -> Any:
        return self._window.to_json() if self._window is not None else None

    async def close(self) -> None:
        await self.database.close()

    async def _look_why(self) -> None:
        """No row of that time is visible. Raises Trouble when that is because we may not see any at all."""
        ((some,),) = await self.database.ask(_ANY, (), of=_TABLE, when_slow=_WHEN_SLOW)
        if some:
            return
        table = _TABLE.removeprefix("auth.")
        shape = await probe(self.database)
        if why := shape.trouble(table, _COLUMNS) or shape.hidden(table, 0, whole=True):
            raise Trouble(why)


def _row(id: str, at: datetime | None, payload: str | None, address: str) -> Row:
    """A row of the table as the line that Auth logs for it (since 2.177)."""
    try:
        event = orjson.loads(payload or "{}")
    except orjson.JSONDecodeError:
        event = {}
    when: Microseconds = microseconds(at) if at is not None else 0
    event = {**(event if isinstance(event, dict) else {}), "audit_log_id": id, "ip_address": address}
    line = {"msg": "audit_event", "auth_audit_event": event, "time": at.isoformat() if at is not None else ""}
    return Row(id, when, orjson.dumps(line))
