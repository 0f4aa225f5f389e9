"""A gate: the door of tocsin.access with what it needs opened and closed: keys, sessions, the allowlist.

    gate = Gate.from_supabase("https://ref.supabase.co", allowlist="allowlist.csv")
    await gate.start() … await gate.close()        # or at the first request, where a server runs no lifespan

Nothing is fetched before `start`. An allowlist that can't be read at the start stops the start, since nobody could come
in; one that can't be read later is used for a minute more, then requests are answered 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tocsin.access.allowlist import Listed, Roster, Shelf, entry_of
from tocsin.access.allowlist.csv_file import import_csv
from tocsin.access.door import Admitted, Door, Headers
from tocsin.access.jwt import JwksKeys, KeySource, SharedSecret, TokenPolicy, TokenVerifier
from tocsin.access.live import LiveSessions
from tocsin.access.verdicts import Reason, Refusal, Unavailable
from tocsin.errors import InputError, StateError, TocsinError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Gate:
    """A Door that opens itself. `admit` as tocsin.access.door.Admits."""

    def __init__(
        self,
        auth_url: str,
        *,
        allowlist: str | Path | Iterable[str] | Shelf,
        policy: TokenPolicy | None = None,
        jwt_secret: str = "",
        api_key: str = "",
        break_glass: Iterable[str] = (),
    ) -> None:
        """`auth_url` is the project's `…/auth/v1`. With `jwt_secret` (legacy HS256) no key is fetched; with `api_key`
        each session is asked of Supabase, so that sign-out and ban bite within seconds. Raises ValueError."""
        if not str(auth_url).startswith(("https://", "http://")):
            raise ValueError(f"Gate(auth_url): {auth_url!r} is no address: https://REF.supabase.co/auth/v1")
        if isinstance(break_glass, str):
            raise TypeError(f"Gate(break_glass=…) is a list of addresses: [{break_glass!r}]")
        if not allowlist or not (isinstance(allowlist, (str, Path, Iterable)) or _is_shelf(allowlist)):
            raise ValueError("Gate(allowlist=…) is a CSV file, a store's URL or a list of addresses that is not empty")
        self._auth_url = auth_url.rstrip("/")
        self._policy = policy or TokenPolicy(issuer=self._auth_url)
        self._secret = SharedSecret(jwt_secret) if jwt_secret else None
        self._api_key = api_key
        self._break_glass = tuple(break_glass)
        self._allowlist = allowlist if isinstance(allowlist, (str, Path)) or _is_shelf(allowlist) else Fixed(allowlist)  # type: ignore[arg-type]
        self._door: Door | None = None
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()

    @classmethod
    def from_supabase(cls, url: str, **options: Any) -> Self:
        """The gate of the project at `url` (https://REF.supabase.co)."""
        return cls(f"{url.rstrip('/')}/auth/v1", **options)

    def admit(self, headers: Headers, now: datetime) -> Coroutine[Any, Any, Admitted | Refusal]:
        """Who a request is from; Unavailable where the gate can't be opened."""
        door = self._door
        return self._opened(headers, now) if door is None else door.admit(headers, now)

    async def _opened(self, headers: Headers, now: datetime) -> Admitted | Refusal:
        try:
            await self.start()
        except (TocsinError, OSError) as error:
            return Unavailable(reason=Reason.NO_LIST, because=str(error))
        assert self._door is not None
        return await self._door.admit(headers, now)

    async def start(self) -> None:
        """Open the allowlist and read it. Raises InputError or StateError that says what to mend."""
        async with self._starting:
            if self._door is not None:
                return
            async with AsyncExitStack() as stack:
                shelf = await self._shelf(stack)
                await shelf.load()
                roster = Roster(shelf, break_glass=self._break_glass)
                stack.push_async_callback(roster.close)
                sources, live = await self._sources(stack)
                self._door = Door(TokenVerifier(sources, self._policy), roster, live=live)
                self._stack = stack.pop_all()

    async def close(self) -> None:
        """Write down who was seen, and close connections."""
        self._door = None
        await self._stack.aclose()

    async def _sources(self, stack: AsyncExitStack) -> tuple[Mapping[str, KeySource], LiveSessions | None]:
        if self._secret is not None and not self._api_key:
            return {"HS256": self._secret}, None
        import aiohttp

        session = await stack.enter_async_context(aiohttp.ClientSession())
        live = LiveSessions(self._auth_url, self._api_key, session) if self._api_key else None
        if self._secret is not None:
            return {"HS256": self._secret}, live
        keys = JwksKeys(f"{self._auth_url}/.well-known/jwks.json", session)
        return {"ES256": keys, "RS256": keys}, live

    async def _shelf(self, stack: AsyncExitStack) -> Shelf:
        given: Any = self._allowlist
        if _is_shelf(given):
            return given  # type: ignore[no-any-return]
        text = str(given)
        if "://" not in text:
            return CsvShelf(Path(text))
        from tocsin.state import State  # SQLAlchemy: for this source only
        from tocsin.state.allowlist import AllowlistTable

        # Never migrated from here: the store is the daemon's, which may be of another version.
        state = await State.open(text, migrate=False)
        stack.push_async_callback(state.close)
        return AllowlistTable(state)


class Fixed:
    """A list given in code. A Shelf."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError (BadAddress) for what is no address, domain or *.domain."""
        now = datetime.now(UTC)
        self._listed = Listed(entries=tuple(entry_of(text, now, by="code") for text in entries), version=1)

    async def version(self) -> int:
        """It never changes."""
        return 1

    async def load(self) -> Listed:
        """The list."""
        return self._listed

    async def seen(self, when: Mapping[str, datetime]) -> None:
        """Nobody reads it."""


class CsvShelf:
    """A CSV file, read again when it has changed. A Shelf.

    A file that has become bad keeps the list that was read last, as one that is gone does, for the roster's minute."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now

    async def version(self) -> int:
        """Of the file's time, size and inode."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise StateError(f"the allowlist can't be read: {error}; is the path right?") from None
        return hash((found.st_mtime_ns, found.st_size, found.st_ino))

    async def load(self) -> Listed:
        """The list as the file has it. Raises StateError that names the lines that are wrong."""
        version = await self.version()
        try:
            data = self._path.read_bytes()
            entries = import_csv(data, str(self._path), self._now(), by=self._path.name)
        except (InputError, OSError) as error:
            raise StateError(str(error)) from None
        return Listed(entries=entries, version=version)

    async def seen(self, when: Mapping[str, datetime]) -> None:
        """A file is not written to."""


def _is_shelf(given: Any) -> bool:
    return hasattr(given, "load") and hasattr(given, "version")
