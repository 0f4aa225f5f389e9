"""The Management API as source: the log as the dashboard's Logs Explorer has it.

A full answer is followed by another question that begins where it ended. An answer without any row is unknown and not
quiet: each question reaches back to the newest event that is known.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from collectors.auth_logs import declarations as are
from collectors.auth_logs.settings import ManagementApi
from collectors.auth_logs.sources.analytics import CAP, REACH, Analytics
from collectors.auth_logs.sources.source import Batch, Trouble
from collectors.auth_logs.sources.window import Microseconds, Window, microseconds
from tocsin.model import Seconds


class ManagementSource:
    """Polls one project's log."""

    not_told: frozenset[str] = frozenset({are.BACKFILLED.name})
    beside = ""

    def __init__(self, settings: ManagementApi, *, saved: Any, from_end: bool, deadline: Seconds) -> None:
        self.name = f"{settings.base_url} {settings.project}"
        self._api = Analytics(settings, deadline=deadline)
        self._project = settings.project
        self._from_end = from_end
        self._overlap = round(settings.overlap * 1e6)
        self._window = Window(floor=0, overlap=self._overlap, saved=saved) if saved is not None else None
        self._asked: Microseconds = int(saved["asked"]) if saved is not None else 0
        """When it answered last."""
        self._at: Microseconds = 0
        self._next: Microseconds | None = None
        """Where the next page begins; None: all was read."""

    async def look(self, at: datetime) -> tuple[int, str]:
        self._at = microseconds(at)
        oldest = self._at - REACH
        if self._window is None:
            self._window = Window(floor=self._at if self._from_end else oldest, overlap=self._overlap)
        self._next = max(self._window.begin, oldest)
        # Nobody asked for longer than can be asked for: what was logged in between is lost, and told once.
        lost = 0 < self._asked < self._next
        self._asked = self._next if lost else self._asked
        return int(lost), ""

    async def read(self) -> Batch | None:
        window, begin = self._window, self._next
        if window is None or begin is None:
            return None
        if window.newest is None:
            rows = await self._api.page(self._at - REACH, self._at, newest=True)
            self._asked = self._at
            if not rows:
                raise Trouble(
                    f"{self._api.url} has no row of the last 24 h: no telling whether nobody signed in or it can't "
                    f"answer; check source.management_api.project ({self._project}), and look at Auth's logs there"
                )
            if rows[0].at < window.floor:
                return Batch(after=(rows, None))
        rows = await self._api.page(begin, self._at)
        self._asked = self._at
        if not rows:
            raise Trouble(
                f"{self._api.url} answered without a single row for a time in which there were events: its backend is "
                "at fault, or nothing was logged for 24 h. What happened since is not known"
            )
        full, last = len(rows) >= CAP, max(row.at for row in rows)
        # A full page of one moment: what else was in it can't be asked for.
        stuck = full and last <= begin
        after = last + 1_000_000 if stuck else last if full else None
        lines = [row.line for row in window.sift(rows)]
        return Batch(lines=lines, size=sum(map(len, lines)), gaps=int(stuck), after=(rows, after))

    def commit(self, batch: Batch) -> None:
        rows, self._next = batch.after
        assert self._window is not None
        self._window.take(rows)

    async def unread(self) -> None:
        return None

    async def signature(self) -> None:
        return None

    def to_json(self) -> Any:
        return {**self._window.to_json(), "asked": self._asked} if self._window is not None else None

    async def close(self) -> None:
        await self._api.close()
