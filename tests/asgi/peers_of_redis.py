"""Caches of several processes on one Redis, and the work that they share."""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis as Client

from tocsin.asgi.cache import Cache, Redis
from tocsin.asgi.measures import Measures
from tocsin.testing.redis import RedisServer

Price = Callable[[Any], Awaitable[Any]]


@dataclass
class Peer:
    """One process' cache and function; all of them count in `asked`."""

    cache: Cache
    price: Price
    registry: CollectorRegistry

    def count(self, outcome: str) -> float:
        labels = {"cached": f"{__name__}.price_of", "outcome": outcome}
        return self.registry.get_sample_value("tocsin_http_cache_total", labels) or 0.0


@dataclass
class Prices:
    """Peers on one Redis, and the work that they share."""

    redis: RedisServer
    namespace: str = field(default_factory=lambda: secrets.token_hex(8))
    asked: list[Any] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def peer(self, *, within: float = 20.0, rest: float = 1.0, lease: float = 20.0, **rule: Any) -> Peer:
        registry = CollectorRegistry()
        store = Redis(self.redis.url, namespace=self.namespace, within=within, rest=rest, lease=lease)
        cache = Cache(store=store, measures=Measures(registry))
        rule = {"ttl": 60.0, "tags": ("prices",), **rule}
        self.peers.append(Peer(cache, cache.cached(**rule)(price_of), registry))
        return self.peers[-1]

    async def work(self, article: Any) -> Any:
        self.asked.append(article)
        if self.gate is not None:
            await self.gate.wait()
        if article == 13:
            raise LookupError("the database is down")
        if article == "decimal":
            return decimal.Decimal("1.10")
        return None if article == 0 else {"article": str(article), "price": len(self.asked)}

    async def worked(self, times: int) -> None:
        """When the work was begun so many times."""
        async with asyncio.timeout(60):
            while len(self.asked) < times:
                await asyncio.sleep(0.001)

    async def kept(self, pattern: str = "1:*") -> dict[bytes, int]:
        """What is in Redis, with its time in ms."""
        async with self.client() as client:
            names = [name async for name in client.scan_iter(f"{self.namespace}:{pattern}")]
            return {name: await client.pttl(name) for name in names}

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        client: Any = Client.from_url(self.redis.url)
        try:
            yield client
        finally:
            await client.aclose()


working: list[Prices] = []


async def price_of(article: Any) -> Any:
    """The function that is cached: of the module, as an application's is."""
    return await working[-1].work(article)
