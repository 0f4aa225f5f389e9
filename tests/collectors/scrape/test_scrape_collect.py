"""The scrape collector against real servers."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, generate_latest
from pydantic import ValidationError

from collectors.scrape import SPEC
from collectors.scrape.settings import ScrapeSettings
from tocsin.model import Blind, Sample
from tocsin.ports import CollectorContext
from tocsin.testing.checkpoint import MemoryCheckpoint

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class World:
    """Servers, and collectors that share a checkpoint."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder
        self.checkpoint = MemoryCheckpoint()

    async def serve(self, handler: Handler) -> str:
        app = web.Application()
        app.router.add_get("/metrics", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"

    async def serve_text(self, text: str | bytes, content_type: str = "text/plain", **headers: str) -> str:
        async def answer(_: web.Request) -> web.Response:
            body = text.encode() if isinstance(text, str) else text
            return web.Response(body=body, headers={"content-type": content_type, **headers})

        return await self.serve(answer)

    def collector(self, *targets: dict[str, Any], **settings: Any) -> Any:
        read = SPEC.settings.model_validate({"kind": "scrape", "name": "app", "targets": list(targets), **settings})
        context = CollectorContext(checkpoint=self.checkpoint, poke=lambda: None, folder=self.folder)
        collector = SPEC.build(read, context)
        self._stack.push_async_callback(collector.close)
        return collector

    async def poll(self, *targets: dict[str, Any], **settings: Any) -> tuple[dict[str, float], list[Blind]]:
        return await polled(self.collector(*targets, **settings))


async def polled(collector: Any, at: datetime = AT) -> tuple[dict[str, float], list[Blind]]:
    """({name and labels without instance: value}, blinds)"""
    items = [item async for item in collector.collect(at)]
    samples = {f"{s.name}{s.labels.without('instance')!r}": s.value for s in items if isinstance(s, Sample)}
    return samples, [item for item in items if isinstance(item, Blind)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack, tmp_path)


async def test_a_real_client_is_scraped(world: World) -> None:
    """prometheus_client's own exposition, with what Prometheus adds to a scrape."""
    registry = CollectorRegistry()
    Counter("orders", "", ["kind"], registry=registry).labels("new").inc(3)
    samples, blind = await world.poll({"url": await world.serve_text(generate_latest(registry))})
    assert samples.pop("scrape_duration_seconds{}") > 0
    assert samples == {
        'orders_total{kind="new"}': 3,
        "up{}": 1,
        "scrape_samples_scraped{}": 2,
        "tocsin_scrape_samples_dropped{}": 0,
    }
    assert blind == []


async def test_gzip_and_openmetrics_are_read(world: World) -> None:
    """Asked for by our headers, told by theirs."""
    asked: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        asked.update({name.lower(): value for name, value in request.headers.items()})
        return web.Response(
            body=gzip.compress(b"# TYPE a counter\na_total 1 # {} 1\n# EOF\n"),
            headers={"content-encoding": "gzip", "content-type": "application/openmetrics-text; version=1.0.0"},
        )

    samples, _ = await world.poll({"url": await world.serve(answer)})
    assert samples["a_total{}"] == 1
    assert (asked["accept-encoding"], "application/openmetrics-text" in asked["accept"]) == ("gzip", True)


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("a 1\nb one\n", "text/plain", "line 2: value 'one' is no number"),
        ("a 1\n", "application/openmetrics-text", "cut off"),
        ("<html>sign in</html>", "text/html", "check the path, or sign in"),
        (b"a\xff 1", "text/plain", "not UTF-8 at byte 1"),
        ("a 1\n" * 200, "text/plain", "sample_limit"),
        ("# " + "x" * 3000, "text/plain", "body_limit"),
        (gzip.compress(b"x" * 5_000_000), "text/plain", "body_limit"),
    ],
)
async def test_what_cannot_be_read_fails_the_whole_scrape(world: World, text: str | bytes, kind: str, why: str) -> None:
    """Nothing of it is stored: half of a histogram is a wrong figure. The reason says what to do."""
    packed = {"content-encoding": "gzip"} if text[:2] == b"\x1f\x8b" else {}
    url = await world.serve_text(text, kind, **packed)
    samples, blind = await world.poll({"url": url, "sample_limit": 100, "body_limit": 2048})
    samples.pop("scrape_duration_seconds{}")
    assert samples == {"up{}": 0, "scrape_samples_scraped{}": 0}
    assert [why in each.why for each in blind] == [True], blind


