"""The campaigns application over HTTP, as a process on a real Postgres."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from collectors.endpoint import SPEC as ENDPOINT
from examples.campaigns.app import build_app
from examples.campaigns.database import make_database
from tests.asgi.frameworks import served
from tests.e2e.conftest import FAULTS_SECRET, METRICS_TOKEN, Call, caller
from tocsin.asgi import protect, queries
from tocsin.model import Sample
from tocsin.ports import CollectorContext
from tocsin.testing.checkpoint import MemoryCheckpoint
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.supabase import FakeAuth, Seed
from tocsin.testing.waiting import eventually

SECRET = {"X-Faults-Secret": FAULTS_SECRET}


@pytest.fixture
async def call(campaigns: Any) -> AsyncIterator[Call]:
    async with aiohttp.ClientSession() as http:
        yield caller(http, campaigns.address)


def a_campaign(count: int = 3, **more: object) -> dict[str, object]:
    recipients = [f"reader{number}@example.com" for number in range(count)]
    return {"name": "Test", "subject": "Hello", "body": "Dear reader", "recipients": recipients, **more}


async def test_a_campaign_goes_from_draft_to_report(call: Call) -> None:
    """Created, launched, delivered by the worker, and reported with what bounced and why."""
    status, created = await call(
        "POST", "/campaigns", a_campaign(recipients=["ana@example.com", "ANA@example.com", "bo@gone.invalid"])
    )
    assert (status, created["status"], created["recipients"]) == (201, "draft", 2)
    path = f"/campaigns/{created['id']}"
    status, launched = await call("POST", f"{path}/launch")
    assert (status, launched["status"]) == (200, "running")

    async def finished() -> bool:
        return (await call("GET", path))[1]["status"] == "finished"

    await eventually(finished)
    status, report = await call("GET", f"{path}/report")
    assert (status, report["delivered_share"]) == (200, 0.5)
    assert report["failures"] == [{"reason": "no such domain", "sends": 1}]
    assert (report["progress"]["sent"], report["progress"]["failed"], report["progress"]["pending"]) == (1, 1, 0)
    assert [domain["domain"] for domain in report["domains"]] == ["example.com", "gone.invalid"]


async def test_an_endpoint_journey_signs_in_lists_creates_launches_and_pauses(
    campaigns: Any, call: Call, tmp_path: Path
) -> None:
    """A target with `steps`, as an operator writes it: a token from Auth, then the application, then the clean-up."""

    bearer = {"Authorization": "Bearer ${token}"}
    (tmp_path / "word").write_text("a long enough word\n")
    async with FakeAuth(users=[Seed(email="probe@example.com", password="a long enough word")]) as auth:
        steps = [
            {
                "name": "login", "method": "POST", "url": f"{auth.url}/token?grant_type=password",
                "headers": {"apikey": auth.api_key}, "json": {"email": "probe@example.com", "password": "${word}"},
                "extract": {"token": {"json": "access_token"}},
            },
            {"name": "list", "url": "/campaigns", "headers": bearer, "expect": {"json_exists": ["campaigns"]}},
            {
                "name": "create", "method": "POST", "url": "/campaigns", "headers": bearer, "json": a_campaign(2000),
                "expect": {"status": 201, "json_equals": {"status": "draft", "recipients": 2000}},
                "extract": {"id": {"header": "location", "matches": "/campaigns/([0-9]+)$"}},
            },
            {"name": "launch", "method": "POST", "url": "/campaigns/${id}/launch", "headers": bearer},
            {"name": "progress", "url": "/campaigns/${id}/progress", "expect": {"json_equals": {"total": 2000}}},
        ]  # fmt: skip
        pause: dict[str, Any] = {"name": "pause", "method": "POST", "url": "/campaigns/${id}/pause", "headers": bearer}
        pause["expect"] = {"status": [200, 409]}  # 409: it has finished already
        target = {
            "name": "send", "url": campaigns.address, "steps": steps, "cleanup": [pause],
            "secrets_file": {"word": "word"},
        }  # fmt: skip
        settings = ENDPOINT.settings.model_validate(
            {"kind": "endpoint", "name": "journeys", "interval": "10s", "targets": [target]}
        )
        context = CollectorContext(checkpoint=MemoryCheckpoint(), poke=lambda: None, folder=tmp_path)
        collector = ENDPOINT.build(settings, context)
        found = [item async for item in collector.collect(datetime.now(UTC))]
        await collector.close()
    told = {(item.name, item.labels.get("step", "")): item.value for item in found if isinstance(item, Sample)}
    assert [name for name in told if "failure" in name[0]] == []
    assert told["tocsin_endpoint_up", ""] == 1
    assert {step for name, step in told if name == "tocsin_endpoint_step_seconds"} == {
        "login", "list", "create", "launch", "progress", "pause",
    }  # fmt: skip
    _, newest = await call("GET", "/campaigns")
    assert newest["campaigns"][0]["status"] in ("paused", "finished")


async def test_after_a_pause_nothing_more_is_sent(call: Call) -> None:
    """The answer to a pause is a promise; launched again, it goes on where it was, and nobody gets it twice."""
    _, created = await call("POST", "/campaigns", a_campaign(400))
    path = f"/campaigns/{created['id']}"
    await call("POST", f"{path}/launch")

    async def some_are_sent() -> bool:
        return (await call("GET", f"{path}/progress"))[1]["sent"] > 0

    await eventually(some_are_sent)
    status, paused = await call("POST", f"{path}/pause")
    assert (status, paused["status"]) == (200, "paused")
    _, then = await call("GET", f"{path}/progress")
    # Another campaign passes through the worker entirely, so it has had its turns.
    _, other = await call("POST", "/campaigns", a_campaign(40))
    await call("POST", f"/campaigns/{other['id']}/launch")

    async def other_is_finished() -> bool:
        return (await call("GET", f"/campaigns/{other['id']}"))[1]["status"] == "finished"

    await eventually(other_is_finished)
    _, now = await call("GET", f"{path}/progress")
    assert now == then
    await call("POST", f"{path}/launch")

    async def finished() -> bool:
        return (await call("GET", path))[1]["status"] == "finished"

    await eventually(finished)
    assert (await call("GET", f"{path}/progress"))[1]["total"] == 400


@pytest.mark.parametrize(
    ("steps", "detail"),
    [
        (("pause",), "has status draft; only a running one can be paused"),
        (("launch", "recipients"), "recipients are added to a draft"),
    ],
)
async def test_what_the_state_does_not_allow_is_a_conflict(call: Call, steps: tuple[str, ...], detail: str) -> None:
    """409 says which state it has and what would be allowed."""
    _, created = await call("POST", "/campaigns", a_campaign(400))
    for step in steps:
        body = {"recipients": ["late@example.com"]} if step == "recipients" else None
        status, answer = await call("POST", f"/campaigns/{created['id']}/{step}", body)
    assert (status, answer["title"]) == (409, "Conflict")
    assert detail in answer["detail"]


async def test_a_campaign_without_recipients_is_not_launched(call: Call) -> None:
    """It would be finished before it began."""
    _, created = await call("POST", "/campaigns", a_campaign(0))
    status, answer = await call("POST", f"/campaigns/{created['id']}/launch")
    assert status == 409
    assert "has no recipients" in answer["detail"]


async def test_an_address_that_is_there_is_not_added_again(call: Call) -> None:
    """Two lists may overlap."""
    _, created = await call("POST", "/campaigns", a_campaign(2))
    body = {"recipients": ["reader1@example.com", "new@example.com"]}
    status, answer = await call("POST", f"/campaigns/{created['id']}/recipients", body)
    assert (status, answer["added"], answer["recipients"]) == (200, 1, 3)


async def test_every_mistake_of_a_body_is_named_with_its_place(call: Call) -> None:
    """One answer lists them all, so that one correction is enough."""
    body = {"name": " ", "body": "x\u0000", "recipients": ["ana@example.com", "ana@"], "colour": "red"}
    status, answer = await call("POST", "/campaigns", body)
    assert status == 422
    assert {error["pointer"] for error in answer["errors"]} == {
        "/name", "/subject", "/body", "/recipients/1", "/colour"
    }  # fmt: skip
    assert "write it like ana@example.com" in answer["errors"][3]["detail"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 422),
        (b'{"name": "\\ud800"}', "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b" " * (2 * 1024 * 1024 + 1), "application/json", 413),
        (b"{}", "text/plain", 415),
        (b"", "application/json", 422),
    ],
)
async def test_a_body_that_is_no_campaign_is_refused(call: Call, body: bytes, content_type: str, status: int) -> None:
    """Whatever is sent is answered with a 4xx problem document."""
    found, answer = await call("POST", "/campaigns", data=io.BytesIO(body), headers={"content-type": content_type})
    assert (found, answer["status"]) == (status, status)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/campaigns/999999", 404),
        (f"/campaigns/{'9' * 40}", 404),
        ("/campaigns/0", 404),
        ("/campaigns/1/nothing", 404),
        ("/campaigns?limit=0", 422),
        ("/campaigns?status=lost", 422),
        (f"/campaigns?before={2**63}", 422),
    ],
)
async def test_a_path_or_query_that_leads_nowhere_is_said_so(call: Call, path: str, status: int) -> None:
    """404 or 422 as a problem document, never a 500."""
    found, answer = await call("GET", path)
    assert (found, answer["status"]) == (status, status)


async def test_the_list_is_read_page_by_page(call: Call) -> None:
    """`before` of one page leads to the next, and no campaign is in two."""
    for _ in range(3):
        await call("POST", "/campaigns", a_campaign(1))
    _, first = await call("GET", "/campaigns?limit=2")
    _, second = await call("GET", f"/campaigns?limit=2&before={first['before']}")
    ids = [campaign["id"] for campaign in first["campaigns"] + second["campaigns"]]
    assert ids == sorted(set(ids), reverse=True)


async def test_metrics_are_by_route_template(call: Call) -> None:
    """No path of a client becomes a label, and what matches nothing is one series."""
    for path in ("/campaigns/123456", "/campaigns/654321", "/nowhere/1", "/nowhere/2"):
        await call("GET", path)
    _, text = await call("GET", "/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    families = {family.name: family for family in text_string_to_metric_families(text)}
    routes = {sample.labels["route"] for sample in families["tocsin_http_requests"].samples if "route" in sample.labels}
    assert {"/campaigns/{id:int}", "unmatched"} <= routes
    assert not any("1" in route for route in routes)


async def test_a_database_that_is_down_is_a_503_within_a_second(call: Call, postgres: EmbeddedPostgres) -> None:
    """Nobody hangs, and it serves again without a restart."""
    await asyncio.to_thread(postgres.kill)
    try:
        async with asyncio.timeout(5):
            status, answer = await call("GET", "/healthz")
        assert (status, answer["title"]) == (503, "Service Unavailable")
    finally:
        await asyncio.to_thread(postgres.start_again)

    async def healthy() -> bool:
        return (await call("GET", "/healthz"))[0] == 200

    await eventually(healthy)


async def test_no_request_asks_the_same_again_and_again(postgres: EmbeddedPostgres, call: Call) -> None:
    """However many campaigns and recipients there are. Here the application runs in the test's own process."""
    for _ in range(5):
        await call("POST", "/campaigns", a_campaign(9))
    database = make_database(postgres.dsn("campaigns", "campaigns"))
    app = protect(
        build_app(database), supabase_url="off", database=database, registry=CollectorRegistry(), environment={}
    )
    with served(app) as port, queries() as asked:
        async with aiohttp.ClientSession() as http:
            here = caller(http, f"http://127.0.0.1:{port}")
            _, created = await here("POST", "/campaigns", a_campaign(9))
            path = f"/campaigns/{created['id']}"
            await here("POST", f"{path}/recipients", {"recipients": ["new@example.com", "newer@example.com"]})
            await here("POST", f"{path}/launch")
            for one in ("/campaigns", path, f"{path}/progress", f"{path}/report"):
                assert (await here("GET", one))[0] == 200
            await here("POST", f"{path}/pause")
    asked.assert_no_n_plus_one()
    assert {one.route for one in asked.statements} >= {"GET /campaigns", "GET /campaigns/{id:int}/report"}


