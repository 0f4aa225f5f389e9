"""The stand-in Supabase Management API: its endpoint for logs, and what can go wrong with it.

    async with FakeManagement() as api:
        api.add(b'{"status":400,…}', at=datetime(…))
        …GET f"{api.url}/v1/projects/{api.project}/analytics/endpoints/logs?sql=…" with Authorization: Bearer api.token

It understands the SQL that is asked of it as far as the column's name, the order and the limit. Times are microseconds.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

from aiohttp import web

CAP: Final = 1000
"""Rows of one answer."""
LONGEST: Final = timedelta(hours=24)


class LogFault(StrEnum):
    """How one call goes wrong."""

    EMPTY = "empty"
    """200 without rows, though there are some (supabase#49705)."""
    LIMITED = "limited"
    """429 with Retry-After."""
    LIMITED_UNTIL = "limited_until"
    """429 with Retry-After as a date."""
    CLOSED = "closed"
    """503 with Retry-After."""
    BROKEN = "broken"
    """502 with a page."""
    ERROR = "error"
    """200 with an error instead of a result."""
    NO_LIST = "no_list"
    NO_TIME = "no_time"
    TWICE = "twice"
    """Each row stands twice."""
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True)
class _Event:
    id: str
    at: datetime
    text: str
    visible_from: datetime


@dataclass
class FakeManagement:
    """One project's logs on a loopback port, while its `async with` block runs."""

    project: str = "abcdefghijklmnop"
    token: str = "sbp_stand-in"
    column: str = "source"
    """What the logs' table calls the column: source or source_name."""
    retry_after: int = 30
    url: str = ""
    faults: deque[LogFault] = field(default_factory=deque)
    """Of the next calls, in order."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The parameters of each call."""
    _events: list[_Event] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    def add(self, *lines: bytes, at: datetime, id: str = "", visible_from: datetime | None = None) -> None:
        """Events of this time. `visible_from`: a question whose end is earlier doesn't see them: they come late."""
        for line in lines:
            seen = visible_from or at
            self._events.append(_Event(id or str(uuid.uuid4()), at, line.decode(), seen))

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/projects/{ref}/analytics/endpoints/logs", self._logs)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "JWT could not be decoded"}, status=401)
        if request.match_info["ref"] != self.project:
            return web.json_response({"message": "Resource has been removed"}, status=404)
        fault = self.faults.popleft() if self.faults else None
        if (answer := await self._failed(request, fault)) is not None:
            return answer
        try:
            begin, end = (datetime.fromisoformat(request.query[f"iso_timestamp_{each}"]) for each in ("start", "end"))
        except (KeyError, ValueError) as error:
            return web.json_response({"message": f"iso_timestamp: {error}"}, status=400)
        if end - begin > LONGEST:
            return web.json_response({"message": "The time range must be within 24 hours"}, status=400)
        sql = request.query.get("sql", "").lower()
        if "*" in sql or not re.search(rf"\bwhere {self.column}\b", sql):
            return web.json_response({"message": "Code: 47. DB::Exception: Unknown identifier"}, status=400)
        rows = self._rows(sql, begin, end)
        return web.json_response({"result": rows * 2 if fault is LogFault.TWICE else rows})

    def _rows(self, sql: str, begin: datetime, end: datetime) -> list[dict[str, Any]]:
        found = [event for event in self._events if begin <= event.at <= end and event.visible_from <= end]
        found.sort(key=lambda event: event.at, reverse=" desc" in sql)
        limit = re.search(r"\blimit (\d+)", sql)
        most = min(CAP, int(limit[1]) if limit else CAP)
        return [
            {"id": event.id, "timestamp": round(event.at.timestamp() * 1e6), "event_message": event.text}
            for event in found[:most]
        ]

    async def _failed(self, request: web.Request, fault: LogFault | None) -> web.StreamResponse | None:
        match fault:
            case LogFault.EMPTY:
                return web.json_response({"result": []})
            case LogFault.LIMITED:
                return web.json_response({}, status=429, headers={"Retry-After": str(self.retry_after)})
            case LogFault.CLOSED:
                return web.Response(status=503, headers={"Retry-After": str(self.retry_after)})
            case LogFault.LIMITED_UNTIL:
                headers = {"Retry-After": "Thu, 20 Aug 2026 09:01:00 GMT", "Date": "Thu, 20 Aug 2026 09:00:00 GMT"}
                return web.json_response({}, status=429, headers=headers)
            case LogFault.BROKEN:
                return web.Response(status=502, text="<html>Bad gateway</html>")
            case LogFault.ERROR:
                return web.json_response({"error": {"code": 502, "message": "backend error"}})
            case LogFault.NO_LIST:
                return web.json_response({"result": None})
            case LogFault.NO_TIME:
                return web.json_response({"result": [{"event_message": "x"}]})
            case LogFault.RESET:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case LogFault.HANG:
                await asyncio.sleep(3600)
        return None
