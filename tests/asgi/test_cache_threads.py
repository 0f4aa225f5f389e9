"""Functions that threads call: one at work, nobody hangs, and nothing void; and event loops that come and go."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.cached import Site
from tocsin.asgi.cache import Cache, Memory, Redis, Rule
from tocsin.asgi.measures import Measures
from tocsin.testing.redis import RedisServer

WHOSE: ContextVar[str] = ContextVar("whose", default="nobody's")


@dataclass
class Rates:
    """A function of threads, what it was asked, and who worked."""

    asked: list[int] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    now: float = 0.0
    gate: threading.Event | None = None
    fails: BaseException | None = None

    def cached(self, **rule: Any) -> Callable[[int], int | None]:
        self.registry = CollectorRegistry()
        self.cache = Cache(now=lambda: self.now, measures=Measures(self.registry))

        @self.cache.cached(**rule)
        def rate(number: int) -> int | None:
            """The rate of a number."""
            self.asked.append(number)
            self.workers.append(threading.get_ident())
            self.contexts.append(WHOSE.get())
            times = len(self.asked)
            if self.gate is not None:
                self.gate.wait(60)
            if self.fails is not None:
                raise self.fails
            return times if number else None

        return rate

    def began(self, times: int) -> None:
        """Wait for so many calls of the function itself."""
        for _ in range(60_000):
            if len(self.asked) >= times:
                return
            threading.Event().wait(0.001)
        raise AssertionError(self.asked)

    def count(self, outcome: str) -> float:
        [samples] = [one.samples for one in self.registry.collect() if one.name == "tocsin_http_cache"]
        return sum(one.value for one in samples if one.labels.get("outcome") == outcome and one.name.endswith("_total"))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def asked_at_once(pool: ThreadPoolExecutor, rates: Rates, call: Callable[[], Any], many: int) -> list[Future[Any]]:
    """The first is at work, and the others were handed out."""
    assert rates.gate is not None
    before = len(rates.asked)
    calls = [pool.submit(call)]
    rates.began(before + 1)
    return calls + [pool.submit(call) for _ in range(many - 1)]


def test_of_equal_calls_in_many_threads_one_works(pool: ThreadPoolExecutor) -> None:
    """In the thread of its caller, where the caller's connections are; the name and the text stay the function's."""
    rates = Rates(gate=threading.Event())
    rate = rates.cached(ttl=5)
    assert (rate.__name__, rate.__doc__) == ("rate", "The rate of a number.")
    calls = asked_at_once(pool, rates, lambda: (rate(1), threading.get_ident()), 12)
    rates.gate.set()
    found = [call.result(60) for call in calls]
    assert ({value for value, _ in found}, rates.asked, rates.workers) == ({1}, [1], [found[0][1]])
    assert rates.count("miss") + rates.count("joined") + rates.count("hit") == 12
    assert rates.count("miss") == 1
    rates.now = 5.0
    assert (rate(1), rates.asked) == (2, [1, 1])


def test_what_is_not_there_is_kept_for_its_own_time_and_a_tag_voids() -> None:
    """As of async functions, in one memory with them."""
    rates = Rates()
    rate = rates.cached(ttl=50, missing=5, tags=lambda number: (f"n-{number}",))
    assert [rate(0), rate(0), rate(1), rate(1), len(rates.asked)] == [None, None, 2, 2, 2]
    rates.cache.invalidate("n-1")
    assert [rate(0), rate(1), len(rates.asked)] == [None, 3, 3]
    rates.now = 5.0
    assert [rate(0), rate(1), len(rates.asked)] == [None, 3, 4]


@pytest.mark.parametrize("error", [LookupError("the database is down"), SystemExit(3)])
def test_an_error_goes_to_all_who_waited_and_an_end_to_nobody_else(
    pool: ThreadPoolExecutor, error: BaseException
) -> None:
    """It is not kept. Who was broken off in the middle leaves the work to the next."""
    rates = Rates(gate=threading.Event(), fails=error)
    rate = rates.cached(ttl=5)

    def call() -> Any:
        try:
            return rate(1)
        except (LookupError, SystemExit) as found:
            if not isinstance(error, LookupError):
                rates.fails = None
            return found

    calls = asked_at_once(pool, rates, call, 8)
    rates.gate.set()
    found = [one.result(60) for one in calls]
    assert found[0] is error
    if isinstance(error, LookupError):
        assert set(map(id, found)) == {id(error)}
        rates.fails = None
    assert rate(1) == len(rates.asked)


def test_a_stale_result_is_given_at_once_and_made_anew_in_another_thread(caplog: pytest.LogCaptureFixture) -> None:
    """One of them, in its caller's context; one that fails is told, and the old result stands."""
    rates = Rates()
    rate = rates.cached(ttl=5, stale=10)
    rate(1)
    rates.now, rates.gate = 6.0, threading.Event()
    WHOSE.set("ana's")
    assert [rate(1) for _ in range(9)] == [1] * 9
    rates.began(2)
    assert (rates.asked, rates.contexts[1]) == ([1, 1], "ana's")
    assert rates.workers[1] != threading.get_ident()
    rates.gate.set()
    waited_for(lambda: rate(1) == 2)
    rates.now, rates.fails = 12.0, LookupError("the database is down")
    assert rate(1) == 2
    waited_for(lambda: "could not be made anew: LookupError" in caplog.text)
    assert rate(1) == 2


