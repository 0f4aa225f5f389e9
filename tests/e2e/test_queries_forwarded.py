"""With an engine elsewhere /api/v1 answers in that server's own words, and says so when it has none."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest
import snappy
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.unit.web.conftest import Port, open_port
from tocsin.model import Labels
from tocsin.series.remote.engine import Engine
from tocsin.series.remote.protobuf import encode_labels, write_request
from tocsin.testing.tsdb import TimeSeriesServer

PATIENCE = 30.0
Form = list[tuple[str, str]]


@asynccontextmanager
async def asked_of(url: str, file: Path, deadline: float = 10.0) -> AsyncIterator[tuple[Port, list[Engine | None]]]:
    """The port, and the engine in force: change it as a reload would."""
    engine = Engine(url, headers={}, deadline=deadline)
    chosen: list[Engine | None] = [engine]
    try:
        async with open_port(file, engine=lambda: chosen[0]) as port:
            yield port, chosen
    finally:
        await engine.close()


async def written(server: TimeSeriesServer, begin: int) -> None:
    """Ten samples of three series, and wait until they are seen."""
    series = [
        (
            encode_labels("load", Labels(host=host, job="api"), {}),
            [((begin + 15 * n) * 1000, n * 1.5) for n in range(10)],
        )
        for host in "abc"
    ]
    body = snappy.compress(write_request([(labels, points) for labels, points in series]))
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.write_url, data=body, headers=headers) as answer,
    ):
        assert answer.status in (200, 204), await answer.text()
        if server.kind == "victoria-metrics":
            # It shows new series after some seconds, or when told; asked too early it remembers that there were none.
            async with session.get(f"{server.url}/internal/force_flush") as flushed:
                assert flushed.status == 200
    async with asyncio.timeout(PATIENCE):
        while len(await server.query("load", begin + 140)) < 3:
            await asyncio.sleep(0.05)


def questions(begin: int) -> list[tuple[str, Form]]:
    span = [("start", str(begin)), ("end", str(begin + 140))]
    return [
        ("query", [("query", "1+1"), ("time", "4")]),
        ("query", [("query", "sum by (job) (load)"), ("time", f"{begin + 140}")]),
        ("query_range", [("query", "load"), *span, ("step", "15")]),
        ("query", [("query", "sum("), ("time", "4")]),
        ("series", [("match[]", '{host="a"}'), ("match[]", '{host="b"}'), *span]),
        ("labels", [*span]),
        ("label/host/values", [*span]),
        ("metadata", []),
        ("query_exemplars", [("query", "load"), *span]),
        ("status/buildinfo", []),
    ]


async def direct(server: TimeSeriesServer, path: str, form: Form) -> tuple[int, bytes]:
    """What the server itself says."""
    method = "GET" if path.startswith(("label/", "metadata", "status/")) else "POST"
    if path in ("query", "query_range"):
        form = [*form, ("nocache", "1"), ("latency_offset", "1ms")]
    async with aiohttp.ClientSession() as session:
        url = f"{server.url}/api/v1/{path}"
        get, post = (form, None) if method == "GET" else (None, aiohttp.FormData(form))
        async with session.request(method, url, params=get, data=post) as answer:
            return answer.status, await answer.read()


def settled(raw: bytes) -> object:
    """The answer less what says how long it took, series in one order."""
    answer = orjson.loads(raw)
    answer.pop("stats", None)
    answer.pop("trace", None)
    data = answer.get("data")
    for found in (data, data.get("result") if isinstance(data, dict) else None):
        if isinstance(found, list):
            found.sort(key=str)
    return answer


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["prometheus", "victoria-metrics"])
async def test_answers_are_the_servers_own(tmp_path: Path, real_peer: Callable[[str], Path], kind: str) -> None:
    """Queries, listings and the server's refusals, asked by POST and by GET; when it is away, 503; then again."""
    real_peer(kind)
    begin = int(time.time()) - 600
    async with TimeSeriesServer(kind, tmp_path / "server") as server:
        await written(server, begin)
        async with asked_of(server.url, tmp_path / "state.db") as (port, _):
            for path, form in questions(begin):
                status, theirs = await direct(server, path, form)
                ours = await port.ask("GET", f"/api/v1/{path}?{urlencode(form)}")
                assert (status, settled(theirs)) == (ours.status, settled(ours.body)), path
            posted = await port.ask(
                "POST", "/api/v1/query", form=[("query", "count(load)"), ("time", f"{begin + 140}")]
            )
            assert posted.json()["data"]["result"][0]["value"][1] == "3"
            await server.stop(signal.SIGKILL)
            away = await port.ask("GET", "/api/v1/query?query=1")
            assert (away.status, away.json()["errorType"]) == (503, "unavailable")
            assert server.url in away.json()["error"]
            assert "series.engine.prometheus" in away.json()["error"]
            assert (await port.ask("GET", "/api/v1/rules")).status == 200
            await server.start()
            again = await port.ask("GET", "/api/v1/query?query=1%2B1&time=4")
            assert (again.status, again.json()["status"]) == (200, "success")


