"""The cache: never another user's answer, one piece of work for equal questions, and no answer older than it may be."""

from __future__ import annotations

import asyncio
import pickle
import secrets
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tocsin.asgi.cache import Cache, Memory, Redis, Responses, Rule, Store
from tocsin.asgi.cache.store import Changes
from tocsin.asgi.cache.weight import weight
from tocsin.asgi.measures import Measures
from tocsin.testing.redis import RedisServer


@dataclass(frozen=True)
class Principal:
    sub: str


@dataclass(frozen=True)
class Admitted:
    principal: Principal


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
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise RuntimeError("the application failed")
        text = f"{who} {scope['path']} {scope['query_string'].decode()} {len(self.worked)}".encode()
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for part in range(self.parts):
            await send({"type": "http.response.body", "body": text, "more_body": part + 1 < self.parts})
        if self.afterwards is not None:
            await self.afterwards.wait()

    async def get(
        self, path: str = "/a", who: str | None = None, query: str = "", raw: bytes | None = None, **headers: str
    ) -> tuple[bytes, dict]:  # type: ignore[type-arg]
        scope: dict[str, Any] = {
            "type": "http", "method": "GET", "path": path, "query_string": query.encode(), "scheme": "http",
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
        return body, {name.decode(): value.decode("latin-1") for name, value in seen[0]["headers"]}

    def count(self, outcome: str, name: str = "/a") -> float:
        return self.registry.get_sample_value("tocsin_http_cache_total", {"cached": name, "outcome": outcome}) or 0.0


ASKED = st.lists(
    st.tuples(
        st.sampled_from(["ana", "bo", "cem", None]),
        st.sampled_from(["/a", "/b/1", "/b/2"]),
        st.sampled_from(["", "x=1", "x=2"]),
        st.sampled_from(["", "t", "everything"]),
        st.floats(0, 20),
    ),
    min_size=2,
    max_size=40,
)


@given(ASKED, st.booleans())
@settings(max_examples=100)
def test_nobody_gets_an_answer_that_was_made_for_another(asked: list[Any], at_once: bool) -> None:
    """Whoever asks what when, one after the other or all at once, with changes and time between."""
    asyncio.run(ask_all(asked, at_once))


@given(ASKED, st.booleans())
@settings(max_examples=25)
def test_nobody_gets_an_answer_that_was_made_for_another_out_of_redis(
    redis: RedisServer, asked: list[Any], at_once: bool
) -> None:
    """The same, of a Redis that two processes share."""
    asyncio.run(ask_all(asked, at_once, redis))


async def ask_all(asked: list[Any], at_once: bool, redis: RedisServer | None = None) -> None:
    """Each step by one of two sites where there is a Redis."""
    rules = {"/a": Rule(ttl=5, stale=10, tags=("t",)), "/b/*": Rule(ttl=5)}
    namespace = secrets.token_hex(8)
    stores = [Redis(redis.url, namespace=namespace, within=20.0) for _ in range(2)] if redis else [None]
    sites = [Site(rules, store=store) for store in stores]

    async def one(number: int, who: str | None, path: str, query: str, change: str, later: float) -> None:
        site = sites[number % len(sites)]
        if change:
            await site.cache.invalidate(change)
        if not at_once:
            site.now += later
        body, _ = await site.get(path, who, query)
        assert body.decode().split(" ")[:3] == [who or "nobody", path, query]

    if at_once:
        await asyncio.gather(*(one(number, *step) for number, step in enumerate(asked)))
    else:
        for number, step in enumerate(asked):
            await one(number, *step)
    for site in sites:
        await site.app.close()


async def test_an_answer_is_given_again_until_it_is_too_old() -> None:
    """With its age, and to the second."""
    site = Site({"/a": Rule(ttl=5)})
    first, _ = await site.get(who="ana")
    site.now = 4.9
    again, headers = await site.get(who="ana")
    site.now = 5.0
    later, _ = await site.get(who="ana")
    assert (first == again, first == later) == (True, False)
    assert (headers["age"], headers["cache-status"]) == ("4", "tocsin; hit")
    assert (site.count("hit"), site.count("miss")) == (1, 2)


async def test_a_shared_route_answers_everybody_who_may_ask_with_one_piece_of_work() -> None:
    """By a decision about that route."""
    site = Site({"/a": Rule(ttl=5, shared=True)})
    assert len({(await site.get(who=who))[0] for who in ("ana", "bo", None)}) == 1
    assert len(site.worked) == 1


@pytest.mark.parametrize("header", ["authorization", "cookie"])
async def test_a_credential_that_nobody_proved_is_not_answered_from_the_cache(header: str) -> None:
    """On a public route the application may look at it itself."""
    site = Site({"/a": Rule(ttl=5, shared=True)})
    await site.get()
    await site.get(**{header: "anything"})
    await site.get(**{header: "anything"})
    assert (len(site.worked), site.count("bypass")) == (3, 2)


async def test_of_equal_questions_at_once_one_is_worked_on() -> None:
    """The others get its answer, also when the first asker goes away."""
    site = Site({"/a": Rule(ttl=5)}, gate=asyncio.Event())
    asking = [asyncio.create_task(site.get(who="ana")) for _ in range(50)]
    other = asyncio.create_task(site.get(who="bo"))
    await asyncio.sleep(0)
    assert site.gate is not None
    site.gate.set()
    answers = await asyncio.gather(*asking)
    await other
    assert (len({body for body, _ in answers}), site.worked) == (1, ["ana", "bo"])
    assert site.count("joined") == 49


async def test_an_asker_who_goes_away_takes_nobodys_answer_along() -> None:
    """The next one leads."""
    site = Site({"/a": Rule(ttl=5)}, gate=asyncio.Event())
    asking = [asyncio.create_task(site.get(who="ana")) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    assert site.gate is not None
    site.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1] == answers[2] or isinstance(answers[1], tuple)
    assert site.worked == ["ana", "ana"]


async def test_an_answer_that_nobody_may_share_holds_nobody_up() -> None:
    """Those who waited ask all at once: one behind the other, the last of them would wait for all."""
    site = Site({"/a": Rule(ttl=5, shared=True)}, status=503, gate=asyncio.Event())
    asking = [asyncio.create_task(site.get()) for _ in range(50)]
    await settled()
    assert len(site.worked) == 1
    assert site.gate is not None
    site.gate.set()
    await asking[0]
    site.gate.clear()
    await settled()
    assert len(site.worked) == 50
    site.gate.set()
    await asyncio.gather(*asking)


@pytest.mark.parametrize("how", ["reads slowly", "works on afterwards"])
async def test_whoever_made_the_answer_and_is_not_done_holds_nobody_up(how: str) -> None:
    """A client that does not read, or a background task: the answer is there for all others."""
    site = Site({"/a": Rule(ttl=5, shared=True)})
    never = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await never.wait()

    if how == "reads slowly":
        scope = {
            "type": "http", "method": "GET", "path": "/a", "query_string": b"", "scheme": "http", "headers": [],
        }  # fmt: skip
        leading = asyncio.create_task(site.app(scope, asyncio.Event().wait, send))  # type: ignore[arg-type]
    else:
        site.afterwards = never
        leading = asyncio.create_task(site.get())
    await settled()
    async with asyncio.timeout(60):
        assert (await site.get())[0] == b"nobody /a  1"
    assert (site.worked, leading.done()) == (["nobody"], False)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)


