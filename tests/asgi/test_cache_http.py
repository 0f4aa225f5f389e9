"""What RFC 9110 and RFC 9111 ask of a cache: conditions, HEAD, ages, freshness, and what a change makes void."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest

from tests.asgi.cached import Site, settled
from tocsin.asgi.cache import Rule

DAY = "Sun, 06 Nov 1994 08:49:37 GMT"
ETAG = [
    (b"etag", b'"v1"'),
    (b"content-type", b"text/plain"),
    (b"content-length", b"7"),
    (b"cache-control", b"max-age=9"),
]
DATED = [(b"last-modified", DAY.encode()), (b"content-type", b"text/plain")]


@pytest.mark.parametrize(
    ("headers", "asked", "status"),
    [
        (ETAG, {"if_none_match": '"v1"'}, 304),
        (ETAG, {"if_none_match": 'W/"v1"'}, 304),
        (ETAG, {"if_none_match": '"v0", W/"a,b" ,"v1"'}, 304),
        (ETAG, {"if_none_match": "*"}, 304),
        (ETAG, {"if_none_match": '"v2"'}, 200),
        (ETAG, {"if_none_match": '"v1'}, 200),
        (ETAG, {"if_none_match": "v1"}, 200),
        (ETAG, {"if_none_match": '"*"'}, 200),
        ([(b"etag", b'W/"v1"')], {"if_none_match": '"v1"'}, 304),
        ([], {"if_none_match": '"v1"'}, 200),
        ([], {"if_none_match": "*"}, 304),
        (DATED, {"if_modified_since": DAY}, 304),
        (DATED, {"if_modified_since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 304),
        (DATED, {"if_modified_since": "Sun Nov  6 08:49:37 1994"}, 304),
        (DATED, {"if_modified_since": "Mon, 07 Nov 1994 08:49:37 GMT"}, 304),
        (DATED, {"if_modified_since": "Sun, 06 Nov 1994 08:49:36 GMT"}, 200),
        (DATED, {"if_modified_since": "yesterday"}, 200),
        (DATED, {"if_modified_since": "Sun, 99 Nov 99999999999999 08:49:36 GMT"}, 200),
        ([], {"if_modified_since": DAY}, 200),
        ([*DATED, *ETAG[:1]], {"if_none_match": '"v2"', "if_modified_since": DAY}, 200),
        ([*DATED, *ETAG[:1]], {"if_none_match": '"v1"', "if_modified_since": "yesterday"}, 304),
    ],
)
async def test_who_has_it_already_is_told_so(
    headers: list[tuple[bytes, bytes]], asked: dict[str, str], status: int
) -> None:
    """By the answer that is kept and by the first one alike (RFC 9110, 13.1.2 and 13.1.3): 304 without a body."""
    site = Site({"/a": Rule(ttl=5)}, headers=headers, parts=2)
    first, hit = [await site.ask(**asked) for _ in range(2)]  # type: ignore[arg-type]
    assert ([first.status, hit.status], site.worked) == ([status] * 2, ["nobody"])
    assert (first.body == b"") is (hit.body == b"") is (status == 304)
    assert (await site.ask()).body == b"nobody /a  1" * 2, "what is kept is the whole answer"
    assert site.seen == set(), "the application made it for all"


async def test_a_304_bears_what_a_cache_updates_by_and_nothing_of_the_body() -> None:
    """RFC 9110, 15.4.5; and its age."""
    site = Site({"/a": Rule(ttl=5)}, headers=[*ETAG, (b"vary", b"accept"), DATED[0], (b"x-frame-options", b"DENY")])
    await site.ask()
    site.now = 2.5
    told = await site.ask(if_none_match='"v1"')
    assert (told.status, told.body) == (304, b"")
    assert told.headers == {
        "etag": '"v1"', "cache-control": "max-age=9", "vary": "accept", "x-frame-options": "DENY", "age": "2",
        "cache-status": "tocsin; hit",
    }  # fmt: skip


@pytest.mark.parametrize("status", [301, 404, 410])
async def test_a_condition_is_nothing_to_an_answer_that_is_no_success(status: int) -> None:
    """RFC 9110, 13.2.1: the answer comes as without it."""
    site = Site({"/a": Rule(ttl=5, missing=5)}, status=status, headers=ETAG)
    assert [(await site.ask(if_none_match="*")).status for _ in range(2)] == [status] * 2
    assert len(site.worked) == 1


async def test_askers_with_conditions_share_one_piece_of_work() -> None:
    """Each is answered by their own."""
    site = Site({"/a": Rule(ttl=5)}, headers=ETAG, gate=asyncio.Event())
    tags = ('"v1"', '"v2"', '"v1"', "*")
    asking = [asyncio.create_task(site.ask(if_none_match=tag)) for tag in tags]
    await settled()
    assert site.gate is not None
    site.gate.set()
    assert [said.status for said in await asyncio.gather(*asking)] == [304, 200, 304, 304]
    assert len(site.worked) == 1


async def test_head_is_answered_by_what_get_made() -> None:
    """The same headers and no body, conditions too; without it the application answers, and nothing is kept of that."""
    site = Site({"/a": Rule(ttl=5, stale=5)}, headers=ETAG)
    assert (await site.ask("HEAD")).headers == {name.decode(): value.decode() for name, value in ETAG}
    assert len(site.cache.store) == 0  # type: ignore[arg-type]
    await site.ask()
    site.now = 1.0
    for _ in range(2):
        told = await site.ask("HEAD")
        assert (told.status, told.body, told.headers["content-length"], told.headers["age"]) == (200, b"", "7", "1")
    assert (await site.ask("HEAD", if_none_match="*")).status == 304
    assert (await site.ask("HEAD", who="ana")).headers.get("age") is None
    assert site.worked == ["nobody", "nobody", "ana"]
    site.now = 6.0
    await site.ask("HEAD")
    await settled()
    assert site.worked == ["nobody", "nobody", "ana", "nobody"], "what is stale is made anew for a GET"


async def test_an_age_of_before_adds_up() -> None:
    """An answer that another cache gave the application; what it may live is by all of it (RFC 9111, 4.2.3)."""
    site = Site({"/a": Rule(ttl=50)}, headers=[(b"age", b"7"), (b"cache-control", b"max-age=10")])
    assert (await site.ask()).headers["age"] == "7"
    site.now = 2.9
    assert (await site.ask()).headers["age"] == "9"
    site.now = 3.0
    await site.ask()
    assert len(site.worked) == 2


@pytest.mark.parametrize(
    ("headers", "lasts"),
    [
        ({"expires": formatdate(1e9 + 10, usegmt=True), "date": formatdate(1e9, usegmt=True)}, 10),
        ({"expires": formatdate(1e9, usegmt=True), "date": formatdate(1e9, usegmt=True)}, 0),
        ({"expires": formatdate(time.time() + 1e5, usegmt=True)}, 50),
        ({"expires": formatdate(1e9, usegmt=True)}, 0),
        ({"expires": "0"}, 0),
        ({"expires": "0", "cache-control": "max-age=20"}, 20),
        ({"expires": "0", "cache-control": "public"}, 0),
        ({"cache-control": "max-age=20, s-maxage=5"}, 5),
        ({"cache-control": "s-maxage=30, max-age=5"}, 30),
        ({"cache-control": "max-age=900"}, 50),
    ],
)
async def test_what_the_answer_says_of_its_freshness_shortens_the_rules(headers: dict[str, str], lasts: int) -> None:
    """s-maxage before max-age before Expires, against its own Date (RFC 9111, 4.2.1); never longer than the rule."""
    made = [(name.encode(), value.encode()) for name, value in headers.items()]
    site = Site({"/a": Rule(ttl=50, shared=True)}, headers=made)
    await site.ask()
    for now, worked in ((max(0.0, lasts - 0.1), 1 if lasts else 2), (float(lasts), 2 if lasts else 3)):
        site.now = now
        await site.ask()
        assert len(site.worked) == worked


async def test_a_directive_on_a_line_of_its_own_counts_as_one_of_a_list() -> None:
    """RFC 9110, 5.3."""
    lines = [(b"cache-control", b"max-age=5"), (b"Cache-Control", b"s-maxage=30")]
    site = Site({"/a": Rule(ttl=50, shared=True)}, headers=lines)
    await site.get()
    site.now = 29.0
    await site.get()
    assert len(site.worked) == 1


@pytest.mark.parametrize(
    ("control", "stale"),
    [("max-age=5, stale-while-revalidate=3", 3), ("stale-while-revalidate=900", 10), ("stale-while-revalidate=x", 0),
     ("stale-while-revalidate=0", 0), ("s-maxage=5", 0), ("must-revalidate, stale-while-revalidate=9", 0)],
)  # fmt: skip
async def test_how_long_an_answer_may_be_given_stale_is_the_shorter_of_both(control: str, stale: int) -> None:
    """RFC 5861, 3; s-maxage forbids it, as proxy-revalidate does (RFC 9111, 5.2.2.10)."""
    site = Site({"/a": Rule(ttl=5, stale=10, shared=True)}, headers=[(b"cache-control", control.encode())])
    first, _ = await site.get()
    for late, again in ((stale - 0.1, True), (float(stale), False)):
        site.headers = [(b"cache-control", b"no-store")]  # what is made anew is not kept
        site.now = 5.0 + late
        assert ((await site.get())[0] == first) is again
        await settled()


async def test_what_the_asker_wants_stored_nowhere_is_not_kept() -> None:
    """no-store; what is there already is given all the same, and no-cache is nobody's to decide but yours."""
    site = Site({"/a": Rule(ttl=5)})
    for _ in range(2):
        await site.ask(cache_control="no-store")
    assert (len(site.worked), site.count("bypass"), len(site.cache.store)) == (2, 2, 0)  # type: ignore[arg-type]
    await site.ask()
    for control in ("no-store", "no-cache", "max-age=0", "only-if-cached"):
        assert (await site.ask(cache_control=control)).headers["cache-status"] == "tocsin; hit"
    assert len(site.worked) == 3


