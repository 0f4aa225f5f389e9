"""The cache: never another user's answer, one piece of work for equal questions, and no answer older than it may be."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.asgi.cached import Site, settled
from tocsin.asgi.cache import Redis, Rule
from tocsin.tasks import end_tasks
from tocsin.testing.redis import RedisServer

ASKED = st.lists(
    st.tuples(
        st.sampled_from(["ana", "bo", "cem", None]),
        st.sampled_from(["/a", "/b/1", "/b/2"]),
        st.sampled_from(["", "x=1", "x=2"]),
        st.sampled_from(["", "t", "everything"]),
        st.floats(0, 20),
        st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "GET if new"]),
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

    async def one(
        number: int, who: str | None, path: str, query: str, change: str, later: float, how: str
    ) -> None:  # fmt: skip
        site = sites[number % len(sites)]
        if change:
            await site.cache.invalidate(change)
        if not at_once:
            site.now += later
        method, _, new = how.partition(" ")
        said = await site.ask(method, path, who, query, **({"if_none_match": f'"{who}"'} if new else {}))
        if said.status == 200 and (said.body or method != "HEAD"):
            assert said.body.decode().split(" ")[:3] == [who or "nobody", path, query]
        # 200 to a condition too where a change voided what was waited for: then the application answers it.
        assert said.headers["etag"] == f'"{who or "nobody"}"'
        assert said.status == 200 or (said.status, said.body, bool(new and who)) == (304, b"", True)

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


async def test_a_cache_that_never_hits_says_so_from_the_first_miss() -> None:
    """Hits are nought and not unknown: an alert on their share sees a cache that a deployment broke."""
    site = Site({"/a": Rule(ttl=5)})
    await site.get()
    hits = site.registry.get_sample_value("tocsin_http_cache_total", {"cached": "/a", "outcome": "hit"})
    assert hits == 0


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
    await end_tasks(leading)


async def test_work_that_hangs_for_one_does_not_hang_for_all() -> None:
    """Past the cache's patience everybody asks for themselves."""
    site = Site({"/a": Rule(ttl=5, shared=True)}, gate=asyncio.Event())
    site.cache.patience = 0.05
    hanging = asyncio.create_task(site.get())
    await settled()
    site.gate = None
    async with asyncio.timeout(60):
        assert (await site.get())[0] == b"nobody /a  2"
    await end_tasks(hanging)


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
