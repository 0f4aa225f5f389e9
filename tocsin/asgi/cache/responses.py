"""The layer that answers from the cache. It stands inside of access: it has to know who asks.

Kept are answers to GET with status 200, 203, 204 or 301, and 404 and 410 with `missing`; without Set-Cookie, without
Cache-Control no-store or no-cache (and private, where the route is shared), and with a Vary that names no header which
the key does not hold. An answer passes to its asker as it is made, whatever is kept of it: nothing is held back.

An answer from the cache has Age (https://www.rfc-editor.org/rfc/rfc9111#section-5.1) and Cache-Status
(https://www.rfc-editor.org/rfc/rfc9211).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from tocsin.asgi.cache.rules import Keeping, Rule, cookies_of, keeping_of, key_of
from tocsin.asgi.cache.store import Away, Codec, Entry, Lease
from tocsin.asgi.call import App, Message, Receive, Scope, Send, call_of
from tocsin.asgi.routes import ROUTE_KEY
from tocsin.model import Seconds

if TYPE_CHECKING:
    from tocsin.asgi.cache.functions import Cache

_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
_LONGEST_REFRESH: Final = 60.0
"""Seconds."""
_OVERHEAD: Final = 500
"""Bytes of an entry beside its body, about."""


@dataclass(slots=True)
class _Answer:
    """A response, and the template of the route that gave it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    route: str = ""
    cookies: str = ""
    """Of who may have it, where it is by cookie."""

    def size(self) -> int:
        """Bytes, about."""
        return _OVERHEAD + len(self.body) + sum(len(name) + len(value) + 100 for name, value in self.headers)