@pytest.mark.parametrize("status", [206, 304, 302, 307, 500])
async def test_an_answer_that_stands_for_no_whole_is_not_kept(status: int) -> None:
    """A part, a revalidation, a way elsewhere that may change."""
    site = Site({"/a": Rule(ttl=5, missing=5)}, status=status, headers=[(b"content-range", b"bytes 0-1/9"), ETAG[0]])
    for _ in range(2):
        assert (await site.ask()).status == status
    assert len(site.worked) == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "LOCK"])
async def test_a_change_of_a_path_makes_its_answers_void(method: str) -> None:
    """Of all users and queries, what is being made too (RFC 9111, 4.4); one that failed changed nothing."""
    site = Site({"/a": Rule(ttl=60), "/b": Rule(ttl=60)})
    asked = (("/a", "ana", "x=1"), ("/a", "bo", ""), ("/b", "ana", ""))
    before = [(await site.get(*one))[0] for one in asked]
    for failing in (400, 500):
        site.status = failing
        await site.ask(method, "/a", "ana")
    site.status = 200
    assert [(await site.get(*one))[0] for one in asked] == before
    site.gate = asyncio.Event()
    making = asyncio.create_task(site.get("/a", "cem"))
    await settled()
    gate, site.gate = site.gate, None
    site.status = 303
    await site.ask(method, "/a", "ana")
    site.status = 200
    gate.set()
    during, _ = await making
    after = [(await site.get(*one))[0] for one in asked]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True]
    assert (await site.get("/a", "cem"))[0] != during


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
async def test_a_question_that_changes_nothing_makes_nothing_void(method: str) -> None:
    """Nor a change elsewhere below the same rule."""
    site = Site({"/b/*": Rule(ttl=60)})
    before, _ = await site.get("/b/1")
    await site.ask(method, "/b/1")
    await site.ask("POST", "/b/2")
    assert (await site.get("/b/1"))[0] == before
