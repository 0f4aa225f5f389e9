"""The endpoint collector against real servers."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from tocsin.model import Sample

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
# Types of this folder's conftest, which a test can't import.
Endpoints = Any


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="all is well")


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError("the probe did not give up")


async def poll_again(collector: Any, at: Any) -> list[Any]:
    return [item async for item in collector.collect(at)]


async def test_a_good_answer_is_up_with_every_phase(endpoints: Endpoints) -> None:
    """An answer that meets what is expected is `up 1` without a failure."""
    url = await endpoints.serve(ok)
    seen = await endpoints.poll({"url": url, "expect": {"status": 200, "body_contains": "well"}, "service": "web"})
    assert seen.value("tocsin_endpoint_up", instance=url, service="web") == 1
    assert (seen.reasons(), seen.phases()) == (set(), {"connect", "first_byte", "total"})
    assert (seen.value("tocsin_endpoint_status_code"), seen.value("probe_http_status_code")) == (200, 200)
    assert (seen.value("probe_success"), seen.blind) == (1, [])


async def test_a_name_is_looked_up_in_a_phase_of_its_own(endpoints: Endpoints) -> None:
    """`dns` is there for a name and absent for an address."""
    url = (await endpoints.serve(ok)).replace("127.0.0.1", "localhost")
    seen = await endpoints.poll({"url": url})
    assert seen.phases() == {"dns", "connect", "first_byte", "total"}


async def test_a_wrong_status_and_body_are_both_named(endpoints: Endpoints) -> None:
    """Each expectation that fails is a reason of its own."""

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500, text="stack trace")

    seen = await endpoints.poll({"url": await endpoints.serve(broken), "expect": {"body_contains": "well"}})
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (0, {"status", "body"})
    assert seen.value("tocsin_endpoint_probes_total", outcome="failure") == 1


async def test_a_refused_connection_is_connect(endpoints: Endpoints) -> None:
    """Nobody listens: `connect`, with no status and no total phase, and no duration that looks fast."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        seen = await endpoints.poll({"url": f"http://127.0.0.1:{unused.getsockname()[1]}/"})
    assert (seen.value("tocsin_endpoint_up"), seen.reasons(), seen.phases()) == (0, {"connect"}, set())
    assert seen.value("tocsin_endpoint_status_code") is None
    assert seen.value("tocsin_endpoint_duration_seconds_count") == 0


