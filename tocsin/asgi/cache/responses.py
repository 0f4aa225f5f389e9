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

from tocsin.asgi.cache.rules import KEPT, Rule, key_of, lasts_of
from tocsin.asgi.cache.store import Away, Codec, Entry, Lease
from tocsin.asgi.call import App, Message, Receive, Scope, Send, call_of
from tocsin.asgi.routes import ROUTE_KEY
from tocsin.model import Seconds

if TYPE_CHECKING:
    from tocsin.asgi.cache.functions import Cache

_OVERHEAD: Final = 500
"""Bytes of an entry beside its body, about."""


@dataclass(slots=True)
class _Answer:
    """A response, and the template of the route that gave it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    route: str = ""


@dataclass(slots=True)
class _Taping:
    """`send`, with a copy of what passes for as long as it may be kept."""

    send: Send
    rule: Rule
    owned: bool
    most: int
    answer: _Answer | None = None
    lasts: Seconds = 0.0
    whole: bool = False
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.lasts = lasts_of(self.rule, message["status"], message.get("headers", ()), owned=self.owned)
            if self.lasts > 0:
                self.answer = _Answer(message["status"], [(bytes(k), bytes(v)) for k, v in message.get("headers", ())])
        elif self.answer is not None:
            self._size += len(message.get("body", b""))
            if kind != "http.response.body" or self._size > self.most:
                self.answer = None  # a file that the server sends, trailers, or more than is kept of one answer
                self._parts.clear()
            else:
                self._parts.append(bytes(message.get("body", b"")))
                self.whole = not message.get("more_body", False)
                if self.whole:
                    self.answer.body = b"".join(self._parts)
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
        self._flights: dict[Hashable, asyncio.Future[Entry | None]] = {}
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
        tags = rule.tags_of(scope)
        while True:
            missed = "miss"
            try:
                entry = (await self._cache.store.find(key, tags, ANSWER)).entry
            except Away as away:
                entry, missed = None, away.outcome
            if entry is not None:
                fresh = self._cache.now() < entry.until
                self._count(name, "hit" if fresh else "stale")
                if not fresh:
                    self._refresh(key, scope, rule, owned)
                await self._replay(entry, scope, send)
                return
            flight = self._flights.get(key)
            if flight is None:
                await self._lead(key, scope, receive, send, rule, owned, name, missed)
                return
            entry = await asyncio.shield(flight)
            if entry is not None:
                self._count(name, "joined")
                await self._replay(entry, scope, send)
                return
            # Whoever was in front got nothing that can be kept: the next one leads.

    def _rule(self, scope: Scope) -> tuple[str, Rule | None]:
        if scope["type"] != "http" or scope["method"] != "GET":
            return "", None
        path: str = scope["path"]
        if path in self._exact:
            return path, self._exact[path]
        return next(((name, rule) for name, rule in self._below if path.startswith(name[:-1])), ("", None))

    async def _lead(
        self, key: Hashable, scope: Scope, receive: Receive, send: Send, rule: Rule, owned: bool, name: str, missed: str
    ) -> None:
        """Do the work; those who wait get what can be kept of it, also when this asker goes away."""
        flight: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        entry: Entry | None = None
        try:
            led = await self._cache.store.lead(key, rule.tags_of(scope), ANSWER)
            if isinstance(led, Entry):
                entry = led  # of another process, which was at it
                self._count(name, "joined")
                await self._replay(entry, scope, send)
            elif led is not None:
                self._count(name, missed)
                entry = await self._made(key, led, scope, receive, send, rule, owned)
        finally:
            del self._flights[key]
            flight.set_result(entry)

    async def _made(
        self, key: Hashable, lease: Lease, scope: Scope, receive: Receive, send: Send, rule: Rule, owned: bool
    ) -> Entry | None:
        try:
            return await self._worked(key, lease, scope, receive, send, rule, owned)
        finally:
            await self._cache.store.end(key, lease)

    async def _worked(
        self, key: Hashable, lease: Lease, scope: Scope, receive: Receive, send: Send, rule: Rule, owned: bool
    ) -> Entry | None:
        taping = _Taping(send, rule, owned, self._cache.most_of_one)
        await self._app(scope, receive, taping)
        if taping.answer is None or not taping.whole:
            return None
        call = call_of(scope)
        taping.answer.route = call.route if call is not None else ""
        now = self._cache.now()
        entry = Entry(
            value=taping.answer,
            size=_OVERHEAD + len(taping.answer.body),
            made=now,
            until=now + taping.lasts,
            stale_until=now + taping.lasts + (rule.stale if taping.answer.status in KEPT else 0),
            tags=lease.generations,
        )
        # Void already: those who asked before the change may have it, nobody after.
        return entry if await self._cache.store.keep(key, entry, ANSWER) else None

    def _refresh(self, key: Hashable, scope: Scope, rule: Rule, owned: bool) -> None:
        if key in self._refreshing:
            return
        # A request of its own, which the layers further out don't know: the asker has their answer.
        again = {name: value for name, value in scope.items() if not name.startswith("tocsin.") or name in _CARRIED}
        again["state"] = dict(scope.get("state") or {})
        task = asyncio.create_task(self._refreshed(key, again, rule, owned), name="tocsin.cache.refresh")
        self._refreshing[key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(key, None))

    async def _refreshed(self, key: Hashable, scope: Scope, rule: Rule, owned: bool) -> None:
        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("nobody disconnects")

        async def nobody(message: Message) -> None:
            """The answer is for the cache."""

        try:
            led = await self._cache.store.lead(key, rule.tags_of(scope), ANSWER, patience=0.0)
            if isinstance(led, Lease):
                await self._made(key, led, scope, receive, nobody, rule, owned)
        except Exception as error:  # noqa: BLE001 (the stale answer stands until it is too old; then an asker sees it)
            self._cache.refresh_failed(error)

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
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._cache.close()


def _packed(answer: _Answer) -> bytes:
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers]
    return orjson.dumps([answer.status, headers, answer.route]) + b"\n" + answer.body


def _unpacked(data: bytes) -> _Answer:
    head, _, body = data.partition(b"\n")
    status, headers, route = orjson.loads(head)
    return _Answer(status, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers], body, route)


ANSWER: Final = Codec(pack=_packed, unpack=_unpacked)
_CARRIED: Final = frozenset({"tocsin.admitted"})
"""Who asks stays who asks."""
