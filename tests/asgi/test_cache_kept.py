"""What the cache keeps, what it tells apart, and how much memory that takes."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import pytest

from tests.asgi.cached import Principal, Site
from tocsin.asgi.cache import Memory, Rule
from tocsin.asgi.cache.store import Changes
from tocsin.asgi.cache.weight import weight


@pytest.mark.parametrize(
    ("status", "headers", "rule", "kept"),
    [
        (200, [(b"set-cookie", b"a=b")], Rule(ttl=5), False),
        (200, [(b"cache-control", b"no-store")], Rule(ttl=5), False),
        (200, [(b"cache-control", b"private, max-age=60")], Rule(ttl=5), True),
        (200, [(b"cache-control", b"private")], Rule(ttl=5, shared=True), False),
        (200, [(b"cache-control", b"max-age=0")], Rule(ttl=5), False),
        (200, [(b"cache-control", b"max-age=0, max-age=60")], Rule(ttl=5), False),
        (200, [(b"cache-control", b"max-age=-1")], Rule(ttl=5), False),
        (200, [(b"cache-control", b"max-age=\xb2")], Rule(ttl=5), False),
        (200, [(b"vary", b"Accept-Language, Origin")], Rule(ttl=5), True),
        (200, [(b"vary", b"X-Tenant")], Rule(ttl=5), False),
        (200, [(b"vary", b"*")], Rule(ttl=5), False),
        (200, [(b"vary", b"Cookie")], Rule(ttl=5), True),
        (200, [(b"vary", b"Cookie")], Rule(ttl=5, shared=True), False),
        (500, [], Rule(ttl=5, missing=5), False),
        (401, [], Rule(ttl=5, missing=5), False),
        (404, [], Rule(ttl=5), False),
        (404, [], Rule(ttl=5, missing=5), True),
    ],
)
async def test_what_is_kept(status: int, headers: list[tuple[bytes, bytes]], rule: Rule, kept: bool) -> None:
    """What the answer itself forbids, errors, and what depends on what the key does not hold, is not."""
    site = Site({"/a": rule}, status=status, headers=headers)
    for _ in range(2):
        await site.get(who="ana")
    assert (len(site.worked) == 1) is kept


async def test_languages_hosts_and_parameters_are_told_apart() -> None:
    """And parameters that don't count are not."""
    site = Site({"/a": Rule(ttl=5, query=frozenset({"page"}))})
    for more in ({"accept_language": "de"}, {"accept_language": "fr"}, {"host": "a"}, {"host": "b"}):
        await site.get(who="ana", **more)
    assert len(site.worked) == 4
    for query in ("page=1&utm=x", "utm=y&page=1", "page=2"):
        await site.get(who="ana", query=query)
    assert len(site.worked) == 6


async def test_of_two_parameters_of_one_name_the_order_counts() -> None:
    """The application may take the first, or the last."""
    site = Site({"/a": Rule(ttl=5, query=frozenset({"sort", "page"}))})
    for query in ("sort=b&sort=a", "sort=a&sort=b", "page=%ff", "page=%fe"):
        await site.get(query=query)
    assert len(site.worked) == 4
    await site.get(query="utm=1&sort=b&sort=a")
    assert len(site.worked) == 4


async def test_what_a_client_says_about_the_host_poisons_nobody_elses_answer() -> None:
    """Links may be built of it; nor does a path that only decodes to another one."""
    site = Site({"/a": Rule(ttl=5, shared=True), "/b/*": Rule(ttl=5)})
    for more in ({}, {"x_forwarded_host": "evil"}, {"forwarded": "host=evil"}, {"x_forwarded_proto": "http"}):
        await site.get(**more)
    for raw in (b"/b/x/y", b"/b/x%2Fy"):
        await site.get("/b/x/y", raw=raw)
    assert len(site.worked) == 6


@pytest.mark.parametrize("header", ["range", "if_match", "x_original_url", "x_http_method_override"])
async def test_a_question_for_something_else_is_the_applications_to_answer(header: str) -> None:
    """A part, a check, another path or method."""
    site = Site({"/a": Rule(ttl=5)})
    await site.get()
    for _ in range(2):
        await site.get(**{header: "bytes=0-1"})
    assert (len(site.worked), site.count("bypass")) == (3, 2)