async def test_work_that_hangs_for_one_does_not_hang_for_all() -> None:
    """Past the cache's patience everybody asks for themselves."""
    site = Site({"/a": Rule(ttl=5, shared=True)}, gate=asyncio.Event())
    site.cache.patience = 0.05
    hanging = asyncio.create_task(site.get())
    await settled()
    site.gate = None
    async with asyncio.timeout(60):
        assert (await site.get())[0] == b"nobody /a  2"
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_stale_answer_is_given_at_once_and_made_anew_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for the refresh; a refresh that fails leaves the answer until it is too old, and is told."""
    site = Site({"/a": Rule(ttl=5, stale=10)})
    first, _ = await site.get(who="ana")
    site.now, site.fails = 6.0, True
    assert (await site.get(who="ana"))[0] == first
    await settled()
    assert "/a could not be made anew: RuntimeError" in caplog.text
    assert "the application failed" in caplog.text
    site.fails = False
    assert (await site.get(who="ana"))[0] == first
    await settled()
    fresh, _ = await site.get(who="ana")
    assert (fresh == first, site.worked) == (False, ["ana"] * 3)
    assert (site.count("stale"), site.count("failed", "refresh")) == (2, 1)
    site.now = 6.0 + 15.0
    assert (await site.get(who="ana"))[0] != fresh


async def test_a_change_voids_what_bears_its_tag_and_what_is_being_made() -> None:
    """Whoever asks after the change sees it."""
    site = Site({"/a": Rule(ttl=60, tags=("campaigns",))})
    first, _ = await site.get(who="ana")
    site.cache.invalidate("campaigns")
    assert (await site.get(who="ana"))[0] != first
    site.cache.invalidate("campaigns")
    site.gate = asyncio.Event()
    asking = asyncio.create_task(site.get(who="ana"))
    await asyncio.sleep(0)
    site.cache.invalidate("campaigns")
    site.gate.set()
    during, _ = await asking
    assert (await site.get(who="ana"))[0] != during


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


# Functions -----------------------------------------------------------------------------------------------------------

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
