"""The cache in a real Redis that processes share: one at work, and nothing void."""

from __future__ import annotations

import asyncio
import decimal
import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from tests.asgi.peers_of_redis import Prices, working
from tests.asgi.test_cache import Site
from tocsin.asgi.cache import Redis, Rule
from tocsin.testing.redis import RedisServer


@pytest.fixture
async def prices(redis: RedisServer) -> AsyncIterator[Prices]:
    made = Prices(redis)
    working.append(made)
    yield made
    working.remove(made)
    for peer in made.peers:
        await peer.cache.close()


async def test_what_one_process_made_the_others_have(prices: Prices) -> None:
    """Until it is too old, by Redis' own clock."""
    one, other = prices.peer(), prices.peer()
    assert await one.price(1) == await other.price(1) == {"article": "1", "price": 1}
    assert (prices.asked, one.count("miss"), other.count("hit")) == ([1], 1, 1)
    (lasts,) = (await prices.kept()).values()
    assert 0 < lasts <= 60_000


async def test_a_change_anywhere_voids_it_everywhere(prices: Prices) -> None:
    """Once `invalidate` was awaited; and what was being made meanwhile too."""
    one, other = prices.peer(), prices.peer()
    await one.price(1)
    await other.cache.invalidate("prices")
    assert (await one.price(1))["price"] == 2
    prices.gate = asyncio.Event()
    await other.cache.invalidate("prices")
    making = asyncio.create_task(one.price(1))
    await prices.worked(3)
    await other.cache.invalidate("prices")
    prices.gate.set()
    assert (await making)["price"] == 3
    assert (await one.price(1))["price"] == 4
    other.cache.invalidate("prices")  # not awaited: in this process at once all the same
    assert (await other.price(1))["price"] == 5


async def test_a_tag_that_redis_forgot_voids_what_bears_it(prices: Prices) -> None:
    """Evicted or flushed: never the old answer again, whatever the tag becomes."""
    peer = prices.peer()
    await peer.price(1)
    async with prices.client() as client:
        await client.delete(f"{prices.namespace}:tag:prices")
    assert (await peer.price(1))["price"] == 2
    assert await peer.price(1) == {"article": "1", "price": 2}


@pytest.mark.parametrize("tag", ["", " a\n\r\x00*", "ä:tag:{b}", "\udcff", "x" * 10_000])
async def test_a_tag_may_be_any_text(prices: Prices, tag: str) -> None:
    """Of a path or an address, as a client wrote it."""
    one, other = prices.peer(tags=(tag,)), prices.peer(tags=(tag,))
    await one.price(1)
    assert (await other.price(1))["price"] == 1
    await other.cache.invalidate(tag)
    assert (await one.price(1))["price"] == 2
    assert (one.count("unreachable"), other.count("unreachable")) == (0, 0)


async def test_a_stale_result_is_given_at_once_and_made_anew_by_one(prices: Prices) -> None:
    """Whoever asks meanwhile, in either process."""
    one, other = prices.peer(stale=30.0), prices.peer(stale=30.0)
    await one.price(1)
    (name,) = await prices.kept()
    async with prices.client() as client:
        await client.pexpire(name, 29_000)  # a minute and a second later
    prices.gate = asyncio.Event()
    found = [await peer.price(1) for peer in (one, other, one, other)]
    assert [one_["price"] for one_ in found] == [1] * 4
    await prices.worked(2)
    prices.gate.set()
    async with asyncio.timeout(60):
        while (await other.price(1))["price"] == 1:
            await asyncio.sleep(0.005)
    assert (len(prices.asked), one.count("stale")) == (2, 2)


async def test_what_is_not_there_is_kept_where_that_was_said(prices: Prices) -> None:
    """None, for its own time; an exception never."""
    peer = prices.peer(missing=5.0)
    assert [await peer.price(0), await peer.price(0), prices.asked] == [None, None, [0]]
    (lasts,) = (await prices.kept()).values()
    assert lasts <= 5_000
    for _ in range(2):
        with pytest.raises(LookupError):
            await peer.price(13)
    assert prices.asked == [0, 13, 13]


async def test_one_works_and_the_others_wait_for_it(prices: Prices) -> None:
    """In both processes; where whoever leads has no result, the next one leads."""
    one, other = prices.peer(), prices.peer()
    prices.gate = asyncio.Event()
    asking = [asyncio.create_task(peer.price(1)) for peer in (one, other) for _ in range(5)]
    await prices.worked(1)
    prices.gate.set()
    found = await asyncio.gather(*asking)
    assert ({answer["price"] for answer in found}, prices.asked) == ({1}, [1])
    failing = await asyncio.gather(one.price(13), other.price(13), return_exceptions=True)
    assert [type(error) for error in failing] == [LookupError, LookupError]
    assert prices.asked == [1, 13, 13]
    assert await prices.kept("1:*:lock") == {}


async def test_a_leader_that_died_holds_nobody_up_for_longer_than_its_lease(prices: Prices) -> None:
    """And who had the lease before does not give back another's."""
    dead, alive = prices.peer(lease=0.05), prices.peer(lease=0.05)
    prices.gate = asyncio.Event()
    asking = asyncio.create_task(dead.price(1))
    await prices.worked(1)
    taking_over = asyncio.create_task(alive.price(1))
    await prices.worked(2)
    prices.gate.set()
    await asyncio.gather(asking, taking_over)
    assert prices.asked == [1, 1]