async def test_an_answer_that_is_by_cookie_is_given_to_the_same_cookies_only() -> None:
    """One user may have two tenants, and a cookie that says which."""
    site = Site({"/a": Rule(ttl=5)}, headers=[(b"vary", b"Cookie")])
    first, _ = await site.get(who="ana", cookie="tenant=1")
    second, _ = await site.get(who="ana", cookie="tenant=2")
    assert second != first
    assert (await site.get(who="ana"))[0] not in (first, second)
    site.worked.clear()
    last, _ = await site.get(who="ana", cookie="tenant=2")
    assert ((await site.get(who="ana", cookie="tenant=2"))[0], site.worked) == (last, ["ana"])


@pytest.mark.parametrize("directive", [b"must-revalidate", b"max-age=60, proxy-revalidate"])
async def test_an_answer_that_says_never_stale_is_never_given_stale(directive: bytes) -> None:
    """Whatever the rule allows."""
    site = Site({"/a": Rule(ttl=5, stale=10)}, headers=[(b"cache-control", directive)])
    first, _ = await site.get()
    site.now = 5.0
    assert (await site.get())[0] != first


async def test_a_large_answer_passes_and_is_not_kept() -> None:
    """Nothing is held back, and the memory is bounded by bytes, the least asked for going first."""
    site = Site({"/*": Rule(ttl=500)}, parts=200_000)
    body, _ = await site.get("/a", "ana")
    assert (len(body) > 1 << 20, len(site.cache.store)) == (True, 0)
    site.parts = 1
    site.cache.store = Memory(24_000, lambda: site.now)
    for number in range(30):
        await site.get(f"/{number}", "ana")
        await site.get("/0", "ana")
    assert 5 < len(site.cache.store) < 20
    assert site.cache.store.size <= 24_000
    assert site.worked.count("ana") == 31


async def test_what_no_rule_names_is_not_touched() -> None:
    """Other paths, and paths that only look like it."""
    site = Site({"/a": Rule(ttl=5), "/b/*": Rule(ttl=5)})
    for path in ("/a/", "/A", "/b", "/c"):
        for _ in range(2):
            await site.get(path, "ana")
    assert len(site.worked) == 8


@pytest.mark.parametrize("path", ["a", "/a*", "/*/a"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    """At the start, not at the first request."""
    with pytest.raises(ValueError, match="cached path"):
        Site({path: Rule(ttl=5)})


async def test_a_changing_world_costs_no_memory_without_end() -> None:
    """Tags of things that come and go; what is forgotten voids, it never revives."""
    changes = Changes(most=10)
    before = changes.of(["a", "b"])
    for number in range(95):
        changes.note(f"article-{number}")
        assert len(changes) <= 10
    last = changes.of(["article-94"])
    assert changes.of(["a", "b"]) != before
    changes.note("other")
    assert changes.of(["article-94"]) == last


async def test_long_questions_count_against_the_memory() -> None:
    """They are the asker's to choose."""
    site = Site({"/a": Rule(ttl=500)})
    memory = site.cache.store = Memory(100_000, lambda: site.now)
    for number in range(30):
        await site.get(query=f"{number}" * 4_000)
    assert len(memory) < 20
    assert memory.size <= 100_000


@pytest.mark.parametrize(
    "value",
    [
        [{"id": number, "name": f"a name of {number}"} for number in range(1_000)],
        {"rows": [[f"{row} {column}" for column in range(10)] for row in range(200)]},
        [Principal(f"somebody with a name {number}") for number in range(1_000)],
        ["x" * 200_000, *range(100)],
    ],
    ids=["dicts", "nested", "objects", "one large"],
)
def test_a_value_weighs_what_it_holds(value: Any) -> None:
    """Near what the allocator says: a list's own size is a hundredth of it."""
    with_a_twin = weight([value, "x"])
    assert with_a_twin > 80_000
    tracemalloc.start()
    copied = pickle.loads(pickle.dumps(value))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert copied == value
    assert 0.6 < with_a_twin / held < 1.6
