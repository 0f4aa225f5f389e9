"""Which requests the log has a line of, and that the lines stand for all of them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.frameworks import Kept
from tocsin.asgi import Lines, RequestLog, Sampling
from tocsin.asgi.call import Call, Site
from tocsin.asgi.logs.sampling import Sampler
from tocsin.asgi.measures import measures_of
from tocsin.testing.waiting import eventually


async def test_the_lines_stand_for_every_request() -> None:
    """Whatever the share: the sum over the lines is the number of requests, errors and all."""
    kept = Kept()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        status = 500 if scope["path"].endswith("7") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"12345"})

    log = RequestLog(
        app, measures=measures_of(CollectorRegistry()), lines=Lines(kept), sampling=Sampling(share=0.1, slow=3600)
    )
    for number in range(1000):
        await log(scope(f"/{number}"), nothing, nowhere)
    log.close()
    done, left = kept.of("request.done"), kept.of("request.left_out")
    assert sum(line["stands_for"] for line in (*done, *left)) == 1000
    assert sum(line["status"] == 500 for line in done) == 100
    assert 150 < len(done) < 260
    assert {line["bytes"] for line in done} == {5}


def test_slow_and_rare_requests_are_always_written() -> None:
    """And the first of a route in each minute; the rest only by its share, here none."""
    sampler = Sampler(Sampling(share=0.0, slow=1.0, at_least_every=60.0))

    def verdict(route: str, took: float, now: float) -> tuple[str, int]:
        return sampler.verdict(Call(Site(None), scope("/")), route, took, now)

    assert verdict("/a", 0.1, 0.0) == ("first", 1)
    assert [verdict("/a", 0.1, now) for now in (1.0, 2.0)] == [("", 0), ("", 0)]
    assert verdict("/a", 1.0, 3.0) == ("slow", 1)
    assert verdict("/b", 0.1, 4.0) == ("first", 1)
    assert verdict("/a", 0.1, 60.0) == ("first", 3)


def test_a_storm_of_errors_is_counted_in_the_lines_that_are_written() -> None:
    """Two a minute here: the next one's count has what was left out, and a calm route is not in it."""
    sampler = Sampler(Sampling(share=0.0, urgent_per_minute=2))

    def verdict(route: str, now: float) -> tuple[str, int]:
        call = Call(Site(None), scope("/"))
        call.status = 500
        return sampler.verdict(call, route, 0.1, now)

    said = [verdict("/a", now) for now in (0.0, 1.0, 2.0, 3.0, 60.0, 61.0, 62.0)]
    assert said == [("error", 1), ("error", 1), ("", 0), ("", 0), ("error", 3), ("error", 1), ("", 0)]
    assert verdict("/b", 62.0) == ("error", 1)
    assert sampler.leftovers() == [("/a", 500, "error", 1)]


@pytest.mark.parametrize("seed", range(4))
def test_the_counts_are_true_by_route_and_by_status(seed: int) -> None:
    """In storms and lulls: weighted by `stands_for`, the lines tell how many of each there were, and no error and no
    slow request is told as something else."""
    draw = random.Random(seed)
    sampler = Sampler(Sampling(share=draw.choice((0.0, 0.01, 0.3)), urgent_per_minute=5))
    truth: Counter[tuple[str, int, str]] = Counter()
    told: Counter[tuple[str, int, str]] = Counter()
    now, written = 0.0, 0
    for _ in range(4000):
        now += draw.choice((0.001, 0.01, 0.5, 61.0) if draw.random() < 0.01 else (0.001, 0.01))
        call = Call(Site(None), scope("/"))
        route, call.status = draw.choice("ab"), draw.choice((200, 200, 200, 404, 500, 503))
        took = draw.choice((0.1, 0.1, 2.0))
        kind = "error" if call.status >= 500 else "slow" if took >= 1 else ""
        truth[route, call.status, kind] += 1
        why, stands_for = sampler.verdict(call, route, took, now)
        written += bool(why)
        told[route, call.status, why if why in ("error", "slow") else ""] += stands_for
        if draw.random() < 0.001:
            told.update({(route, status, why): count for route, status, why, count in sampler.leftovers(now)})
    for route, status, why, count in sampler.leftovers():
        told[route, status, why] += count
    assert +told == truth
    assert written < 2000
    assert not sampler.open


async def test_what_was_left_out_of_a_quiet_route_is_told_in_time() -> None:
    """Without another request, and without an end: a day later it would be a peak that never was."""
    kept = Kept()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    log = RequestLog(
        app, measures=measures_of(CollectorRegistry()), lines=Lines(kept),
        sampling=Sampling(share=0.0, slow=3600, at_least_every=0.05),
    )  # fmt: skip
    for _ in range(50):
        await log(scope("/a"), nothing, nowhere)
    await eventually(lambda: sum(line["stands_for"] for line in kept.lines) == 50)
    assert {(line["route"], line["status"]) for line in kept.lines} == {("unmatched", 404)}
    log.close()
    assert sum(line["stands_for"] for line in kept.lines) == 50


def test_services_of_one_trace_write_the_same_requests() -> None:
    """The draw is by the trace id, so a trace is whole in every log or in none."""

    def drawn(trace: str) -> bool:
        sampler = Sampler(Sampling(share=0.5))
        headers = [(b"traceparent", f"00-{trace}-b7ad6b7169203331-00".encode())]
        sampler.verdict(Call(Site(None), scope("/")), "/a", 0.0, 0.0)
        return sampler.verdict(Call(Site(None), scope("/", headers=headers)), "/a", 0.0, 1.0)[0] == "share"

    traces = [f"{number:018x}{number * 0x9E3779B97F4A7C15 % 2**56:014x}" for number in range(1, 200)]
    first = [drawn(trace) for trace in traces]
    assert first == [drawn(trace) for trace in traces]
    assert 60 < sum(first) < 140


@pytest.mark.parametrize(
    "form",
    [lambda drawn: f"{drawn:032x}", lambda drawn: str(UUID(int=drawn, version=4)), "req-{}".format, "-{:014x}".format],
)
def test_a_share_of_requests_is_written_whatever_their_ids_look_like(form: Callable[[int], str]) -> None:
    """Of traces there is a test above; these have none."""
    dice, sampler = random.Random(7), Sampler(Sampling(share=0.5))
    ids = [form(dice.getrandbits(128)) for _ in range(400)]
    calls = [Call(Site(None), scope("/", headers=[(b"x-request-id", each.encode())])) for each in ids]
    kept = [each.request_id for each in calls if sampler.verdict(each, "/a", 0.0, 0.0)[0] == "share"]
    assert (set(kept) <= set(ids), 140 < len(kept) < 260) == (True, True)


def test_every_process_draws_the_same_of_ids_of_any_form() -> None:
    """Where a word's own hash would differ from one to the next."""
    program = (
        "from tests.asgi.alone import scope; from tocsin.asgi.call import Call, Site;"
        "from tocsin.asgi.logs.sampling import _drawn;"
        "print(_drawn(Call(Site(None), scope('/', headers=[(b'x-request-id', b'order-17')]))))"
    )
    drawn = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert drawn[0] == drawn[1]