async def test_a_value_that_json_does_not_bring_back_unchanged_is_not_kept(prices: Prices) -> None:
    """Everybody gets what the function gave, never something like it."""
    peer = prices.peer()
    assert [await peer.price("decimal"), await peer.price("decimal")] == [decimal.Decimal("1.10")] * 2
    assert (prices.asked, await prices.kept()) == (["decimal"] * 2, {})


async def test_an_entry_that_is_the_answer_to_something_else_is_not_taken(prices: Prices) -> None:
    """Whatever put it there; nor is one that nobody can read."""
    peer = prices.peer()
    await peer.price(1)
    (first,) = await prices.kept()
    await peer.price(2)
    (second,) = set(await prices.kept()) - {first}
    async with prices.client() as client:
        await client.set(second, await client.get(first), px=60_000)
        assert (await peer.price(2))["article"] == "2"
        await client.set(first, b"[1,", px=60_000)
        assert (await peer.price(1))["article"] == "1"
    assert prices.asked == [1, 2, 2, 1]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1,2,3,4]", b'[200,[["a",1]],"",""]', b"\xff\xfe", b"[200,[[1]],0,0]\n"]
)
async def test_what_is_no_answer_of_ours_is_a_miss(redis: RedisServer, body: bytes) -> None:
    """Whoever wrote it under our name: another version, a broken disk, an attacker."""
    site = Site({"/a": Rule(ttl=60)}, store=Redis(redis.url, namespace=secrets.token_hex(8), within=20.0))
    store: Any = site.cache.store
    first, _ = await site.get(who="ana")
    async with Client.from_url(redis.url) as client:
        [name] = [name async for name in client.scan_iter(f"{store._namespace}:1:*")]
        head, _, _ = (await client.get(name)).partition(b"\n")
        for garbage in (head + b"\n" + body, head.replace(b"60", b'"x"') + b"\n" + body, body):
            await client.set(name, garbage, px=60_000)
            again, _ = await site.get(who="ana")
            assert again != first
            first = again
    await site.app.close()


async def test_a_tag_that_is_no_token_of_ours_and_a_value_too_large_harm_nothing(prices: Prices) -> None:
    """The caller gets what the function gave; the large one is not kept."""
    peer = prices.peer()
    async with prices.client() as client:
        await client.set(f"{prices.namespace}:tag:prices", b"\xff\xfe")
    assert [(await peer.price(1))["price"], (await peer.price(1))["price"]] == [1, 1]
    large = "x" * (1 << 20)
    assert [(await peer.price(large))["price"], (await peer.price(large))["price"]] == [2, 3]
    assert (len(await prices.kept()), peer.count("unreachable")) == (1, 0)


async def test_an_answer_of_the_application_is_shared_with_its_headers(redis: RedisServer) -> None:
    """Its owner's alone, with its age."""
    namespace = secrets.token_hex(8)
    rules = {"/a": Rule(ttl=60, tags=("t",))}
    one, other = (
        Site(rules, headers=[(b"x-made", b"by ana")], store=Redis(redis.url, namespace=namespace, within=20.0))
        for _ in range(2)
    )
    first, _ = await one.get(who="ana")
    again, headers = await other.get(who="ana")
    assert (again, headers["x-made"], headers["cache-status"]) == (first, "by ana", "tocsin; hit")
    assert (await other.get(who="bo"))[0] != first
    assert (one.worked, other.worked) == (["ana"], ["bo"])
    for site in (one, other):
        await site.app.close()


def test_two_real_processes_do_the_work_once(redis: RedisServer, tmp_path: Path, root: Path) -> None:
    """Started together, asking the same at the same time."""
    program = tmp_path / "asks.py"
    program.write_text(
        "import asyncio, os, sys\n"
        "from tocsin.asgi.cache import Cache, Redis\n"
        "cache = Cache(store=Redis(sys.argv[1], namespace=sys.argv[2], within=20.0, lease=30.0))\n"
        "@cache.cached(ttl=60)\n"
        "async def work(name):\n"
        "    print('works', flush=True)\n"
        "    await asyncio.to_thread(sys.stdin.read)\n"
        "    return os.getpid()\n"
        "async def main():\n"
        "    print('asks', flush=True)\n"
        "    print(await asyncio.gather(*(work('a') for _ in range(3))))\n"
        "    await cache.close()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, str(program), redis.url, secrets.token_hex(8)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "asks\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.close()  # the work may end
    said = []
    for process in running:
        with process:
            assert process.stdout is not None
            said.append(process.stdout.read().splitlines())
    assert sorted(len(lines) for lines in said) == [1, 2]
    assert json.loads(said[0][-1]) == json.loads(said[1][-1])
    assert len(set(json.loads(said[0][-1]))) == 1


async def test_what_is_no_key_is_worked_out_each_time(prices: Prices) -> None:
    """And counted as what passes the cache by."""
    peer = prices.peer()
    one = object()
    assert [(await peer.price(one))["price"], (await peer.price(one))["price"]] == [1, 2]
    assert (peer.count("bypass"), await prices.kept()) == (2, {})
