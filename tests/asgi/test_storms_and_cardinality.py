"""What clients can do to the log and to the series: nothing that grows with how much they send.

TOCSIN_ATTACK=full (`make attacks`) runs 100,000 errors and 1,000,000 paths; the test run a share of it.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.frameworks import Kept
from tocsin.asgi import Errors, Latency, Lines, RequestLog, Sampling, protect
from tocsin.asgi.errors.storm import Storms
from tocsin.asgi.measures import MOST_FINGERPRINTS, measures_of

FULL = os.environ.get("TOCSIN_ATTACK") == "full"
ERRORS = 100_000 if FULL else 3000
PATHS = 1_000_000 if FULL else 20_000


async def test_a_storm_of_errors_is_some_lines_and_every_fingerprint(capsys: pytest.CaptureFixture[str]) -> None:
    """All are counted, each fingerprint is in the log with its stack, and other requests are answered meanwhile."""
    kept, registry = Kept(), CollectorRegistry()
    kinds = [type(f"Broken{number}", (Exception,), {}) for number in range(50)]
    others: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fine":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        raise kinds[int(scope["path"][1:]) % len(kinds)]("of ana@example.com")

    async def fine(message: Any) -> None:
        if message["type"] == "http.response.start":
            others.append(message["status"])

    measures, lines = measures_of(registry), Lines(kept)
    errors = Errors(app, measures=measures, lines=lines, storms=Storms(window=3600))
    sampling = Sampling(share=0.0, slow=3600, at_least_every=3600, urgent_per_minute=100)
    log = RequestLog(errors, measures=measures, lines=lines, sampling=sampling)
    began, worked, worst = time.perf_counter(), time.process_time(), 0.0
    for number in range(ERRORS):
        await log(scope(f"/{number}"), nothing, nowhere)
        if number % 100 == 0:
            asked = time.perf_counter()
            await asyncio.gather(log(scope("/fine"), nothing, fine))
            worst = max(worst, time.perf_counter() - asked)
    took = time.perf_counter() - began
    if FULL:
        with capsys.disabled():
            worked = time.process_time() - worked
            print(f"\n{ERRORS} errors in {took:.1f} s, {worked:.1f} s of CPU: {ERRORS / worked:,.0f} per CPU second;")
            print(f"other requests were answered meanwhile in {worst * 1e3:.1f} ms at worst")
    errors.close()
    log.close()
    written, done = kept.of("request.failed"), kept.of("request.done")
    assert others == [200] * (ERRORS // 100)
    assert len(written) == 200
    assert len({line["fingerprint"] for line in written}) == 50
    assert [line for line in written if "raise kinds[" not in line["stack"]] == []
    repeated = kept.of("request.failed_repeatedly")
    assert len(written) + sum(line["times"] for line in repeated) == ERRORS
    assert registry.get_sample_value("tocsin_http_errors_total", {"category": "bug", "route": "unmatched"}) == ERRORS
    assert len(done) <= 1 + 100 * (1 + took // 60)
    # What each line stands for, of errors and of others, is all that was asked.
    wrong = [line for line in (*done, *kept.of("request.left_out")) if "error" in (line.get("kept"), line.get("were"))]
    assert sum(line["stands_for"] for line in wrong) == ERRORS


async def test_more_fingerprints_than_there_are_series_for_are_still_in_the_log() -> None:
    """The series become `other`; each error is written by its own name."""
    kept, registry = Kept(), CollectorRegistry()
    kinds = [type(f"Rare{number}", (Exception,), {}) for number in range(MOST_FINGERPRINTS + 50)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise kinds[int(scope["path"][1:])]

    errors = Errors(app, measures=measures_of(registry), lines=Lines(kept))
    for number in range(len(kinds)):
        await errors(scope(f"/{number}"), nothing, nowhere)
    assert len({line["fingerprint"] for line in kept.of("request.failed")}) == len(kinds)
    series = [
        sample for family in registry.collect() for sample in family.samples if "_occurrences_total" in sample.name
    ]
    assert len(series) == MOST_FINGERPRINTS + 1


async def test_no_client_makes_series() -> None:
    """Distinct paths, methods, headers and query strings, matched and not: the series are those of the routes."""

    async def item(_: Any) -> Any:
        return PlainTextResponse("")

    registry, kept = CollectorRegistry(), Kept()
    app = protect(
        Starlette(routes=[Route("/items/{id}", item)]), registry=registry, environment={}, supabase_url="off",
        lines=Lines(kept), log_share=0.0, slow_seconds=3600,
    )  # fmt: skip
    for number in range(PATHS):
        path = f"/items/{number}" if number % 2 else f"/{number}/{number}"
        method = "GET" if number % 3 else f"M{number}"
        await app(scope(path, method, [(b"x-request-id", b"request-%d" % number)]), nothing, nowhere)
    samples = [sample for family in registry.collect() for sample in family.samples]
    labels = [sample.labels for sample in samples if "route" in sample.labels]
    assert len(samples) < 150
    assert {found["route"] for found in labels} == {"/items/{id}", "unmatched"}
    assert {found["method"] for found in labels if "method" in found} == {"GET", "other"}
    assert 2 <= len(kept.lines) <= 2 + PATHS / 1000  # the first of each route, and one a minute


@pytest.mark.parametrize("layer", [Latency, RequestLog, Errors])
async def test_a_layer_stands_alone(layer: Any) -> None:
    """Without `protect` and without the others."""
    registry = CollectorRegistry()
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        said.append(message.get("status"))

    lines = {} if layer is Latency else {"lines": Lines(Kept())}
    await layer(app, measures=measures_of(registry), **lines)(scope("/"), nothing, send)
    assert said == [204, None]
