"""Functions behind the cache: by their arguments, one at work, and never an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.cached import settled
from tocsin.asgi.cache import Cache
from tocsin.asgi.cache.store import Memory
from tocsin.asgi.measures import Measures

Price = Callable[[int], Awaitable[int | None]]


def prices(**rule: Any) -> tuple[Cache, Price, list[int], list[float]]:
    now = [0.0]
    cache = Cache(now=lambda: now[0], measures=Measures(CollectorRegistry()))
    asked: list[int] = []

    @cache.cached(**rule)
    async def price(article: int) -> int | None:
        asked.append(article)
        await asyncio.sleep(0)
        if article == 13:
            raise LookupError("the database is down")
        return len(asked) if article else None

    return cache, price, asked, now


async def test_a_functions_result_is_kept_by_its_arguments() -> None:
    """Equal calls at once are one; an exception is not kept and goes to all who waited."""
    _, price, asked, _ = prices(ttl=5)
    first, again, _ = await asyncio.gather(price(1), price(1), price(2))
    assert (first == again == await price(1), asked) == (True, [1, 2])
    for _ in range(2):
        found = await asyncio.gather(price(13), price(13), return_exceptions=True)
        assert [type(one) for one in found] == [LookupError, LookupError]
    assert asked == [1, 2, 13, 13]


async def test_nothing_is_kept_only_where_that_was_said() -> None:
    """`missing` keeps None, for its own time."""
    _, price, asked, _ = prices(ttl=5)
    assert [await price(0), await price(0), len(asked)] == [None, None, 2]
    _, price, asked, now = prices(ttl=50, missing=5)
    assert [await price(0), await price(0), len(asked)] == [None, None, 1]
    now[0] = 5.0
    await price(0)
    assert len(asked) == 2


async def test_a_functions_stale_result_is_refreshed_behind_and_a_tag_voids_it() -> None:
    """As for answers."""
    cache, price, asked, now = prices(ttl=5, stale=5, tags=lambda article: (f"article-{article}",))
    assert await price(1) == 1
    now[0] = 6.0
    assert await price(1) == 1
    await settled()
    assert (await price(1), asked) == (2, [1, 1])
    cache.invalidate("article-2")
    assert await price(1) == 2
    cache.invalidate("article-1")
    assert await price(1) == 3


async def test_arguments_that_are_equal_and_not_the_same_are_two_questions() -> None:
    """1, 1.0 and True; and what can't be a key is said with the function's name."""
    cache = Cache(measures=Measures(CollectorRegistry()))

    @cache.cached(ttl=5)
    async def said(one: Any, more: Any = None) -> str:
        return f"{one} {more}"

    assert [await said(one) for one in (1, True, 1.0)] == ["1 None", "True None", "1.0 None"]
    assert [await said(0, more=one) for one in (1, True)] == ["0 1", "0 True"]
    with pytest.raises(TypeError, match=r"said is cached by its arguments, and unhashable type: 'list'"):
        await said([1])


async def test_a_call_that_hangs_is_waited_for_no_longer_than_the_patience() -> None:
    """By those who ask later: one lost connection must not hang for good."""
    now = [0.0]
    cache = Cache(now=lambda: now[0], measures=Measures(CollectorRegistry()))
    asked: list[int] = []
    gate = asyncio.Event()

    @cache.cached(ttl=5, tags=("t",))
    async def number() -> int:
        asked.append(len(asked))
        if len(asked) == 1:
            await gate.wait()
        return len(asked)

    hanging = [asyncio.create_task(number()) for _ in range(3)]
    await settled()
    hanging[0].cancel()
    now[0] = 5.1
    assert (await number(), len(asked)) == (2, 2)
    gate.set()
    assert await asyncio.gather(*hanging[1:]) == [2, 2]


async def test_work_that_swallows_its_cancellation_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left behind, and the store's connections are given back all the same."""
    monkeypatch.setattr("tocsin.asgi.cache.functions.LEFT_AFTER", 0.01)
    released, closed = asyncio.Event(), list[str]()

    class Kept(Memory):
        async def close(self) -> None:
            closed.append("store")

    cache = Cache(store=Kept(most_bytes=1000, now=lambda: 0.0), measures=Measures(CollectorRegistry()))

    @cache.cached(ttl=5)
    async def number() -> int:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return 1

    asking = asyncio.create_task(number())
    await settled()
    try:
        async with asyncio.timeout(60):
            await cache.close()
        assert (closed, asking.done()) == (["store"], False)
    finally:
        released.set()
