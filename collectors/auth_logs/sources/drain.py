"""Supabase's log drain: batches that are posted to /ingest/auth-logs, kept in a spool, and read from there.

A batch is an array of at most 250 events, `{"event_message", "id", "timestamp", "metadata"}`; the line is
`event_message`. A drain sends the logs of every service: what is no JSON object is none of Auth's and is left out.
The sender waits 5 s and tries no batch twice, so a batch is answered as soon as it is on the disk.

Source: Logflare's webhook backend.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from collectors.auth_logs.settings import AuthLogsSettings
from collectors.auth_logs.sources.file import FileSource
from collectors.auth_logs.sources.source import Batch
from collectors.auth_logs.sources.spool import ID, NAME, Spool, heard, line_of, old_files
from collectors.auth_logs.sources.window import Fetched
from tocsin.model import Seconds
from tocsin.ports import secret_text

if TYPE_CHECKING:
    from collectors.auth_logs.sources.backfill import Backfill  # without it no client for HTTP is loaded

MOST_EVENTS: Final = 1000
"""Four times of what Supabase sends."""


class DrainInlet:
    """Takes batches in, for one collector."""

    address = "auth-logs"

    def __init__(self, settings: AuthLogsSettings, folder: Path) -> None:
        drain = settings.source.drain
        assert drain is not None
        self.name = settings.name
        self._secret = secret_text(drain.secret).encode()
        self._spool = Spool(folder / settings.spool, most_bytes=drain.spool_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"auth-drain-{settings.name}")

    def admits(self, secret: str) -> bool:
        """True for the secret of this collector's drain."""
        return bool(self._secret) and hmac.compare_digest(self._secret, secret.encode("utf-8", "surrogatepass"))

    async def take(self, body: bytes) -> Mapping[str, int]:
        """Keep a batch; on the disk when it returns. Raises ValueError that says what is wrong with it, and OSError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._take, body)

    def _take(self, body: bytes) -> Mapping[str, int]:
        events = _events(body)
        kept = [(id, line) for id, line in (_read(event) for event in events) if line]
        accepted, known = self._spool.add(kept)
        return {"accepted": accepted, "duplicates": known, "ignored": len(events) - len(kept)}

    async def close(self) -> None:
        """What is under way is kept first."""
        await asyncio.to_thread(self._thread.shutdown)
        self._spool.close()


def inlet_of(settings: AuthLogsSettings, folder: Path) -> DrainInlet | None:
    """Where the collector's events come in; None for one that fetches them itself."""
    return DrainInlet(settings, folder) if settings.source.drain is not None else None


def _events(body: bytes) -> Sequence[dict[str, Any]]:
    try:
        events = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if type(events) is not list:
        raise ValueError("the body must be an array of events, as a Supabase log drain sends it")
    if len(events) > MOST_EVENTS:
        raise ValueError(f"there are {len(events)} events; at most {MOST_EVENTS} are taken at once")
    for index, event in enumerate(events):
        if type(event) is not dict:
            raise ValueError(f"event {index} is not an object with event_message, id and timestamp")
    return events


def _read(event: dict[str, Any]) -> tuple[str, bytes]:
    """(id, log line; empty: it is none of Auth's)."""
    line = b"".join(_lines(event))
    id = event.get("id")
    # Without an id two equal events of one time are one.
    return id if type(id) is str and id else f"{event.get('timestamp')} {line!r}", line


def _lines(event: dict[str, Any]) -> Iterator[bytes]:
    message, fields = event.get("event_message"), event.get("metadata")
    if type(message) is str and message.lstrip().startswith("{"):
        # In JSON a line break is a space or is escaped.
        yield message.replace("\n", " ").replace("\r", " ").strip().encode()
        return
    fields = fields[0] if type(fields) is list and fields else fields
    if type(fields) is dict and ("status" in fields or "auth_audit_event" in fields) and "msg" in fields:
        yield orjson.dumps(fields)


class DrainSource(FileSource):
    """Reads the spool in `folder`, and what `backfill` fetches."""

    def __init__(
        self, folder: Path, *, saved: dict[str, Any] | None, max_line: int, job: str, most_bytes: int,
        backfill: Backfill | None = None,
    ) -> None:  # fmt: skip
        super().__init__(folder / NAME, saved=saved, from_end=False, max_line=max_line, job=job)
        self._folder = folder
        self._most = most_bytes
        self._backfill = backfill
        if backfill is not None:
            self.not_told = frozenset()
        self._started = False
        self._at: datetime | None = None

    async def look(self, at: datetime) -> tuple[int, str]:
        self._at = at
        return await super().look(at)

    def _look(self, at: datetime) -> tuple[int, OSError | None]:
        # Before looking: a file that is let go of in this look is still in the saved position.
        gaps = 0
        with suppress(OSError):
            for path, stat in old_files(self._folder, at.timestamp()):
                identity = (stat.st_dev, stat.st_ino)
                if self._started and not self._follower.holds(identity) and not self._follower.unread():
                    gaps += self._let_go(path, stat.st_mtime)
        self._started = True
        found, trouble = super()._look(at)
        return gaps + found, trouble

    def _let_go(self, path: Path, written: Seconds) -> int:
        """Delete what was counted, once it was compared too; 1 when there was no room to wait for that."""
        gap = 0
        if self._backfill is not None and written >= self._backfill.settled:
            if sum(other.stat().st_size for other in self._folder.glob(f"{NAME}*")) < self._most / 2:
                return 0
            gap = self._backfill.give_up(written)
        path.unlink()
        return gap

    async def read(self) -> Batch | None:
        if (batch := await super().read()) is not None or self._backfill is None or self._at is None:
            return batch
        page = await self._backfill.read(self._at, lambda: self._blocking(lambda: heard(self._folder)))
        if page is None:
            return None
        lines = page.lines
        return Batch(lines=lines, size=sum(map(len, lines)), gaps=page.gaps, late=len(lines), after=page)

    def commit(self, batch: Batch) -> None:
        if self._backfill is not None and isinstance(batch.after, Fetched):
            self._backfill.commit(batch.after)
        else:
            super().commit(batch)

    def _lines(self, lines: Sequence[bytes]) -> tuple[Sequence[bytes], Mapping[str, bytes]]:
        fetched = self._backfill
        rows = [(row[:ID], line_of(row)) for row in lines]
        return [line for id, line in rows if fetched is None or not fetched.came_late(id, line)], {}

    @property
    def beside(self) -> str:
        return self._backfill.why if self._backfill is not None else ""

    def to_json(self) -> Any:
        fetched = self._backfill.to_json() if self._backfill is not None else None
        return {**super().to_json(), **({"backfill": fetched} if fetched is not None else {})}

    async def close(self) -> None:
        if self._backfill is not None:
            await self._backfill.close()
        await super().close()

    def _what_to_do(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            return (
                "no batch has arrived yet: in Supabase, add a log drain (generic HTTP endpoint) to "
                "https://…/ingest/auth-logs with the header X-Tocsin-Secret"
            )
        return super()._what_to_do(error)
