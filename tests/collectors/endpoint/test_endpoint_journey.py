"""Journeys against a real server: variables, cookies, secrets, the failing step, and the clean-up."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from collectors.endpoint import SPEC

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
# Types of this folder's conftest, which a test can't import.
Endpoints = Any


class Shop:
    """Signs in with a password, gives a token and a cookie, and lists, creates and deletes campaigns."""

    def __init__(self) -> None:
        self.campaigns: dict[int, Any] = {}
        self.asked: list[str] = []
        self.broken: dict[str, int] = {}
        """`METHOD /path` → the status it answers with instead."""
        self.hangs = asyncio.Event()
        self.hang_at = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        what = f"{request.method} {request.rel_url.raw_path_qs}"
        self.asked.append(what)
        if what == self.hang_at:
            self.hangs.set()
            await asyncio.sleep(60)
        if what in self.broken:
            return web.json_response({}, status=self.broken[what])
        if request.path == "/login":
            form = await request.post() if "form" in request.content_type else await request.json()
            if form["password"] != "s3cret/ &x":
                return web.json_response({}, status=401)
            answer = web.json_response({"access_token": "tok-1", "user": {"roles": ["admin", "ops"]}})
            answer.set_cookie("session", "c-1", httponly=True)
            return answer
        if request.headers.get("authorization") != "Bearer tok-1" or request.cookies.get("session") != "c-1":
            return web.json_response({}, status=403)
        if request.method == "POST":
            number = 17 + len(self.campaigns)
            self.campaigns[number] = await request.json()
            return web.json_response({"id": number}, status=201, headers={"location": f"/campaigns/{number}"})
        if request.method == "DELETE":
            return web.Response(status=204 if self.campaigns.pop(int(request.match_info["tail"][10:]), None) else 404)
        return web.json_response([{"id": number, **body} for number, body in self.campaigns.items()])


BEARER = {"Authorization": "Bearer ${token}"}
LOGIN = {
    "name": "login", "method": "POST", "url": "/login", "json": {"user": "probe", "password": "${password}"},
    "expect": {"json_exists": ["user.roles[1]"]}, "extract": {"token": {"json": "access_token"}},
}  # fmt: skip
CREATE = {
    "name": "create", "method": "POST", "url": "/campaigns", "headers": BEARER, "json": {"title": "by ${token}"},
    "expect": {"status": 201}, "extract": {"id": {"json": "$.id"}, "path": {"header": "location", "matches": "/(.+)"}},
}  # fmt: skip
LIST = {
    "name": "list", "url": "/campaigns", "headers": BEARER,
    "expect": {
        "json_equals": {"[0].id": 17, "[-1].title": "by tok-1"}, "header_matches": {"content-type": "^app.*json"},
    },
}  # fmt: skip
DELETE = {
    "name": "delete", "method": "DELETE", "url": "/campaigns/${id}", "headers": BEARER, "expect": {"status": 204},
}  # fmt: skip


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("PROBE_PASSWORD", "s3cret/ &x")
    return Shop()


def journey(url: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "buy", "url": url, "steps": list(steps or (LOGIN, CREATE, LIST)), "cleanup": [DELETE],
        "secrets_env": {"password": "PROBE_PASSWORD"}, **more,
    }  # fmt: skip


def steps(seen: Any, name: str) -> dict[str, Any]:
    return {s.labels["step"]: s.labels.get("reason", s.value) for s in seen.samples if s.name == name}


async def test_a_journey_signs_in_creates_looks_and_cleans_up(endpoints: Endpoints, shop: Shop) -> None:
    """Variables and cookies go from step to step, and what was created is gone afterwards."""
    seen = await endpoints.poll(journey(await endpoints.serve(shop.answer)))
    assert (seen.value("tocsin_endpoint_up", instance="buy"), seen.reasons(), seen.blind) == (1, set(), [])
    assert shop.asked == ["POST /login", "POST /campaigns", "GET /campaigns", "DELETE /campaigns/17"]
    assert shop.campaigns == {}
    assert set(steps(seen, "tocsin_endpoint_step_seconds")) == {"login", "create", "list", "delete"}
    assert seen.value("tocsin_endpoint_status_code") == 200


async def test_each_run_begins_without_cookies_and_variables(endpoints: Endpoints, shop: Shop) -> None:
    """What the last poll was given is not what this one may use."""
    url = await endpoints.serve(shop.answer)
    collector = endpoints.collector(journey(url, LOGIN, {**LIST, "expect": {}}, cleanup=[]))
    assert [i.value for _ in range(2) async for i in collector.collect(AT) if i.name == "tocsin_endpoint_up"] == [1, 1]
    shop.broken = {"POST /login": 200}
    seen = {i.name: i for i in [item async for item in collector.collect(AT)]}
    failed = seen["tocsin_endpoint_step_failure"].labels
    assert (failed["step"], failed["reason"], shop.asked[-1]) == ("login", "extract", "POST /login")


@pytest.mark.parametrize(
    ("broken", "failing", "reason"),
    [("POST /login", "login", "status"), ("POST /campaigns", "create", "status"), ("GET /campaigns", "list", "status")],
)
async def test_the_failing_step_is_named_and_ends_the_journey(
    endpoints: Endpoints, shop: Shop, broken: str, failing: str, reason: str
) -> None:
    """With its reason; the clean-up still deletes what there is to delete, and asks for nothing that is not."""
    shop.broken = {broken: 500}
    seen = await endpoints.poll(journey(await endpoints.serve(shop.answer)))
    told = {(s.labels["step"], s.labels["reason"]) for s in seen.samples if s.name == "tocsin_endpoint_step_failure"}
    assert (failing, reason) in told
    assert {step for step, _ in told} == {failing}
    assert (seen.value("tocsin_endpoint_up"), reason in seen.reasons()) == (0, True)
    assert ("DELETE /campaigns/17" in shop.asked, shop.campaigns) == (failing == "list", {})


async def test_a_clean_up_that_fails_is_told_apart(endpoints: Endpoints, shop: Shop) -> None:
    """Users are not down for it: the target is up, and the rest of what it created is somebody's to delete."""
    shop.broken = {"DELETE /campaigns/17": 500}
    seen = await endpoints.poll(journey(await endpoints.serve(shop.answer)))
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (1, set())
    assert steps(seen, "tocsin_endpoint_cleanup_failure") == {"delete": "status"}
    assert steps(seen, "tocsin_endpoint_step_failure") == {}