def test_a_thousand_results_that_grow_stale_at_once_start_no_thousand_threads() -> None:
    """What is not made anew now is by its next caller."""
    rates = Rates()
    rate = rates.cached(ttl=5, stale=10)
    for number in range(1, 101):
        rate(number)
    before = threading.active_count()
    rates.now, rates.gate = 6.0, threading.Event()
    assert [rate(number) for number in range(1, 101)] == list(range(1, 101))
    assert threading.active_count() <= before + 8
    rates.gate.set()
    waited_for(lambda: len([rate(number) for number in range(1, 101) if rate(number) == number]) == 0)


def test_a_call_that_hangs_is_waited_for_no_longer_than_the_patience(pool: ThreadPoolExecutor) -> None:
    """Nor does a function wait for itself."""
    rates = Rates(gate=threading.Event())
    rate = rates.cached(ttl=5)
    rates.cache.patience = 0.05
    [hanging] = asked_at_once(pool, rates, lambda: rate(1), 1)
    second = pool.submit(lambda: rate(1))
    rates.began(2)  # by itself, with the first still at it
    rates.gate.set()
    assert {hanging.result(60), second.result(60)} == {1, 2}
    cache = Cache(patience=3600.0, measures=Measures(CollectorRegistry()))
    depth = []

    @cache.cached(ttl=5)
    def itself(number: int) -> int:
        depth.append(number)
        return itself(number) + 1 if len(depth) < 3 else 0

    assert itself(1) == 2


def test_who_asks_after_a_change_is_given_nothing_of_before(pool: ThreadPoolExecutor) -> None:
    """By any thread, whatever is being made: the number read is never below the one that was written."""
    cache = Cache(measures=Measures(CollectorRegistry()))
    written = [0]

    @cache.cached(ttl=60, stale=60, tags=("t",))
    def read() -> int:
        found = written[0]
        threading.Event().wait(0.0001 * random.random())
        return found

    def writes() -> None:
        for _ in range(100):
            written[0] += 1  # by one thread alone
            cache.invalidate("t")
            floor[0] = written[0]

    floor = [0]

    def checks() -> list[tuple[int, int]]:
        return [(floor[0], read()) for _ in range(150)]

    found = [pool.submit(checks) for _ in range(6)]
    pool.submit(writes).result(60)
    assert [(before, after) for one in found for before, after in one.result(60) if after < before] == []


