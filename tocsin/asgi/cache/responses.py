"""The layer that answers from the cache. It stands inside of access: it has to know who asks.

Kept are answers to GET with status 200, 203, 204 or 301, and 404 and 410 with `missing`; without Set-Cookie, without
Cache-Control no-store or no-cache (and private, where the route is shared), and with a Vary that names no header which
the key does not hold. An answer passes to its asker as it is made, whatever is kept of it: nothing is held back.

An answer that the asker has already (If-None-Match, If-Modified-Since) is a 304, also where it was just made: the
application makes it for all, and is not told of the condition. HEAD is answered by what GET made, while that is fresh.
A request by another method that was answered below 400 makes void what is kept of its path.

An answer from the cache has Age (https://www.rfc-editor.org/rfc/rfc9111#section-5.1) and Cache-Status
(https://www.rfc-editor.org/rfc/rfc9211).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tocsin.asgi.cache.conditions import CONDITIONS, Conditional, is_unchanged, not_modified, without_conditions
from tocsin.asgi.cache.rules import Keeping, Rule, asked_with, cookies_of, key_of, path_tag
from tocsin.asgi.cache.store import LEFT_AFTER, Away, Entry, Lease
from tocsin.asgi.cache.taping import ANSWER, Answer, Flight, Lost, Taping
from tocsin.asgi.call import App, Message, Receive, Scope, Send, call_of
from tocsin.asgi.routes import ROUTE_KEY
from tocsin.tasks import end_tasks, within

if TYPE_CHECKING:
    from tocsin.asgi.cache.functions import Cache

_ANSWERED: Final = frozenset({"GET", "HEAD"})
_CHANGES_NOTHING: Final = frozenset({"OPTIONS", "TRACE"})
"""https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1"""
_LONGEST_REFRESH: Final = 60.0
"""Seconds."""


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
        self._flights: dict[Hashable, Flight] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._refreshing: dict[Hashable, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, rule = self._rule(scope)
        if rule is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in _ANSWERED:
            await self._changing(scope, receive, send)
            return
        key, owned = key_of(scope, rule)
        if key is None:
            await self._pass_by(name, scope, receive, send)
            return
        asked = _Asked(key, name, rule, owned, rule.tags_of(scope))
        while True:
            missed = "miss"
            try:
                entry = (await self._cache.store.find(key, asked.tags, ANSWER)).entry
            except Away as away:
                entry, missed = None, away.outcome
            if entry is not None and _is_for(entry, scope) and await self._given(entry, asked, scope, send):
                return
            if scope["method"] == "HEAD" or "no-store" in asked_with(scope):
                await self._pass_by(name, scope, receive, send)
                return
            # Whoever asks after a change waits for nothing that began before.
            place = (key, self._cache.changes.of(asked.tags))
            flight = self._flights.get(place)
            if flight is None:
                await self._lead(place, asked, missed, scope, receive, send)
                return
            try:
                entry = await flight.wait(self._cache.patience)
            except Lost:
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

    async def _given(self, entry: Entry, asked: _Asked, scope: Scope, send: Send) -> bool:
        """Whether what is kept was the answer: to HEAD what is fresh alone, as that makes nothing anew."""
        fresh = self._cache.now() < entry.until
        if not fresh and scope["method"] == "HEAD":
            return False
        self._count(asked.name, "hit" if fresh else "stale")
        if not fresh:
            self._refresh(asked, scope)
        await self._replay(entry, scope, send)
        return True

    async def _pass_by(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._count(name, "bypass")
        await self._app(scope, receive, send)

    async def _changing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that may change what its path shows: if it did, no answer of before is given any more."""
        if scope["method"] in _CHANGES_NOTHING:
            await self._app(scope, receive, send)
            return
        tag, changed = path_tag(scope["path"]), False

        async def telling(message: Message) -> None:
            nonlocal changed
            if message["type"] == "http.response.start" and message["status"] < 400:
                changed = True
                await self._cache.invalidate(tag)  # before its asker can ask again
            await send(message)

        try:
            await self._app(scope, receive, telling)
        finally:
            if changed:
                await self._cache.invalidate(tag)  # some commit when their answer has begun

    def _rule(self, scope: Scope) -> tuple[str, Rule | None]:
        if scope["type"] != "http":
            return "", None
        path: str = scope["path"]
        if path in self._exact:
            return path, self._exact[path]
        return next(((name, rule) for name, rule in self._below if path.startswith(name[:-1])), ("", None))

    async def _lead(
        self, place: Hashable, asked: _Asked, missed: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Do the work; those who wait get what can be kept of it, also when this asker goes away."""
        flight = self._flights[place] = Flight()

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

        def whole(answer: Answer, how: Keeping) -> None:
            call = call_of(scope)
            answer.route = call.route if call is not None else ""
            answer.cookies = cookies_of(scope) if how.by_cookie else ""
            task = asyncio.create_task(self._keep(asked, lease, answer, how, landed), name="tocsin.cache.keep")
            keeping.append(task)
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)

        most = self._cache.most_of_one
        taping = Taping(send, asked.rule, asked.owned, most, whole, lambda: landed(None))
        headers = scope["headers"]
        if any(name in CONDITIONS for name, _ in headers):
            # What is kept is for all: whether this asker has it already is ours to say.
            scope["headers"], taping.send = without_conditions(headers), Conditional(headers, send)
        try:
            await self._app(scope, receive, taping)
        finally:
            scope["headers"] = headers
            if keeping:
                await asyncio.shield(keeping[0])
            else:
                await self._cache.store.end(asked.key, lease)
        return taping.status

    async def _keep(
        self, asked: _Asked, lease: Lease, answer: Answer, how: Keeping, landed: Callable[[Entry | None], None]
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
        again["headers"] = without_conditions(scope["headers"])
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
        answer: Answer = entry.value
        if answer.route:
            scope.setdefault(ROUTE_KEY, answer.route)
        status, headers, body = answer.status, answer.headers, answer.body
        if is_unchanged(scope["headers"], status, headers):
            status, headers, body = 304, not_modified(headers), b""
        age = str(answer.age + max(0, int(self._cache.now() - entry.made))).encode()
        headers = [*headers, (b"age", age), (b"cache-status", b"tocsin; hit")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def close(self) -> None:
        """End what is being made for the cache."""
        await within(LEFT_AFTER, end_tasks(*self._refreshing.values()))
        await asyncio.gather(*self._keeping, return_exceptions=True)
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


_CARRIED: Final = frozenset({"tocsin.admitted"})
"""Who asks stays who asks."""