async def test_a_worker_that_is_killed_gives_its_batch_back(
    serve: Callable[..., Any], call: Call, postgres: EmbeddedPostgres
) -> None:
    """SIGKILL in the middle of deliveries: every send is settled in the end, by another worker."""
    doomed = serve("--pace", "1000")
    _, created = await call("POST", "/campaigns", a_campaign(600))
    path = f"/campaigns/{created['id']}"
    await call("POST", f"{path}/launch")

    async def under_way() -> bool:
        return (await call("GET", f"{path}/progress"))[1]["sent"] > 0

    await eventually(under_way)
    doomed.process.send_signal(signal.SIGKILL)

    async def finished() -> bool:
        return (await call("GET", path))[1]["status"] == "finished"

    await eventually(finished)
    _, progress = await call("GET", f"{path}/progress")
    assert (progress["sent"], progress["pending"]) == (600, 0)


async def test_faults_are_injected_and_mended(call: Call, postgres: EmbeddedPostgres) -> None:
    """A failing path answers 500, a slow statement runs by the application's own role, and mending ends both."""
    assert (await call("PUT", "/-/faults/error", {"path": "/campaigns"}, headers=SECRET))[0] == 204
    assert (await call("GET", "/campaigns"))[0] == 500
    assert (await call("DELETE", "/-/faults", headers=SECRET))[0] == 204
    assert (await call("GET", "/campaigns"))[0] == 200
    assert (await call("POST", "/-/faults/query", {"seconds": 60}, headers=SECRET))[0] == 204
    asked = (
        "select pid from pg_stat_activity where usename = 'campaigns' and state = 'active' and query like '%pg_sleep%'"
    )

    async def it_runs() -> bool:
        async with await psycopg.AsyncConnection.connect(postgres.dsn()) as connection:
            return await (await connection.execute(asked)).fetchone() is not None

    await eventually(it_runs)


async def test_without_the_secret_there_are_no_faults(call: Call) -> None:
    """A caller who does not know it learns nothing: the answer is that of a path that is not there."""
    for headers in ({}, {"X-Faults-Secret": "a guess of the tests"}):
        assert (await call("PUT", "/-/faults/error", {"path": "/campaigns"}, headers=headers))[0] == 404
    assert (await call("GET", "/campaigns"))[0] == 200