def test_the_memorys_bound_holds_whatever_threads_do(pool: ThreadPoolExecutor) -> None:
    """In bytes, and to the byte of what is there."""
    cache = Cache(most_bytes=1 << 16, measures=Measures(CollectorRegistry()))

    @cache.cached(ttl=60, tags=lambda number: (str(number % 7),))
    def text(number: int) -> str:
        return "x" * (number % 900)

    def asks(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(300):
            number = chosen.randrange(400)
            assert text(number) == "x" * (number % 900)
            if number % 50 == 0:
                cache.invalidate(str(number % 7))

    for one in [pool.submit(asks, seed) for seed in range(8)]:
        one.result(60)
    memory = cache.store
    assert isinstance(memory, Memory)
    assert 0 < memory.size <= 1 << 16
    assert memory.size == sum(entry.size for entry in memory._entries.values())


def test_what_is_no_plain_result_is_refused(redis: RedisServer) -> None:
    """Something to await, a generator; and a store that only asyncio can ask, when the function is made."""
    cache = Cache(measures=Measures(CollectorRegistry()))

    async def later() -> int:
        return 1

    with pytest.raises(TypeError, match="gives something to await: make it `async def`"):
        cache.cached(ttl=5)(lambda: later())()

    def plain() -> int:
        return 1

    with pytest.raises(TypeError, match=r"plain is no async function.*Cache\(\) in memory"):
        Cache(store=Redis(redis.url)).cached(ttl=5)(plain)


# Event loops ---------------------------------------------------------------------------------------------------------


def test_an_event_loop_that_ended_in_the_middle_hangs_nobody_in_the_next() -> None:
    """As in tests, scripts, and workers that run one for each job."""
    cache = Cache(patience=3600.0, measures=Measures(CollectorRegistry()))
    asked: list[int] = []

    @cache.cached(ttl=60)
    async def number() -> int:
        asked.append(1)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return len(asked)

    ended = asyncio.new_event_loop()
    left = ended.create_task(number())
    for _ in range(3):
        ended.run_until_complete(asyncio.sleep(0))
    for task in {left, *asyncio.all_tasks(ended)}:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    ended.close()

    async def again() -> int:
        async with asyncio.timeout(30):
            return await number()

    assert [asyncio.run(again()), asyncio.run(again())] == [2, 2]
    assert len(cache._flights) == 1, "what flew in a closed one is let go"


def test_two_event_loops_at_once_each_work_for_themselves(pool: ThreadPoolExecutor) -> None:
    """What one is making the other can't wait for; what is kept is there for both."""
    cache = Cache(patience=3600.0, measures=Measures(CollectorRegistry()))
    site = Site({"/a": Rule(ttl=60, shared=True)})
    site.cache.patience = 3600.0
    together, worked = threading.Barrier(2), []

    @cache.cached(ttl=60)
    async def number() -> int:
        worked.append(1)
        await asyncio.to_thread(together.wait, 60)
        return 7

    async def both() -> tuple[int, bytes]:
        async with asyncio.timeout(60):
            return await number(), (await site.get())[0][:11]

    found = list(pool.map(lambda _: asyncio.run(both()), range(2)))
    assert (found, len(worked)) == ([(7, b"nobody /a  ")] * 2, 2)
    assert asyncio.run(both()) == found[0]
    assert len(worked) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_redis_serves_one_event_loop_after_the_other(redis: RedisServer) -> None:
    """Its connections are a loop's own: the next has new ones, and no error, also where nobody closed the old."""
    site = Site({"/a": Rule(ttl=60)}, store=Redis(redis.url, namespace="loops", within=20.0))

    async def ask(*, close: bool) -> bytes:
        body, _ = await site.get(query="one-by-one")
        if close:
            await site.app.close()
        return body

    first = asyncio.run(ask(close=False))
    found = [asyncio.run(ask(close=True)) for _ in range(3)]
    gc.collect()  # what was left open is told here, and in no other test
    assert (found, site.count("unreachable")) == ([first] * 3, 0)


def waited_for(holds: Callable[[], bool]) -> None:
    for _ in range(60_000):
        if holds():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came")