@pytest.mark.parametrize("status", [302, 401, 500])
async def test_an_answer_that_is_none(world: World, status: int) -> None:
    """A status other than 200 is down; a redirect is not followed, for the token would go along."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"location": "http://192.0.2.1/"}, text="a 1\n")

    samples, blind = await world.poll({"url": await world.serve(answer)})
    assert (samples["up{}"], "a{}" in samples) == (0, False)
    assert ("set url to that address" if status == 302 else f"answered {status}") in blind[0].why


async def test_a_target_that_is_down_names_what_is_unknown(world: World) -> None:
    """Its metrics are blind, not gone; after a restart too, when it was down from the begin."""
    url = await world.serve_text("a 1\nb_total 2\n")
    await world.poll({"url": url, "name": "app-1"})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = {"url": f"http://127.0.0.1:{unused.getsockname()[1]}/metrics", "name": "app-1"}
        samples, (blind,) = await world.poll(dead)
    assert samples["up{}"] == 0
    assert blind.metrics == {"a", "b_total", "tocsin_scrape_samples_dropped"}
    assert dict(blind.labels) == {"instance": "app-1"}


async def test_a_target_never_seen_hides_nothing_that_is_known(world: World) -> None:
    """`up 0` is known: an alert on it must fire even for a target that was down from the first scrape."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        _, (blind,) = await world.poll({"url": f"http://127.0.0.1:{unused.getsockname()[1]}/metrics"})
    assert blind.metrics == {"tocsin_scrape_samples_dropped"}


async def test_a_hanging_target_delays_nobody(world: World) -> None:
    """The other target is told while it hangs, and it ends at its own deadline."""

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    collector = world.collector(
        {"url": await world.serve(hang), "name": "hanging", "deadline": 0.3},
        {"url": await world.serve_text("a 1\n"), "name": "good"},
    )
    order = [item.labels["instance"] async for item in collector.collect(AT) if getattr(item, "name", "") == "up"]
    assert order == ["good", "hanging"]


@pytest.mark.parametrize(("ca_file", "why"), [("missing.pem", "No such file"), ("not.pem", "")])
async def test_a_ca_file_that_cannot_be_read_is_unknown_not_down(world: World, ca_file: str, why: str) -> None:
    """It is ours, and the other targets go on."""
    (world.folder / "not.pem").write_text("hello")
    lacking = {"url": "https://127.0.0.1:1/metrics", "name": "lacking", "tls": {"ca_file": ca_file}}
    samples, (blind,) = await world.poll(lacking, {"url": await world.serve_text("a 1\n"), "name": "whole"})
    assert (samples["up{}"], dict(blind.labels), why in blind.why) == (1, {"instance": "lacking"}, True)


async def test_a_secret_that_is_missing_is_unknown_not_down(world: World) -> None:
    """Ours to mend: no `up 0` that would page the target's owner."""
    url = await world.serve_text("a 1\n")
    samples, (blind,) = await world.poll({"url": url, "bearer_token_env": "NOT_SET_ANYWHERE"})
    assert ("up{}" in samples, "NOT_SET_ANYWHERE is not set" in blind.why) == (False, True)
    assert "up" in blind.metrics


