"""Supabase's Management API: one project's log, asked for in pages.

GET {base_url}/v1/projects/{ref}/analytics/endpoints/logs?sql=&iso_timestamp_start=&iso_timestamp_end=. Both times are
passed and lie within 24 h. An answer has at most 1,000 rows, oldest first. Documentation and changelog differ on the
column's name (source, source_name): both are tried.

Source: supabase/supabase, docs on advanced log filtering, and the Management API's reference.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any, Final

import aiohttp
import orjson

from collectors.auth_logs.settings import ManagementApi
from collectors.auth_logs.sources.source import Trouble
from collectors.auth_logs.sources.window import Microseconds, Row, iso, microseconds
from tocsin.model import Seconds, since
from tocsin.ports import secret_text

CAP: Final = 1000
REACH: Final[Microseconds] = (86_400 - 60) * 1_000_000
"""How far back a question may reach: a minute less than 24 h."""
_COLUMNS: Final = ("source", "source_name")
_WAIT: Final[Seconds] = 60.0
"""After a 429 that does not say how long."""
_MOST_BYTES: Final = 64 << 20


class _BadQuery(Exception):
    """The server did not understand the SQL."""


class Analytics:
    """Asks one project's log."""

    def __init__(self, settings: ManagementApi, *, deadline: Seconds) -> None:
        self._settings = settings
        self.url = f"{settings.base_url.rstrip('/')}/v1/projects/{settings.project}/analytics/endpoints/logs"
        self._deadline = deadline
        self._columns = list(_COLUMNS)
        """The one that worked comes first."""
        self._session: aiohttp.ClientSession | None = None
        self._not_before: Seconds = 0.0
        """By the loop's clock: the server asked us to wait."""

    async def close(self) -> None:
        """Release the connection."""
        if self._session is not None:
            await self._session.close()

    async def page(self, begin: Microseconds, end: Microseconds, *, newest: bool = False) -> list[Row]:
        """At most a page of rows. Raises Trouble."""
        wrong = ""
        empty = False
        for column in list(self._columns):
            try:
                rows = _rows(await self._ask(_sql(column, newest=newest), begin, end))
            except _BadQuery as error:
                wrong = str(error)
                continue
            if rows:
                self._columns.remove(column)
                self._columns.insert(0, column)
                return rows
            empty = True
        if empty:
            return []
        raise Trouble(f"{self.url} does not understand our query: {wrong}")

    async def _ask(self, sql: str, begin: Microseconds, end: Microseconds) -> Any:
        loop = asyncio.get_running_loop()
        if (left := self._not_before - loop.time()) > 0:
            raise Trouble(f"{self.url} asked us to wait; {left:.0f}s are left. Raise this collector's interval")
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        asked = {"sql": sql, "iso_timestamp_start": iso(begin), "iso_timestamp_end": iso(end)}
        headers = {
            "authorization": f"Bearer {secret_text(self._settings.token)}", "user-agent": "tocsin-auth-logs",
            "accept": "application/json",
        }  # fmt: skip
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._session.get(self.url, params=asked, headers=headers, allow_redirects=False) as response,
            ):
                told = response.headers.get("retry-after", "")
                # An overloaded or closed server says it too, where it can.
                if response.status == 429 or (response.status >= 500 and told):
                    wait = _retry_after(told, response.headers.get("date", ""))
                    self._not_before = loop.time() + wait
                    raise Trouble(f"{self.url} answered {response.status}: it asks us to wait {wait:.0f}s")
                body = bytearray()
                async for part in response.content.iter_chunked(65_536):
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise Trouble(f"{self.url} answered with more than {_MOST_BYTES >> 20} MiB")
        except TimeoutError:
            raise Trouble(f"{self.url} gave no whole answer within {self._deadline:g}s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Trouble(f"{self.url}: {str(error) or type(error).__name__}") from None
        return self._understood(response.status, bytes(body))

    def _understood(self, status: int, body: bytes) -> Any:
        """The answer's `result`. Raises Trouble and _BadQuery."""
        try:
            told = orjson.loads(body)
        except orjson.JSONDecodeError:
            told = None
        if status in (401, 403):
            raise Trouble(
                f"{self.url} answered {status}: source.management_api.token is not valid, or may not read this "
                "project's logs; make one at https://supabase.com/dashboard/account/tokens"
            )
        if status == 404:
            raise Trouble(f"{self.url} answered 404; check source.management_api.project")
        error = told.get("error") or told.get("message") if isinstance(told, dict) else None
        if status == 400 or (status < 300 and error):
            raise _BadQuery(str(error)[:300])
        if status >= 300 or not isinstance(told, dict) or not isinstance(told.get("result"), list):
            what = f"{status}{f' ({str(error)[:200]})' if error else ''}" if status != 200 else "no list of rows"
            raise Trouble(f"{self.url} answered {what}")
        return told["result"]


def _sql(column: str, *, newest: bool) -> str:
    order = "desc limit 1" if newest else f"limit {CAP}"
    return (
        f"select id, timestamp, event_message from logs where {column} in ('auth_logs', 'auth_audit_logs') "  # noqa: S608 (of our own words)
        f"order by timestamp {order}"
    )


def _rows(result: list[Any]) -> list[Row]:
    """Raises Trouble for rows that bear no time."""
    rows = []
    for each in result:
        try:
            at, line = _time(each["timestamp"]), str(each["event_message"]).replace("\n", " ")
            rows.append(Row(str(each.get("id") or f"{at} {line}"), at, line.encode("utf-8", "replace")))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Trouble(f"a row of the answer has no id, timestamp and event_message: {str(each)[:100]}") from None
    # Oldest first is asked for; audit lines come before their request's then.
    return rows if all(a.at <= b.at for a, b in pairwise(rows)) else sorted(rows, key=lambda row: row.at)


def _time(value: Any) -> Microseconds:
    if isinstance(value, int | float):
        return round(value)
    at = datetime.fromisoformat(value)
    return microseconds(at if at.tzinfo else at.replace(tzinfo=UTC))


def _retry_after(text: str, date: str) -> Seconds:
    """Seconds, or a date that is compared with the server's own."""
    if text.isdigit():
        return float(min(int(text), 3600))
    try:
        wait = since(parsedate_to_datetime(date), parsedate_to_datetime(text)).total_seconds()
    except (ValueError, TypeError):
        return _WAIT
    return min(max(wait, 1.0), 3600.0)