async def test_a_step_that_hangs_ends_at_the_journeys_deadline_with_time_to_clean_up(
    endpoints: Endpoints, shop: Shop
) -> None:
    """The deadline is of all steps together, and what was created before is deleted all the same."""
    shop.hang_at = "GET /campaigns"
    seen = await endpoints.poll(journey(await endpoints.serve(shop.answer), deadline="4s"))
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (0, {"timeout"})
    assert steps(seen, "tocsin_endpoint_step_failure") == {"list": "timeout"}
    assert (shop.asked[-1], shop.campaigns) == ("DELETE /campaigns/17", {})


async def test_a_poll_that_is_cut_still_cleans_up(endpoints: Endpoints, shop: Shop) -> None:
    """The daemon's end in the middle of a journey leaves nothing behind: close waits for it."""
    shop.hang_at = "GET /campaigns"
    collector = endpoints.collector(journey(await endpoints.serve(shop.answer)))

    async def poll() -> None:
        async for _ in collector.collect(AT):
            pass

    task = asyncio.create_task(poll())
    async with asyncio.timeout(30):
        await shop.hangs.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await collector.close()
    assert (shop.asked[-1], shop.campaigns) == ("DELETE /campaigns/17", {})


async def test_secrets_are_in_no_series_reason_or_log(
    endpoints: Endpoints, shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it fails: at the peer, in a header that it can't stand in, or because it is not there."""
    url = await endpoints.serve(shop.answer)
    caplog.set_level(logging.DEBUG)
    (endpoints.folder / "pin").write_text("4711-f0rm\n")
    form = {**LOGIN, "json": None, "form": {"user": "probe", "password": "${pin}"}}
    in_url = {"name": "ask", "url": "/x?key=${password}", "headers": {"X-Pin": "${pin}"}, "expect": {"status": 200}}
    targets = [
        journey(url, form, secrets_file={"pin": "pin"}, name="form", secrets_env={}, cleanup=[]),
        journey(url, in_url, secrets_file={"pin": "pin"}, name="url", cleanup=[]),
        journey("http://127.0.0.1:1", in_url, secrets_file={"pin": "pin"}, name="closed", cleanup=[]),
        journey(url, secrets_env={"password": "NOT_SET_ANYWHERE"}, name="unset"),
    ]
    seen = await endpoints.poll(*targets)
    assert {name: seen.reasons(name) for name in ("form", "url", "closed")} == {
        "form": {"status", "json", "extract"}, "url": {"status"}, "closed": {"connect"}
    }  # fmt: skip
    assert "GET /x?key=s3cret%2F%20%26x" in shop.asked
    assert [blind.labels["instance"] for blind in seen.blind] == ["unset"]
    # aiohttp.access is the log of the watched server, which this process happens to be as well.
    ours = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    everything = repr(seen.items) + repr(ours)
    assert [secret for secret in ("s3cret", "4711-f0rm") if secret in everything] == []


async def test_what_a_peer_gives_cannot_lead_a_step_astray(endpoints: Endpoints) -> None:
    """A variable is one piece of a path, and no second header."""
    asked: list[str] = []

    async def hostile(request: web.Request) -> web.Response:
        asked.append(request.rel_url.raw_path_qs)
        return web.json_response({"id": "../admin?x=1#", "evil": "a\r\nX-Evil: 1"})

    get = {"name": "get", "extract": {"id": {"json": "id"}, "evil": {"json": "evil"}}}
    follow = {"name": "follow", "url": "/items/${id}"}
    header = {"name": "header", "url": "/h", "headers": {"X-Id": "${evil}"}}
    seen = await endpoints.poll({"name": "j", "url": await endpoints.serve(hostile), "steps": [get, follow, header]})
    assert asked == ["/", "/items/..%2Fadmin%3Fx%3D1%23"]
    assert steps(seen, "tocsin_endpoint_step_failure") == {"header": "extract"}


async def test_a_cookie_that_hides_another_header_is_left_out(endpoints: Endpoints) -> None:
    """Quotes may hold a line break or a second cookie; an ordinary value goes back as it came."""
    got: list[str | None] = []

    async def hostile(request: web.Request) -> web.Response:
        got.append(request.headers.get("cookie"))
        answer = web.Response()
        for cookie in (r'a="x\015\012X-Evil: 1"', r'b="1; admin=1"', "c=dG9rZW4=/+; Path=/"):
            answer.headers.add("set-cookie", cookie)
        return answer

    steps_ = [{"name": "one"}, {"name": "two"}]
    seen = await endpoints.poll({"name": "j", "url": await endpoints.serve(hostile), "steps": steps_})
    assert (seen.reasons(), got) == (set(), [None, "c=dG9rZW4=/+"])


async def test_secret_headers_stay_with_the_target(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step elsewhere gets neither the target's secret headers nor its cookies."""
    got: dict[str, Any] = {}

    async def note(request: web.Request) -> web.Response:
        got[request.path] = (request.headers.get("x-key"), dict(request.cookies))
        answer = web.Response()
        answer.set_cookie("a", "1", path="/")
        return answer

    monkeypatch.setenv("PROBE_KEY", "s3cret")
    own, away = await endpoints.serve(note), await endpoints.serve(note)
    there = away.replace("127.0.0.1", "localhost")
    targets = [{"name": "own"}, {"name": "again", "url": "/again"}, {"name": "away", "url": f"{there}/away"}]
    await endpoints.poll({"name": "j", "url": own, "headers_env": {"X-Key": "PROBE_KEY"}, "steps": targets})
    assert got == {"/": ("s3cret", {}), "/again": ("s3cret", {"a": "1"}), "/away": (None, {})}


async def test_a_variable_from_a_cookie_or_the_body_and_a_number_that_stays_one(endpoints: Endpoints) -> None:
    """`cookie`, `matches` on the body; a whole `${n}` in JSON keeps its type, inside of text it is written out."""
    sent: list[Any] = []

    async def form(request: web.Request) -> web.Response:
        if request.method == "POST":
            sent.append((await request.json(), request.headers["x-csrf"]))
        if request.path == "/n":
            return web.json_response({"items": [{"n": 3}]})
        answer = web.Response(text='<input name="csrf" value="k-9">')
        answer.set_cookie("sid", "c-7")
        return answer

    page = {"name": "page", "extract": {"csrf": {"matches": 'value="([^"]+)"'}, "sid": {"cookie": "sid"}}}
    number = {"name": "number", "url": "/n", "extract": {"n": {"json": "items[-1].n"}}}
    send = {
        "name": "send", "method": "POST", "headers": {"X-Csrf": "${csrf}"},
        "json": {"sid": "${sid}", "n": "${n}", "text": "n=${n} $${n}", "list": [1, "${sid}"]},
    }  # fmt: skip
    seen = await endpoints.poll({"name": "j", "url": await endpoints.serve(form), "steps": [page, number, send]})
    assert seen.reasons() == set()
    assert sent == [({"sid": "c-7", "n": 3, "text": "n=3 ${n}", "list": [1, "c-7"]}, "k-9")]


async def test_doctor_names_the_step_and_the_reason(endpoints: Endpoints, shop: Shop) -> None:
    """And what did not clean up; what is up is counted."""
    shop.broken = {"GET /campaigns": 500, "DELETE /campaigns/17": 500}
    url = await endpoints.serve(shop.answer)
    targets = [journey(url), {"url": f"{url}/health", "name": "plain", "expect": {"status": 403}}]
    read = SPEC.settings.model_validate({"kind": "endpoint", "name": "web", "targets": targets})
    assert SPEC.examine is not None
    said = [(line.ok, line.what) for line in await SPEC.examine(read, endpoints.folder)]
    assert said == [
        (False, "buy is down: json in step list, status in step list"),
        (False, "buy did not clean up: status in step delete"),
        (True, "1 of 2 targets are up"),
    ]