async def test_the_engine_in_force_answers(tmp_path: Path) -> None:
    """Asked anew at each request: after a change the embedded store answers, and the other way round."""
    said = '{"status":"success","data":"theirs"}'
    async with serving(lambda _: answered(said)) as url, asked_of(url, tmp_path / "state.db") as (port, chosen):
        assert (await port.get("/api/v1/labels"))["data"] == "theirs"
        engine, chosen[0] = chosen[0], None
        assert (await port.get("/api/v1/labels"))["data"] == []
        chosen[0] = engine
        assert (await port.get("/api/v1/labels"))["data"] == "theirs"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, '{"status":"error"}', "does not take our credentials"),
        (403, "no", "does not take our credentials"),
        (302, "", "not as a Prometheus API does"),
        (502, "<html>bad gateway</html>", "<html>bad gateway</html>"),
        (200, "[]", "not as a Prometheus API does"),
    ],
)
async def test_what_is_no_answer_of_the_api_is_a_clear_503(tmp_path: Path, status: int, body: str, said: str) -> None:
    """A client must not take the server's 401 for its own, nor a proxy's page for an answer."""
    async with serving(lambda _: answered(body, status)) as url, asked_of(url, tmp_path / "state.db") as (port, _):
        answer = await port.ask("GET", "/api/v1/query?query=up")
        assert (answer.status, answer.json()["errorType"]) == (503, "unavailable")
        assert said in answer.json()["error"]


async def test_a_server_that_hangs_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    """Then it is 503, with the deadline named."""

    def hang(_: web.Request) -> Awaitable[web.Response]:
        return asyncio.sleep(PATIENCE, web.Response())

    async with serving(hang) as url, asked_of(url, tmp_path / "state.db", deadline=0.1) as (port, _):
        answer = await port.ask("GET", "/api/v1/query?query=up")
    assert (503, f"{url} did not answer within 0.1s; see series.engine.prometheus") == (
        answer.status, answer.json()["error"],
    )  # fmt: skip


async def test_a_client_that_hangs_up_frees_the_server(tmp_path: Path) -> None:
    """The question is withdrawn: it would hold one of the few turns that dashboards have."""
    asked, withdrawn = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            withdrawn.set()
        return web.Response()

    async with serving(hang) as url, asked_of(url, tmp_path / "state.db", deadline=PATIENCE) as (port, _):
        gone = asyncio.Event()
        asking = asyncio.ensure_future(port.ask("GET", "/api/v1/query?query=up", gone=gone))
        async with asyncio.timeout(PATIENCE / 2):
            await asked.wait()
            gone.set()
            answer = await asking
            await withdrawn.wait()
    assert (answer.status, answer.json()["errorType"]) == (503, "canceled")


async def answered(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, status=status)


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A server whose every answer is the handler's."""

    async def handle(request: web.Request) -> web.Response:
        return await handler(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    # Handlers of clients that went away are ended, as a Prometheus ends its queries.
    async with TestServer(application, handler_cancellation=True) as server:
        yield str(server.make_url("")).rstrip("/")