async def test_a_token_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, as a bearer token."""
    got: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        got.append(request.headers.get("authorization"))
        return web.Response(text="")

    monkeypatch.setenv("SCRAPE_TOKEN", "s3cret")
    await world.poll({"url": await world.serve(note), "bearer_token_env": "SCRAPE_TOKEN"})
    assert got == ["Bearer s3cret"]


async def test_a_burst_on_a_live_target_begins_at_zero(world: World) -> None:
    """The whole way: an error that never happened before has a birth at the scrape before."""
    registry = CollectorRegistry()
    errors = Counter("errors", "", ["code"], registry=registry)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"content-type": "text/plain"})

    # `_created` lines (on by default in prometheus_client) would say it themselves: the same scrape without them.
    async def bare(request: web.Request) -> web.Response:
        text = (await answer(request)).body.decode()  # type: ignore[union-attr]
        return web.Response(text="".join(f"{line}\n" for line in text.splitlines() if "_created" not in line))

    collector = world.collector({"url": await world.serve(bare)})
    await polled(collector)
    errors.labels("500").inc(40)
    later = [item async for item in collector.collect(AT + timedelta(seconds=5))]
    assert [(s.value, s.created) for s in later if isinstance(s, Sample) and s.name == "errors_total"] == [(40, AT)]


async def test_no_free_place_is_unknown_not_down(world: World) -> None:
    """A target whose turn came too late in this poll is blind, and says what to raise; whoever had the place is not."""

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    url = await world.serve(hang)
    first, second = {"url": url, "name": "t0", "deadline": "500ms"}, {"url": url, "name": "t1"}
    samples, blind = await world.poll(first, second, concurrency=1, interval="4s")
    assert [(dict(each.labels), "raise concurrency" in each.why) for each in blind if "up" in each.metrics] == [
        ({"instance": "t1"}, True)
    ]
    assert samples["up{}"] == 0


@pytest.mark.parametrize("blob", [b"", b"[1]", b'{"app-1": 5}'])
async def test_a_memory_that_cannot_be_read_is_learned_anew(world: World, blob: bytes) -> None:
    """The checkpoint only says what is unknown: a broken one stops nothing."""
    world.checkpoint.blob = blob
    samples, _ = await world.poll({"url": await world.serve_text("a 1\n"), "name": "app-1"})
    assert (samples["a{}"], world.checkpoint.blob) == (1, b'{"app-1":["a"]}')


async def test_a_token_file_is_relative_to_the_configuration(world: World) -> None:
    """And read at every scrape; one that holds more than a token is refused."""
    got: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        got.append(request.headers.get("authorization"))
        return web.Response(text="")

    collector = world.collector({"url": await world.serve(note), "bearer_token_file": "token"})
    for token in ("one\n", "two\n", "three\nlines\n"):
        (world.folder / "token").write_text(token)
        _, blind = await polled(collector)
    assert (got, "is not one line of text" in blind[0].why) == (["Bearer one", "Bearer two"], True)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"url": "127.0.0.1:8000/metrics"}, "not an http:// or https:// address"),
        ({"url": "http://a:b@127.0.0.1/"}, "headers_env"),
        ({"url": "http://127.0.0.1/", "headers": {"authorization": "x"}}, "headers_env"),
        ({"url": "http://127.0.0.1/", "honour_labels": True}, "honour_labels"),
        ({"url": "http://127.0.0.1/", "deadline": "60s"}, "raise the collector's `deadline`"),
    ],
)
def test_a_wrong_target_is_named(target: dict[str, Any], says: str) -> None:
    """Each mistake's message says what is wrong or how to mend it."""
    with pytest.raises(ValidationError) as refused:
        ScrapeSettings.model_validate({"kind": "scrape", "name": "app", "targets": [target]})
    assert says in str(refused.value)


def test_two_targets_of_one_name_are_refused() -> None:
    """Their series could not be told apart."""
    targets = [{"url": "http://127.0.0.1:8000/a"}, {"url": "http://127.0.0.1:8000/b"}]
    with pytest.raises(ValidationError, match="another `name`"):
        ScrapeSettings.model_validate({"kind": "scrape", "name": "app", "targets": targets})
