"""A Redis that is dead, hangs or is full: never an error, and what changed meanwhile is told later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.asgi.peers_of_redis import Prices, working
from tocsin.asgi.cache import Redis
from tocsin.testing.redis import RedisServer, running_redis


async def test_a_full_redis_is_no_error_and_hears_of_changes(doomed: RedisServer) -> None:
    """What is there is still given, what is new is worked out, and what is void is void everywhere."""
    prices = Prices(doomed)
    working.append(prices)
    one, other = prices.peer(), prices.peer()
    await one.price(1)
    async with prices.client() as client:
        await client.config_set("maxmemory", 1)
    assert (await other.price(1))["price"] == 1
    assert [(await one.price(2))["price"], (await one.price(2))["price"]] == [2, 3]
    await one.cache.invalidate("prices")
    assert (await other.price(1))["price"] == 4
    working.remove(prices)
    for peer in prices.peers:
        await peer.cache.close()


async def test_many_changes_are_told_after_an_outage_of_any_length(doomed: RedisServer) -> None:
    """In pieces, each for good."""
    prices = Prices(doomed)
    working.append(prices)
    peer = prices.peer(rest=0.0)
    await peer.price(1)
    doomed.stop()
    gate = prices.gate = asyncio.Event()
    before = asyncio.create_task(peer.price(1))
    await prices.worked(2)
    await peer.cache.invalidate("prices", *(f"article-{number}" for number in range(2_000)))
    prices.gate = None
    assert (await peer.price(1))["price"] == 3, "who asks after a change waits for nothing that began before"
    gate.set()
    await before
    await asyncio.to_thread(doomed.start)
    async with prices.client() as client:
        await client.set(f"{prices.namespace}:tag:article-1999", "old")
        await peer.price(1)
        assert await client.exists(f"{prices.namespace}:tag:article-1999") == 0
    working.remove(prices)
    await peer.cache.close()


@pytest.fixture
def doomed() -> Iterator[RedisServer]:
    """A Redis of its own, to be killed."""
    with running_redis() as server:
        yield server


async def test_a_dead_redis_is_a_miss_and_is_told_later_what_changed(redis: RedisServer, doomed: RedisServer) -> None:
    """No error, and no wait for each question; when it is back, what was void while it was away stays void."""
    prices = Prices(doomed)
    working.append(prices)
    peer = prices.peer(rest=0.0)
    other = prices.peer()
    await peer.price(1)
    doomed.stop()
    assert (await peer.price(1))["price"] == 2
    await peer.cache.invalidate("prices")
    assert (await peer.price(1))["price"] == 3
    assert (peer.count("unreachable"), peer.count("miss"), peer.count("hit")) == (2, 1, 0)
    await asyncio.to_thread(doomed.start)
    assert (await peer.price(1))["price"] == 4
    assert await peer.price(1) == await other.price(1) == {"article": "1", "price": 4}
    working.remove(prices)
    for one in prices.peers:
        await one.cache.close()


async def test_a_change_that_a_hanging_redis_did_not_hear_is_owed(redis: RedisServer, doomed: RedisServer) -> None:
    """A question ends in its time, nobody asks again for a while, and the debt is paid before the next answer."""
    prices = Prices(doomed)
    working.append(prices)
    peer = prices.peer(within=0.2, rest=0.0)
    resting = prices.peer(within=0.2, rest=3600.0)
    async with asyncio.timeout(60):
        await peer.price(1)
        doomed.pause()
        before = len(prices.asked)
        assert (await resting.price(1))["price"] == before + 1
        store = resting.cache.store
        assert isinstance(store, Redis)
        loop = asyncio.get_running_loop()
        client, store._clients[loop] = store._clients[loop], ""  # from now on nothing can be asked of it
        assert (await resting.price(1))["price"] == before + 2
        store._clients[loop] = client
        await peer.cache.invalidate("prices")
        doomed.resume()
        assert (await peer.price(1))["price"] == before + 3
    assert resting.count("unreachable") == 2
    working.remove(prices)
    for one in prices.peers:
        await one.cache.close()
