"""What a drain missed, fetched from the Management API: Supabase tries no batch twice.

Every `interval` the API is asked for the time since it was asked last, up to a minute ago, and what did not come by the
drain is counted. So it does not matter whether the daemon was down, the spool was full or the network was cut. An event
is known by its id, and by its text where the two do not share ids: what came by the drain lies in the spool until its
time was compared, and what was fetched is remembered for an hour, in case the drain still brings it.

An answer without any row proves nothing: the next question reaches back to the same moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

from collectors.auth_logs.settings import Backfill as Settings
from collectors.auth_logs.sources.analytics import CAP, REACH, Analytics
from collectors.auth_logs.sources.source import Trouble
from collectors.auth_logs.sources.spool import digest, digest_of
from collectors.auth_logs.sources.window import Fetched, Microseconds, Row, microseconds
from tocsin.model import Seconds

LAG: Final[Microseconds] = 60_000_000
"""A batch may be on its way so long."""
_LATE: Final[Microseconds] = 3_600_000_000
"""How long what was fetched is remembered."""
_REMEMBERED: Final = 50_000

Heard = Callable[[], Awaitable[set[bytes]]]


class Backfill:
    """What is fetched for one drain."""

    def __init__(self, settings: Settings, *, saved: Any, deadline: Seconds) -> None:
        """`saved`: what `to_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        self._api = Analytics(settings, deadline=deadline)
        self._interval = round(settings.interval * 1e6)
        self._overlap = round(settings.overlap * 1e6)
        self.upto: Microseconds | None = int(saved["upto"]) if saved is not None else None
        """All that was logged before was compared; None: nothing yet."""
        self._floor: Microseconds = int(saved["floor"]) if saved is not None else 0
        """What is older was there before the first comparison, or can't be compared: it is not fetched."""
        self._fetched: dict[bytes, Microseconds] = {}
        """The hashes of ids and lines that were fetched, and when they were logged."""
        if saved is not None:
            self._fetched = {str(key).encode(): int(at) for key, at in saved["fetched"]}
        self.why = ""
        """Why it can't be compared now; empty: it can."""
        self._due: Microseconds = 0
        self._begin: Microseconds | None = None
        """Where the next page of a comparison that is under way begins."""
        self._end: Microseconds = 0
        self._heard: set[bytes] = set()
        self._lost = 0

    def came_late(self, id: bytes, line: bytes) -> bool:
        """True for an event of the drain's that was fetched before it came. `id`: its hash."""
        return bool(self._fetched) and (id in self._fetched or digest_of(line) in self._fetched)

    @property
    def settled(self) -> Seconds:
        """What came by the drain before this moment (since the epoch) need not lie in the spool any more."""
        return (self.upto - self._overlap - LAG) / 1e6 if self.upto is not None else 0.0

    def give_up(self, upto: Seconds) -> int:
        """The spool had no room for what came until then: it can't be compared any more. Returns the gaps: 1 or 0."""
        # Somewhat later, for their clock is not ours: rather lost than counted twice.
        moment = round(upto * 1e6) + LAG
        if self.upto is None or moment <= self.upto:
            return 0
        self.upto = self._floor = moment
        self._begin = None
        return 1

    async def read(self, at: datetime, heard: Heard) -> Fetched | None:
        """The next page, when one is due. Changes nothing that is saved."""
        now = microseconds(at)
        if self.upto is None:
            # What was before is history, as it is for the drain.
            self.upto = self._floor = now
        if self._begin is None and not await self._set_out(now, heard):
            return None
        assert self._begin is not None
        try:
            rows = await self._api.page(self._begin, self._end)
        except Trouble as error:
            self.why = f"what the drain missed is not known: {error}"
            self._due, self._begin = now + self._interval, None
            return None
        self.why = ""
        if not rows:
            # No telling whether nothing was logged or it can't answer.
            self._due, self._begin = now + self._interval, None
            return None
        full, last = len(rows) >= CAP, rows[-1].at
        stuck = full and last <= self._begin
        self._lost, lost = 0, self._lost
        return Fetched(
            missing=self._missing(rows), gaps=lost + int(stuck), end=self._end,
            next=last + 1_000_000 if stuck else last if full else None,
        )  # fmt: skip

    async def _set_out(self, now: Microseconds, heard: Heard) -> bool:
        """Begin a comparison; False: none is due."""
        assert self.upto is not None
        if now < self._due or now - LAG <= self.upto:
            return False
        oldest = now - REACH
        self._lost = int(self.upto < oldest)
        self._heard = await heard()
        self._begin, self._end = max(self.upto - self._overlap, oldest), now - LAG
        return True

    def _missing(self, rows: Sequence[Row]) -> dict[bytes, tuple[bytes, Microseconds]]:
        missing: dict[bytes, tuple[bytes, Microseconds]] = {}
        for row in rows:
            # As the drain keeps it: what is no JSON object is none of Auth's lines.
            line = row.line.replace(b"\r", b" ").strip()
            id, text = digest(row.id), digest_of(line)
            known = any(key in self._heard or key in self._fetched for key in (id, text))
            if row.at >= self._floor and line.startswith(b"{") and not known:
                missing.setdefault(id, (line, row.at))
        return missing

    def commit(self, page: Fetched) -> None:
        """Its lines were counted."""
        for id, (line, at) in page.missing.items():
            self._fetched[id] = self._fetched[digest_of(line)] = at
        self._begin = page.next
        if page.next is None:
            self.upto, self._due = page.end, page.end + LAG + self._interval
            self._heard = set()
        kept = {key: at for key, at in self._fetched.items() if at >= page.end - _LATE}
        self._fetched = dict(sorted(kept.items(), key=lambda item: item[1])[-_REMEMBERED:])

    def to_json(self) -> Any:
        """For `saved`; None: there is nothing to go on from."""
        if self.upto is None:
            return None
        fetched = [[key.decode(), at] for key, at in self._fetched.items()]
        return {"upto": self.upto, "floor": self._floor, "fetched": fetched}

    async def close(self) -> None:
        """Release the connection."""
        await self._api.close()
