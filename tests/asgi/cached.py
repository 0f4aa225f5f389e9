"""An application behind the cache alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from tocsin.asgi.cache import Cache, Responses, Rule, Store
from tocsin.asgi.measures import Measures


@dataclass(frozen=True)
class Principal:
    sub: str


@dataclass(frozen=True)
class Admitted:
    principal: Principal


@dataclass(frozen=True)
class Said:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """An application behind the cache alone; who asks is told as access would."""

    rules: dict[str, Rule]
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: int = 1
    afterwards: asyncio.Event | None = None
    now: float = 0.0
    worked: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    fails: bool = False
    store: Store | None = None
    seen: set[str] = field(default_factory=set)
    """Headers of the last request that the application worked on."""

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.cache = Cache(
            now=time.monotonic if self.store else lambda: self.now, store=self.store, measures=Measures(self.registry)
        )
        self.app = Responses(self._app, self.cache, self.rules, self.cache.count)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        admitted = scope.get("tocsin.admitted")
        who = admitted.principal.sub if admitted is not None else "nobody"
        self.worked.append(who)
        self.seen = {name.decode() for name, _ in scope["headers"]}
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise RuntimeError("the application failed")
        text = f"{who} {scope['path']} {scope['query_string'].decode()} {len(self.worked)}".encode()
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": self.headers or [(b"etag", f'"{who}"'.encode())],
            }
        )
        for part in range(self.parts):
            await send({"type": "http.response.body", "body": text, "more_body": part + 1 < self.parts})
        if self.afterwards is not None:
            await self.afterwards.wait()

    async def get(
        self, path: str = "/a", who: str | None = None, query: str = "", raw: bytes | None = None, **headers: str
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers."""
        said = await self.ask("GET", path, who, query, raw, **headers)
        return said.body, said.headers

    async def ask(
        self, method: str = "GET", path: str = "/a", who: str | None = None, query: str = "", raw: bytes | None = None,
        **headers: str,
    ) -> Said:  # fmt: skip
        """All of the answer."""
        scope: dict[str, Any] = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        if raw is not None:
            scope["raw_path"] = raw
        if who is not None:
            scope["tocsin.admitted"] = Admitted(Principal(who))
        seen: list[Any] = []

        async def send(message: Any) -> None:
            seen.append(message)

        await self.app(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]
        body = b"".join(message.get("body", b"") for message in seen[1:])
        named = [(name.decode(), value.decode("latin-1")) for name, value in seen[0]["headers"]]
        assert sum(name == "age" for name, _ in named) <= 1
        assert seen[-1].get("more_body", False) is False, "the answer did not end"
        return Said(seen[0]["status"], dict(named), body)

    def count(self, outcome: str, name: str = "/a") -> float:
        return self.registry.get_sample_value("tocsin_http_cache_total", {"cached": name, "outcome": outcome}) or 0.0


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
