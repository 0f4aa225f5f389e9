"""query and query_range: what is asked for, what is refused and how, and what a query may cost."""

import asyncio
from typing import Any

import pytest

from tocsin.access.tokens import Scope
from tocsin.errors import EvaluationError
from tocsin.model import Labels, Sample
from tocsin.promql import Limits, Round, Storage, compile_expr
from tocsin.testing.waiting import PATIENCE
from tocsin.web.reading import AT_ONCE, Canceled, TimedOut

from .conftest import NOW, Port

EPOCH = int(NOW.timestamp())


async def test_grafanas_health_check(port: Port) -> None:
    """`1+1` at time 4, posted as a form."""
    answer = await port.ask("POST", "/api/v1/query", Scope.QUERY_READ, form=[("query", "1+1"), ("time", "4")])
    assert answer.content == b'{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'


async def test_an_instant_vector(port: Port) -> None:
    """By GET, now by default."""
    port.holds("up", [1, 1], job="a")
    assert await port.get("/api/v1/query?query=up") == {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {"__name__": "up", "job": "a"}, "value": [EPOCH, "1"]}]},
    }


@pytest.mark.parametrize(
    "time", ["1772366400", "1772366400.0", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00.000%2B01:00"]
)
async def test_a_time_is_seconds_or_rfc3339(port: Port, time: str) -> None:
    """All of these are the same instant."""
    found = await port.get(f"/api/v1/query?query=time()&time={time}")
    assert found["data"]["result"] == [EPOCH, str(EPOCH)]


async def test_a_range(port: Port) -> None:
    """Steps as durations or seconds, both ends included."""
    port.holds("up", [1] * 10, job="a")
    for step in ("30s", "30", "0.5m"[:0] + "30.0"):
        found = await port.get(f"/api/v1/query_range?query=up&start={EPOCH - 60}&end={EPOCH}&step={step}")
        values = [[EPOCH - 60, "1"], [EPOCH - 30, "1"], [EPOCH, "1"]]
        assert found["data"]["result"] == [{"metric": {"__name__": "up", "job": "a"}, "values": values}]


@pytest.mark.parametrize(
    ("target", "code", "kind", "error"),
    [
        ("query?query=sum(", 400, "bad_data", 'invalid parameter "query": 1:5: parse error: unexpected end of input'),
        ("query", 400, "bad_data", 'invalid parameter "query": 1:1: parse error: no expression found in input'),
        ("query?query=1&time=x", 400, "bad_data",
         'invalid parameter "time": Invalid time value for \'time\': cannot parse "x" to a valid timestamp'),
        ("query?query=1&time=1e30", 400, "bad_data",
         'invalid parameter "time": Invalid time value for \'time\': cannot parse "1e30" to a valid timestamp'),
        ("query?query=1&time=nan", 400, "bad_data",
         'invalid parameter "time": Invalid time value for \'time\': cannot parse "nan" to a valid timestamp'),
        ("query?query=1&timeout=soon", 400, "bad_data",
         'invalid parameter "timeout": cannot parse "soon" to a valid duration'),
        ("query?query=1&limit=-1", 400, "bad_data", 'invalid parameter "limit": limit must be non-negative'),
        ("query_range?query=1&end=1&step=1", 400, "bad_data",
         'invalid parameter "start": cannot parse "" to a valid timestamp'),
        ("query_range?query=1&start=2&end=1&step=1", 400, "bad_data",
         'invalid parameter "end": end timestamp must not be before start time'),
        ("query_range?query=1&start=1&end=2&step=0", 400, "bad_data",
         'invalid parameter "step": zero or negative query resolution step widths are not accepted. '
         "Try a positive integer"),
        ("query_range?query=1&start=0&end=11001&step=1", 400, "bad_data",
         "exceeded maximum resolution of 11,000 points per timeseries. "
         "Try decreasing the query resolution (?step=XX)"),
        ("query_range?query=up[5m]&start=1&end=2&step=1", 400, "bad_data",
         'invalid expression type "range vector" for range query, '
         "must be Scalar or instant Vector"),
        ("query?query=up%2Bon()up", 422, "execution", "found duplicate series for the match group {}"),
        ("series", 400, "bad_data", "no match[] parameter provided"),
        ("series?match[]={__name__=~%22.*%22}", 400, "bad_data",
         'invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
        ("series?match[]=rate(up[5m])", 400, "bad_data", 'invalid parameter "match[]": 1:1: parse error:'),
        ("labels?start=2&end=1", 400, "bad_data", "end timestamp must not be before start timestamp"),
        ("rules?type=foo", 400, "bad_data", 'invalid parameter "type": not supported value "foo"'),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_as_prometheus_does(
    port: Port, target: str, code: int, kind: str, error: str
) -> None:
    """The HTTP code, the kind and the words that clients show to people."""
    port.holds("up", [1], job="a")
    port.holds("up", [1], job="b")
    answer = await port.ask("GET", f"/api/v1/{target}")
    said: dict[str, Any] = answer.json()
    assert (answer.status, said["status"], said["errorType"]) == (code, "error", kind)
    assert said["error"].startswith(error)


async def test_eleven_thousand_and_one_steps_are_still_answered(port: Port) -> None:
    """Prometheus counts the gaps, not the points."""
    found = await port.get("/api/v1/query_range?query=vector(1)&start=0&end=11000&step=1")
    assert len(found["data"]["result"][0]["values"]) == 11_001


async def test_warnings_come_with_the_result(port: Port) -> None:
    """What is probably not meant is said beside the answer, with its place in the expression."""
    port.holds("memory", [1, 2, 3])
    found = await port.get("/api/v1/query?query=quantile(2,memory)")
    said = "PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"
    assert (found["data"]["result"][0]["value"][1], found["warnings"]) == ("+Inf", [said])


async def test_a_limit_cuts_and_says_so(port: Port) -> None:
    """Never silently."""
    for job in "abc":
        port.holds("up", [1], job=job)
    found = await port.get("/api/v1/query?query=up&limit=2")
    assert (len(found["data"]["result"]), found["warnings"]) == (2, ["results truncated due to limit"])


async def test_a_large_answer_is_streamed_and_packed(port: Port) -> None:
    """In several pieces, and the same when unpacked."""
    port.store.load("up", [Labels(job=f"job-{n}") for n in range(5000)], [EPOCH * 1000], _ones(5000))
    plain = await port.ask("GET", "/api/v1/query?query=up")
    packed = await port.ask("GET", "/api/v1/query?query=up", headers={"Accept-Encoding": "deflate, gzip;q=1.0"})
    assert (plain.pieces > 1, packed.headers["content-encoding"]) == (True, "gzip")
    assert (packed.json(), len(packed.body) < len(plain.body) / 4) == (plain.json(), True)


@pytest.mark.parametrize("offer", ["", "identity", "gzip;q=0", "br"])
async def test_who_takes_no_gzip_gets_none(port: Port, offer: str) -> None:
    """`q=0` is a refusal."""
    answer = await port.ask("GET", "/api/v1/metadata?pad=" + "x" * 10, headers={"Accept-Encoding": offer})
    assert "content-encoding" not in answer.headers


async def test_a_query_ends_at_its_time_limit(port: Port) -> None:
    """503 and `timeout`, as Prometheus."""

    def work(storage: Storage, limits: Limits) -> None:
        assert limits.check is not None
        port.clock.pass_(3.0)
        limits.check()

    with pytest.raises(TimedOut, match="query timed out in expression evaluation"):
        await port.reader.run(work, limit=2.0)


async def test_timeout_can_only_lower_the_limit(port: Port) -> None:
    """No client buys itself more time."""

    def work(storage: Storage, limits: Limits) -> None:
        assert limits.check is not None
        port.clock.pass_(port.reader.time_limit + 1)
        limits.check()

    with pytest.raises(TimedOut):
        await port.reader.run(work, limit=3600.0)


async def test_a_client_that_hangs_up_ends_its_query(port: Port) -> None:
    """Nobody would read the answer."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    def select(*_: object) -> list[Any]:
        loop.call_soon_threadsafe(gone.set)
        return []

    port.store.select = select  # type: ignore[method-assign]
    query = "%2B".join(f"sum(a{n})" for n in range(2000))
    answer = await port.ask("GET", f"/api/v1/query?query={query}", gone=gone)
    assert (answer.status, answer.json()["errorType"]) == (503, "canceled")


async def test_the_end_of_the_daemon_ends_queries(port: Port) -> None:
    """It does not wait for somebody's dashboard."""
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(storage: Storage, limits: Limits) -> None:
        assert limits.check is not None
        loop.call_soon_threadsafe(began.set)
        while True:
            limits.check()

    running = asyncio.ensure_future(port.reader.run(work))
    async with asyncio.timeout(PATIENCE):
        await began.wait()
    port.reader.close()
    with pytest.raises(Canceled):
        await running


async def test_a_poll_does_not_wait_for_a_query(port: Port) -> None:
    """While queries reckon in every thread there is, samples are stored and rules run."""
    port.holds("up", [1], job="a")
    plan = compile_expr("up")
    began, go_on = [asyncio.Event() for _ in range(AT_ONCE)], [False]
    loop = asyncio.get_running_loop()

    def work(number: int) -> Any:
        def reckon(storage: Storage, limits: Limits) -> int:
            found = Round(storage, NOW, limits=limits).evaluate(plan)
            loop.call_soon_threadsafe(began[number].set)
            while not go_on[0]:
                pass
            return len(list(found))  # type: ignore[arg-type]

        return reckon

    running = [asyncio.ensure_future(port.reader.run(work(number))) for number in range(AT_ONCE)]
    try:
        async with asyncio.timeout(PATIENCE):
            for each in began:
                await each.wait()
            async with port.pipeline.reading() as store:
                store.append([Sample(name="up", labels=Labels(job=f"new-{n}"), value=1.0, at=NOW) for n in range(100)])
    finally:
        go_on[0] = True  # else the threads would take the processor from all tests after this one
    assert await asyncio.gather(*running) == [1] * AT_ONCE


async def test_a_store_that_renumbers_its_labels_restarts_the_query(port: Port) -> None:
    """Numbers of two dictionaries are never mixed."""
    port.holds("up", [1], job="a")
    tries = []

    def work(storage: Storage, limits: Limits) -> int:
        tries.append(storage.dictionary)
        if len(tries) == 1:
            port.store.dictionary = type(storage.dictionary)()
        try:
            storage.select(compile_expr("up").selectors[0].matchers, 0, EPOCH * 1000)
        except EvaluationError:
            raise AssertionError from None
        return len(tries)

    assert (await port.reader.run(work), tries[1] is port.store.dictionary) == (2, True)


def _ones(count: int) -> Any:
    import numpy as np

    return np.ones((1, count))
