"""The list in a process' memory: as quick as a dictionary, and never more than two seconds behind.

    younger than `ttl` (1 s)      used
    older, or a change was told   the stored version is asked, the list read if it moved; `deadline` (0.5 s) at most
    the store does not answer     the last list for `stale_for`, then Unavailable (503)

So a removal bites within ttl + deadline in every process, and at once where Postgres tells of it (see listen). An
entry's expiry needs no reading at all. A purge of signing keys comes the same way (`on_purge`). A break-glass address
is an admin whatever the list says, and when there is no list: for the day on which the list is the problem. It is set
on the host and said in the log whenever it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from tocsin.access.allowlist.address import BadAddress, parse_address, parse_typed
from tocsin.access.allowlist.entry import Entry, Role
from tocsin.access.allowlist.roll import Listed, Roll, Ruling
from tocsin.access.verdicts import Reason, Unavailable
from tocsin.errors import StateError
from tocsin.model import Seconds

SEEN_EVERY: Final = timedelta(minutes=15)
"""`last_seen_at` is this coarse: coming in must not cost a write."""

log = structlog.get_logger(__name__)


class Shelf(Protocol):
    """Where the list is stored. All methods raise StateError."""

    async def version(self) -> int:
        """Another number after each change of the list."""

    async def load(self) -> Listed:
        """The whole list."""

    async def seen(self, when: Mapping[str, datetime]) -> None:
        """Note when entries, by value, last let somebody in."""


class Roster:
    """Rulings from memory."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        ttl: Seconds = 1.0,
        stale_for: Seconds = 60.0,
        deadline: Seconds = 0.5,
        break_glass: Iterable[str] = (),
    ) -> None:
        """Raises ValueError when a removal could take over two seconds, or a break-glass address is none."""
        if ttl + deadline > 2.0:
            raise ValueError("ttl and deadline together are at most 2 s: a removal bites within that")
        self._shelf = shelf
        self._ttl, self._stale_for = timedelta(seconds=ttl), timedelta(seconds=stale_for)
        self._deadline = deadline
        self._break_glass = frozenset(parse_typed(address).text for address in break_glass)
        self._roll: Roll | None = None
        self._checked: datetime | None = None
        """When the newest good look at the store began."""
        self._failed: datetime | None = None
        self._told = False
        """A change was announced since the newest look began."""
        self._looking: asyncio.Task[None] | None = None
        self._seen: dict[str, datetime] = {}
        """To be written."""
        self._last_seen: dict[str, datetime] = {}
        """What this process knows of entries since it read them."""
        self._noting: asyncio.Task[None] | None = None
        self.on_purge: Callable[[], None] = lambda: None
        """Called when the list says that signing keys are to be forgotten."""
        self.why = "the list was not read yet"
        """What the store said when it last failed."""

    async def ruling(self, email: str, now: datetime) -> Ruling | Unavailable:
        """What the list says of `email`; Unavailable when no list young enough is there."""
        for _ in range(2):  # a look that was under way may have begun before a change was told
            if not self._due(now):
                break
            await asyncio.shield(self._look(now))
        if self._break_glass and self._is_break_glass(email):
            log.warning("access.break_glass_used", address=email)
            return Ruling(allowed=True, because="break-glass address", address=email, role=Role.ADMIN)
        roll = self._usable(now)
        if roll is None:
            return Unavailable(reason=Reason.NO_LIST, because=self.why)
        found = roll.ruling(email, now)
        if found.entry is not None and found.allowed:
            self._saw(found.entry, now)
        return found

    def invalidate(self) -> None:
        """The list has changed: look before the next ruling."""
        self._told = True

    async def close(self) -> None:
        """Write down who was seen, and stop."""
        for task in (self._looking, self._noting):
            if task is not None:
                await asyncio.gather(task, return_exceptions=True)
        await self._note()

    def _saw(self, entry: Entry, now: datetime) -> None:
        last = self._last_seen.get(entry.value) or entry.last_seen_at
        if last is None or now - last >= SEEN_EVERY:
            self._seen[entry.value] = self._last_seen[entry.value] = now

    def _due(self, now: datetime) -> bool:
        if self._looking is not None:
            return self._checked is None or self._told or not self._young(now)
        if self._failed is not None and timedelta(0) <= now - self._failed < self._ttl:
            return False
        return self._told or not self._young(now)

    def _young(self, now: datetime) -> bool:
        return self._checked is not None and self._checked <= now < self._checked + self._ttl

    def _usable(self, now: datetime) -> Roll | None:
        if self._checked is None or now - self._checked > self._ttl + self._stale_for:
            return None
        return self._roll

    def _is_break_glass(self, email: str) -> bool:
        try:
            return parse_address(email).text in self._break_glass
        except BadAddress:
            return False

    def _look(self, now: datetime) -> asyncio.Task[None]:
        if self._looking is None:
            self._looking = asyncio.create_task(self._read(now))
            self._looking.add_done_callback(self._ended)
        return self._looking

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._looking = None

    async def _read(self, now: datetime) -> None:
        # What is announced from here on may have come after what is read.
        self._told = False
        try:
            async with asyncio.timeout(self._deadline):
                if self._roll is None or await self._shelf.version() != self._roll.listed.version:
                    self._install(Roll(await self._shelf.load()))
        except (StateError, TimeoutError) as error:
            self._told = True
            self._failed = now
            self.why = str(error) or f"the store did not answer within {self._deadline:g} s"
            log.warning("access.list_not_read", why=self.why, last_good=self._checked)
            return
        self._checked, self._failed = now, None
        if self._seen and self._noting is None:
            self._noting = asyncio.create_task(self._note())
            self._noting.add_done_callback(self._noted)

    def _install(self, roll: Roll) -> None:
        before, self._roll = self._roll, roll
        self._last_seen = dict(self._seen)
        if before is not None and before.listed.purges != roll.listed.purges:
            log.info("access.keys_purged", purges=roll.listed.purges)
            self.on_purge()

    def _noted(self, _: asyncio.Task[None]) -> None:
        self._noting = None

    async def _note(self) -> None:
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            await self._shelf.seen(seen)
        except StateError as error:
            log.warning("access.last_seen_not_noted", why=str(error))
