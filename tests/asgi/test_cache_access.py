"""The cache behind the real door: whoever may not come in gets nothing, whatever is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from tests.asgi.frameworks import Kept
from tocsin.access.allowlist import Listed, entry_of
from tocsin.asgi import Cache, Gate, Lines, Rule, protect
from tocsin.testing.forge import ISSUER, SECRET, Forge

ANA, BO = "0b0b0b0b-0000-4000-8000-000000000001", "0b0b0b0b-0000-4000-8000-000000000002"


class Door:
    """An application behind all layers, whose allowlist changes."""

    def __init__(self) -> None:
        self.forge, self.worked = Forge.hs256(), 0
        self.admit("ana@example.com", "bo@example.com")
        cache = Cache()
        rules = {"/mine": Rule(ttl=600, stale=600), "/all": Rule(ttl=600, shared=True), "/open": Rule(ttl=600)}
        self.app = protect(
            self._app, gate=Gate(ISSUER, allowlist=self, jwt_secret=SECRET), public=["/open"], environment={},
            registry=CollectorRegistry(), lines=Lines(Kept()), cache=cache.responses(rules),
        )  # fmt: skip

    def admit(self, *addresses: str) -> None:
        now = datetime.now(UTC)
        number = getattr(self, "listed", Listed(entries=(), version=0)).version + 1
        self.listed = Listed(entries=tuple(entry_of(one, now, by="test") for one in addresses), version=number)

    async def version(self) -> int:
        return self.listed.version

    async def load(self) -> Listed:
        return self.listed

    async def seen(self, when: Mapping[str, datetime]) -> None: ...

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.worked += 1
        admitted = scope.get("tocsin.admitted")
        text = f"{admitted.principal.sub if admitted else 'nobody'} {self.worked}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"etag", b'"%d"' % self.worked)]})
        await send({"type": "http.response.body", "body": text})

    def token(self, sub: str, **claims: Any) -> str:
        return self.forge.token(sub=sub, email=f"{'ana' if sub == ANA else 'bo'}@example.com", **claims)

    async def ask(self, path: str, token: str | None = None, **more: str) -> tuple[int, bytes]:
        headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in more.items()]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
            "query_string": b"", "headers": headers, "http_version": "1.1", "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"}, "state": {},
        }  # fmt: skip
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        async def receive() -> Any:
            await asyncio.Event().wait()

        await self.app(scope, receive, send)
        return said[0]["status"], b"".join(message.get("body", b"") for message in said[1:])


async def test_a_new_token_of_the_same_user_has_what_the_old_one_had_and_nobody_else() -> None:
    """A refresh costs nobody the cache; another user, a session cookie and an API key get nothing of it."""
    door = Door()
    first = await door.ask("/mine", door.token(ANA))
    assert first == (200, f"{ANA} 1".encode())
    assert await door.ask("/mine", door.token(ANA, session_id="0b0b0b0b-0000-4000-8000-00000000000a")) == first
    assert await door.ask("/mine", door.token(BO)) == (200, f"{BO} 2".encode())
    others = [
        await door.ask("/mine"),
        await door.ask("/mine", cookie="session=ana"),
        await door.ask("/mine", apikey="k"),
    ]
    assert [status for status, _ in others] == [401] * 3
    await door.app.close()


async def test_who_was_taken_off_the_list_is_given_nothing_that_is_kept() -> None:
    """Neither their own answer, nor a shared one, nor a 304 that says it is still so."""
    door = Door()
    token = door.token(ANA)
    for path in ("/mine", "/all"):
        assert (await door.ask(path, token))[0] == 200
    door.admit("bo@example.com")
    async with asyncio.timeout(60):
        while (await door.ask("/all", token))[0] == 200:  # until the roster has looked again
            await asyncio.sleep(0.05)
    for path in ("/mine", "/all"):
        for more in ({}, {"if_none_match": "*"}):
            assert (await door.ask(path, token, **more))[0] == 403
    assert (await door.ask("/all", door.token(BO)))[1] == f"{ANA} 2".encode(), "the others have it still"
    assert (await door.ask("/mine", door.token(ANA, exp=1)))[0] == 401
    await door.app.close()


async def test_an_open_routes_answer_to_who_is_signed_in_is_nobody_elses() -> None:
    """A token on a public route is either proven, and the answer theirs, or passes the cache by."""
    door = Door()
    nobody = await door.ask("/open")
    assert await door.ask("/open") == nobody
    await door.ask("/open", door.token(ANA))
    assert await door.ask("/open") == nobody
    await door.app.close()