class _Flight:
    """An answer that is being made, and those who wait for it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        self._landed: asyncio.Future[Entry | None] = loop.create_future()

    def land(self, entry: Entry | None) -> None:
        """What can be given to others; None: nothing. The first word counts."""
        if not self._landed.done():
            self._landed.set_result(entry)

    def lost(self) -> None:
        """Whoever made it went away: the next one is to."""
        if not self._landed.done():
            self._landed.cancel()

    async def wait(self, patience: Seconds) -> Entry | None:
        """What it brings; None where that is nothing, or takes longer. Raises Lost."""
        left = self.began + patience - asyncio.get_running_loop().time()
        await asyncio.wait([self._landed], timeout=max(0.0, left))
        if self._landed.cancelled():
            raise _Lost
        return self._landed.result() if self._landed.done() else None


class _Lost(Exception):
    """Nobody is at it any more."""


@dataclass(slots=True)
class _Taping:
    """`send`, with a copy of what passes for as long as it may be kept."""

    send: Send
    rule: Rule
    owned: bool
    most: int
    whole: Callable[[_Answer, Keeping], None]
    """Told once all is there, before the last of it is sent: who reads slowly holds up nobody else."""
    nothing: Callable[[], None]
    """Told as soon as it is clear that nothing will be kept."""
    status: int = 0
    answer: _Answer | None = None
    _keeping: Keeping = field(default_factory=Keeping)
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status, headers = message["status"], message.get("headers", ())
            self._keeping = keeping_of(self.rule, self.status, headers, owned=self.owned)
            if self._keeping.lasts > 0 and not message.get("trailers"):
                self.answer = _Answer(self.status, [(bytes(name), bytes(value)) for name, value in headers])
            else:
                self.nothing()
        elif self.answer is not None:
            self._size += len(message.get("body", b""))
            if kind != "http.response.body" or self._size > self.most:
                self.answer = None  # a file that the server sends, or more than is kept of one answer
                self._parts.clear()
                self.nothing()
            else:
                self._parts.append(bytes(message.get("body", b"")))
                if not message.get("more_body", False):
                    self.answer.body = b"".join(self._parts)
                    self.whole(self.answer, self._keeping)
                    self.answer = None
        await self.send(message)


class Responses:
    """ASGI middleware. `rules` by path: exactly that path, or with `/*` at its end all below."""

    def __init__(self, app: App, cache: Cache, rules: Mapping[str, Rule], count: Callable[[str, str], None]) -> None:
        """`count(route, outcome)` is told of each request that a rule covers. Raises ValueError for a path that is
        none."""
        for path in rules:
            if not path.startswith("/") or "*" in path.removesuffix("/*"):
                raise ValueError(f"{path!r}: a cached path begins with /, and a * stands at its end, after a /")
        self._app, self._cache, self._count = app, cache, count
        self._exact = {path: rule for path, rule in rules.items() if not path.endswith("/*")}
        # The longest first: the more special rule speaks.
        self._below = sorted(((p, r) for p, r in rules.items() if p.endswith("/*")), key=lambda item: -len(item[0]))
        self._flights: dict[Hashable, _Flight] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._refreshing: dict[Hashable, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, rule = self._rule(scope)
        if rule is None:
            await self._app(scope, receive, send)
            return
        key, owned = key_of(scope, rule)
        if key is None:
            self._count(name, "bypass")
            await self._app(scope, receive, send)
            return
        asked = _Asked(key, name, rule, owned, rule.tags_of(scope))
        while True:
            missed = "miss"
            try:
                entry = (await self._cache.store.find(key, asked.tags, ANSWER)).entry
            except Away as away:
                entry, missed = None, away.outcome
            if entry is not None and _is_for(entry, scope):
                fresh = self._cache.now() < entry.until
                self._count(name, "hit" if fresh else "stale")
                if not fresh:
                    self._refresh(asked, scope)
                await self._replay(entry, scope, send)
                return
            # Whoever asks after a change waits for nothing that began before.
            place = (key, self._cache.changes.of(asked.tags))
            flight = self._flights.get(place)
            if flight is None:
                await self._lead(place, asked, missed, scope, receive, send)
                return
            try:
                entry = await flight.wait(self._cache.patience)
            except _Lost:
                continue
            if entry is not None and _is_for(entry, scope):
                self._count(name, "joined")
                await self._replay(entry, scope, send)
            else:
                # Nothing to share, or not in time: each for themselves now. One behind the other, the last of a
                # hundred would wait a hundred times as long.
                self._count(name, missed)
                await self._app(scope, receive, send)
            return

    def _rule(self, scope: Scope) -> tuple[str, Rule | None]:
        if scope["type"] != "http" or scope["method"] != "GET":
            return "", None
        path: str = scope["path"]
        if path in self._exact:
            return path, self._exact[path]
        return next(((name, rule) for name, rule in self._below if path.startswith(name[:-1])), ("", None))

    async def _lead(
        self, place: Hashable, asked: _Asked, missed: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Do the work; those who wait get what can be kept of it, also when this asker goes away."""
        flight = self._flights[place] = _Flight()

        def landed(entry: Entry | None) -> None:
            flight.land(entry)
            if self._flights.get(place) is flight:
                del self._flights[place]

        try:
            led = await self._cache.store.lead(asked.key, asked.tags, ANSWER)
            if isinstance(led, Entry) and _is_for(led, scope):
                landed(led)  # of another process, which was at it
                self._count(asked.name, "joined")
                await self._replay(led, scope, send)
            else:
                self._count(asked.name, missed)
                lease = led if isinstance(led, Lease) else None
                await self._made(asked, lease, scope, receive, send, landed)
        except asyncio.CancelledError:
            flight.lost()
            raise
        finally:
            landed(None)

    async def _made(
        self, asked: _Asked, lease: Lease | None, scope: Scope, receive: Receive, send: Send,
        landed: Callable[[Entry | None], None],
    ) -> int:  # fmt: skip
        """The application's answer, passed on, and kept where it may be; its status. `landed` is told once."""
        if lease is None:
            await self._app(scope, receive, send)
            return 0
        keeping: list[asyncio.Task[None]] = []

        def whole(answer: _Answer, how: Keeping) -> None:
            call = call_of(scope)
            answer.route = call.route if call is not None else ""
            answer.cookies = cookies_of(scope) if how.by_cookie else ""
            task = asyncio.create_task(self._keep(asked, lease, answer, how, landed), name="tocsin.cache.keep")
            keeping.append(task)
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)

        most = self._cache.most_of_one
        taping = _Taping(send, asked.rule, asked.owned, most, whole, lambda: landed(None))
        try:
            await self._app(scope, receive, taping)
        finally:
            if keeping:
                await asyncio.shield(keeping[0])
            else:
                await self._cache.store.end(asked.key, lease)
        return taping.status

    async def _keep(
        self, asked: _Asked, lease: Lease, answer: _Answer, how: Keeping, landed: Callable[[Entry | None], None]
    ) -> None:
        now = self._cache.now()
        until = now + how.lasts
        entry = Entry(
            value=answer, size=answer.size(), made=now, until=until, stale_until=until + how.stale,
            tags=lease.generations,
        )  # fmt: skip
        kept = False
        try:
            kept = await self._cache.store.keep(asked.key, entry, ANSWER)
        finally:
            # Void already: those who asked before the change may have it, nobody after.
            landed(entry if kept else None)
            await self._cache.store.end(asked.key, lease)

    def _refresh(self, asked: _Asked, scope: Scope) -> None:
        if asked.key in self._refreshing:
            return
        # A request of its own, which the layers further out don't know: the asker has their answer.
        again = {name: value for name, value in scope.items() if not name.startswith("tocsin.") or name in _CARRIED}
        again["state"] = dict(scope.get("state") or {})
        again["headers"] = [(name, value) for name, value in scope["headers"] if name not in _CONDITIONS]
        task = asyncio.create_task(self._refreshed(asked, again), name="tocsin.cache.refresh")
        self._refreshing[asked.key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(asked.key, None))

    async def _refreshed(self, asked: _Asked, scope: Scope) -> None:
        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("nobody disconnects")

        async def nobody(message: Message) -> None:
            """The answer is for the cache."""

        try:
            async with asyncio.timeout(_LONGEST_REFRESH):  # the layer that limits time is further out
                led = await self._cache.store.lead(asked.key, asked.tags, ANSWER, patience=0.0)
                if isinstance(led, Lease):
                    status = await self._made(asked, led, scope, receive, nobody, lambda entry: None)
                    if status >= 500:
                        self._cache.refresh_failed(asked.name, f"status {status}")
        except Exception as error:  # noqa: BLE001 (the stale answer stands until it is too old; then an asker sees it)
            self._cache.refresh_failed(asked.name, error)

    async def _replay(self, entry: Entry, scope: Scope, send: Send) -> None:
        answer: _Answer = entry.value
        if answer.route:
            scope.setdefault(ROUTE_KEY, answer.route)
        age = str(max(0, int(self._cache.now() - entry.made))).encode()
        headers = [*answer.headers, (b"age", age), (b"cache-status", b"tocsin; hit")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def close(self) -> None:
        """End what is being made for the cache."""
        tasks = list(self._refreshing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._keeping, return_exceptions=True)
        await self._cache.close()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that a rule covers."""

    key: Hashable
    name: str
    """The rule's path, for the counts."""
    rule: Rule
    owned: bool
    tags: tuple[str, ...]


def _is_for(entry: Entry, scope: Scope) -> bool:
    """Whether who asks sends the cookies that the answer was made for, where it is by cookie."""
    cookies: str = entry.value.cookies
    return not cookies or cookies == cookies_of(scope)


def _packed(answer: _Answer) -> bytes:
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers]
    return orjson.dumps([answer.status, headers, answer.route, answer.cookies]) + b"\n" + answer.body


def _unpacked(data: bytes) -> _Answer:
    head, _, body = data.partition(b"\n")
    status, headers, route, cookies = orjson.loads(head)
    if not (isinstance(status, int) and isinstance(route, str) and isinstance(cookies, str)):
        raise ValueError("no answer")
    named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return _Answer(status, named, body, route, cookies)


ANSWER: Final = Codec(pack=_packed, unpack=_unpacked)
_CARRIED: Final = frozenset({"tocsin.admitted"})
"""Who asks stays who asks."""