async def test_an_unknown_name_is_dns(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is `dns`."""

    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    seen = await endpoints.poll({"url": "http://nowhere.invalid/"})
    assert (seen.reasons(), seen.phases()) == ({"dns"}, set())


async def test_a_host_that_is_no_name_is_dns(endpoints: Endpoints) -> None:
    """A label over 63 characters can't be looked up at all: a result, not an error of the collector."""
    seen = await endpoints.poll({"url": f"http://{'a' * 64}.invalid/"})
    assert seen.reasons() == {"dns"}


async def test_a_hanging_answer_is_a_timeout_that_counts(endpoints: Endpoints) -> None:
    """What hangs until the deadline is `timeout`, and lies in the histogram with the time waited."""
    seen = await endpoints.poll({"url": await endpoints.serve(hang), "deadline": 0.2}, interval="1s")
    assert seen.reasons() == {"timeout"}
    assert seen.value("tocsin_endpoint_duration_seconds_bucket", le="0.1") == 0
    assert seen.value("tocsin_endpoint_duration_seconds_count") == 1


async def test_a_body_that_stalls_is_a_timeout(endpoints: Endpoints) -> None:
    """Headers alone are no answer."""

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()

    seen = await endpoints.poll({"url": await endpoints.serve_raw(stall), "deadline": 0.2})
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (0, {"timeout"})


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_peer_that_speaks_no_http_is_protocol(endpoints: Endpoints, answer: bytes) -> None:
    """A peer that hangs up, speaks something else or breaks off is `protocol`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    seen = await endpoints.poll({"url": await endpoints.serve_raw(talk)})
    assert seen.reasons() == {"protocol"}


async def test_slow_is_told_before_the_answer(endpoints: Endpoints) -> None:
    """`up 0` for slowness comes while the target still thinks; its status follows when it answers."""
    answer = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await answer.wait()
        return web.Response(text="at last")

    collector = endpoints.collector(
        {"url": await endpoints.serve(slow), "name": "slow", "expect": {"max_seconds": 0.05}}
    )
    told: list[tuple[str, float]] = []
    async for item in collector.collect(AT):
        assert isinstance(item, Sample)
        told.append((item.name, item.value))
        if item.name == "tocsin_endpoint_failure":
            assert item.labels["reason"] == "slow"
            assert "tocsin_endpoint_status_code" not in dict(told)
            answer.set()
    assert [value for name, value in told if name == "tocsin_endpoint_up"] == [0]
    assert [value for name, value in told if name == "tocsin_endpoint_status_code"] == [200]


async def test_one_hanging_target_delays_nobody(endpoints: Endpoints) -> None:
    """The others are told while it hangs."""
    release = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    collector = endpoints.collector(
        {"url": await endpoints.serve(wait), "name": "hanging"}, {"url": await endpoints.serve(ok), "name": "good"}
    )
    order = []
    async for item in collector.collect(AT):
        if item.name == "tocsin_endpoint_up":
            order.append(item.labels["instance"])
            release.set()
    assert order == ["good", "hanging"]


async def test_no_free_place_is_unknown_not_down(endpoints: Endpoints) -> None:
    """A target that could not be probed in this poll is blind, and says what to raise."""
    url = await endpoints.serve(hang)
    targets = [{"url": url, "name": f"t{n}", "deadline": "1s"} for n in range(3)]
    seen = await endpoints.poll(*targets, concurrency=1, interval="2s")
    probed = [name for name in ("t0", "t1", "t2") if seen.reasons(name) == {"timeout"}]
    waited = [blind.labels["instance"] for blind in seen.blind]
    assert (len(probed), len(waited), sorted(probed + waited)) == (1, 2, ["t0", "t1", "t2"])
    assert "raise concurrency" in seen.blind[0].why


async def test_a_large_body_is_read_to_the_limit(endpoints: Endpoints) -> None:
    """Past `body_limit` nothing is read or matched, and the answer still counts."""

    async def large(_: web.Request) -> web.Response:
        return web.Response(text="x" * 300_000 + "needle")

    target = {"url": await endpoints.serve(large), "expect": {"body_contains": "needle"}}
    assert (await endpoints.poll(target)).reasons() == set()
    assert (await endpoints.poll(target, body_limit=200_000)).reasons() == {"body"}


async def test_counters_begin_a_poll_before_the_first(endpoints: Endpoints) -> None:
    """The first failure after a start is a rise from zero; later polls count on from there."""
    collector = endpoints.collector({"url": await endpoints.serve(ok), "name": "w"}, interval="5s")
    await poll_again(collector, AT)
    later = await poll_again(collector, AT + timedelta(seconds=5))
    counts = {s.labels["outcome"]: s for s in later if s.name == "tocsin_endpoint_probes_total"}
    assert {outcome: s.value for outcome, s in counts.items()} == {"success": 2, "failure": 0}
    assert {s.created for s in counts.values()} == {AT - timedelta(seconds=5)}


async def test_a_cancelled_poll_leaves_nothing_behind(endpoints: Endpoints) -> None:
    """The runtime may cut a poll: no probe goes on, and the next poll works."""
    entered = asyncio.Event()

    async def note(_: web.Request) -> web.Response:
        entered.set()
        await asyncio.sleep(60)
        return web.Response()

    collector = endpoints.collector({"url": await endpoints.serve(note), "name": "w"})
    poll = asyncio.create_task(poll_again(collector, AT))
    async with asyncio.timeout(30):
        await entered.wait()
    before = {task for task in asyncio.all_tasks() if "_watch" in repr(task) or "Prober.probe" in repr(task)}
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    await asyncio.wait(before, timeout=5)
    assert [task for task in before if not task.done()] == []


@pytest.mark.parametrize(
    ("expect", "reasons"),
    [
        ({"json_equals": {"items[0].id": 7, "ok": True}, "json_exists": ["nothing"]}, set()),
        ({"json_equals": {"items[0].id": "7"}}, {"json"}),
        ({"json_equals": {"ok": 1}}, {"json"}),
        ({"json_exists": ["items[1]"]}, {"json"}),
        ({"header_matches": {"X-Build": "^v[0-9]+$"}}, set()),
        ({"header_matches": {"X-Build": "^w"}}, {"header"}),
        ({"header_matches": {"X-Absent": ".*"}}, {"header"}),
    ],
)
async def test_json_and_headers_are_looked_at(endpoints: Endpoints, expect: dict[str, Any], reasons: set[str]) -> None:
    """One place of a JSON body each, by JSON's own equality; an absent header fails whatever is wanted of it."""

    async def answer(_: web.Request) -> web.Response:
        body = {"items": [{"id": 7}], "ok": True, "nothing": None}
        return web.json_response(body, headers={"x-build": "v12"})

    seen = await endpoints.poll({"url": await endpoints.serve(answer), "expect": expect})
    assert seen.reasons() == reasons


async def test_a_body_that_is_no_json_is_json(endpoints: Endpoints) -> None:
    """An error page where a document was expected."""
    seen = await endpoints.poll({"url": await endpoints.serve(ok), "expect": {"json_exists": ["id"]}})
    assert seen.reasons() == {"json"}


class Broken:
    """Fails as often as it is told to, then answers."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def answer(self, _: web.Request) -> web.Response:
        self.left -= 1
        return web.Response(status=503 if self.left >= 0 else 200)


async def test_a_try_that_failed_is_counted_though_the_next_was_good(endpoints: Endpoints) -> None:
    """Up after two tries: the probe is a success, and one of its tries a failure."""
    collector = endpoints.collector({"url": await endpoints.serve(Broken(1).answer), "name": "w", "retries": 2})
    first, second = await poll_again(collector, AT), await poll_again(collector, AT + timedelta(seconds=5))
    told = [
        {(s.name, s.labels.get("outcome")): s.value for s in poll if s.name.endswith(("_up", "_tries", "s_total"))}
        for poll in (first, second)
    ]
    success, failure = ("tocsin_endpoint_tries_total", "success"), ("tocsin_endpoint_tries_total", "failure")
    probes = ("tocsin_endpoint_probes_total", "success"), ("tocsin_endpoint_probes_total", "failure")
    rest = [("tocsin_endpoint_up", None), ("tocsin_endpoint_probe_tries", None), success, failure, *probes]
    assert [[poll[name] for name in rest] for poll in told] == [[1, 2, 1, 1, 1, 0], [1, 1, 2, 1, 2, 0]]


async def test_when_all_tries_fail_the_last_ones_reason_is_told(endpoints: Endpoints) -> None:
    """And it is one failed probe of as many failed tries."""
    broken = Broken(9)
    seen = await endpoints.poll({"url": await endpoints.serve(broken.answer), "retries": 2})
    assert (seen.reasons(), broken.left) == ({"status"}, 6)
    assert seen.value("tocsin_endpoint_tries_total", outcome="failure") == 3
    assert seen.value("tocsin_endpoint_probes_total", outcome="failure") == 1


async def test_a_try_that_hangs_leaves_time_for_the_next(endpoints: Endpoints) -> None:
    """Each may take its share of the deadline, not all of it."""
    answers = iter([hang, ok])

    async def once(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    seen = await endpoints.poll({"url": await endpoints.serve(once), "retries": 1, "deadline": "4s"})
    assert (seen.value("tocsin_endpoint_up"), seen.value("tocsin_endpoint_probe_tries")) == (1, 2)
