"""What must be true of a watched system, shown on the example application: seven promises, over HTTP, real processes.

The application stands behind tocsin.asgi, on a real Postgres, with the stand-in Supabase Auth; the daemon watches it
and tells the stand-in Slack. Each promise prints its figure. Those that are times are judged where the machine is ours
(`make acceptance`): beside other tests a time would be about them. While all of it is up, what rules and dashboards ask
for is looked up as well.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from examples.campaigns.app import ROUTES
from tests.content.declared import everything_declared
from tests.e2e.reality import Asked, borne_beyond, out_of_sight, queries, read_by
from tocsin.access.tokens import Scope, mint
from tocsin.rules import load_rules
from tocsin.state import State
from tocsin.testing.demo import Stage, set_stage
from tocsin.testing.demo.traffic import OFFICE, OUTSIDER
from tocsin.testing.forge import Forge
from tocsin.testing.osv import FakeOsv, advisory
from tocsin.testing.supabase.keys import SigningKey
from tocsin.testing.waiting import eventually

ON_STAGE = pytest.mark.asyncio(loop_scope="module")
OURS = os.environ.get("TOCSIN_ACCEPTANCE") == "1"
ASKED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OPEN = {("GET", "/healthz"), ("HEAD", "/healthz")}
"""What anybody may ask for: all of it."""
UNLISTED = (
    "/no-such-page",
    "/campaigns/1/nothing",
    "/healthz/",
    "/healthz/x",
    "//healthz",
    "/openapi.json",
    "/metrics",
)
"""What is no route of the application's own: protected all the same."""

Answers = dict[tuple[str, str], tuple[int, str]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Everything, up for the module."""
    async with set_stage(tmp_path_factory.mktemp("acceptance"), app_arguments=("--pace", "200")) as running:
        yield running


def shown(promise: str, figure: str) -> None:
    print(f"\n{promise}: {figure}", end="")


async def answers(stage: Stage, headers: dict[str, str], methods: tuple[str, ...] = ASKED) -> Answers:
    """What each route, and what is none, says to each of `methods` with `headers`: (status, WWW-Authenticate)."""
    paths = sorted({route.path.replace("{id:int}", "1") for route in ROUTES} | set(UNLISTED))

    async def ask(method: str, path: str) -> tuple[int, str]:
        async with stage.http.request(method, URL(stage.app + path, encoded=True), headers=headers) as response:
            await response.read()
            return response.status, response.headers.get("WWW-Authenticate", "")

    asked = list(itertools.product(methods, paths))
    return dict(zip(asked, await asyncio.gather(*itertools.starmap(ask, asked)), strict=True))


def part(content: object) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def forgeries(token: str) -> dict[str, str]:
    """What somebody without a key makes of a good token, by what is wrong with it."""
    head, claims, signature = token.split(".")
    known, says = (json.loads(base64.urlsafe_b64decode(one + "==")) for one in (head, claims))
    return {
        "no token": "nonsense",
        "another signature": f"{head}.{claims}.{signature[:-8]}AAAAAAAA",
        "no algorithm": f"{part({**known, 'alg': 'none'})}.{claims}.",
        "no algorithm, but signed": f"{part({**known, 'alg': 'None'})}.{claims}.{signature}",
        "an unknown key": f"{part({**known, 'kid': 'mine'})}.{claims}.{signature}",
        "another user": f"{head}.{part({**says, 'email': 'bo@example.com'})}.{signature}",
        "a longer life": f"{head}.{part({**says, 'exp': says['exp'] + 86400})}.{signature}",
    }


def signed_anew(stage: Stage, token: str, *, seconds: int) -> str:
    """A token of Auth as it would have been so many seconds from now, signed with Auth's own key."""
    head, claims, _ = token.split(".")
    known, says = (json.loads(base64.urlsafe_b64decode(one + "==")) for one in (head, claims))
    forge = Forge(alg="ES256", key=SigningKey.of(stage.auth.signing_key).private, kid=known["kid"])
    moved = {name: says[name] + seconds for name in ("iat", "exp")}
    return forge.signed(json.dumps(known).encode(), json.dumps(says | moved).encode())


async def get(stage: Stage, path: str) -> tuple[int, str]:
    """As a user who is signed in and on the list."""
    async with stage.http.get(stage.app + path, headers=stage.auth.headers) as response:
        return response.status, await response.text()


@ON_STAGE
async def test_unauthenticated_requests_are_refused_on_every_endpoint(stage: Stage) -> None:
    """401 with how to prove oneself, whatever the method, also where there is no route, and a WebSocket is not opened.
    A forged or an expired token is no better than none. What is listed as public is all that answers."""
    found = await answers(stage, {})
    assert {asked: status for asked, (status, _) in found.items() if status != 401} == dict.fromkeys(OPEN, 200)
    assert [asked for asked, (_, how) in found.items() if asked not in OPEN and not how.startswith("Bearer")] == []
    count = len(found) - len(OPEN)
    good = stage.auth.headers["Authorization"].removeprefix("Bearer ")
    bearer = {"Authorization": f"Bearer {signed_anew(stage, good, seconds=0)}"}
    async with stage.http.get(stage.app + "/campaigns", headers=bearer) as answer:
        assert answer.status == 200  # so that it is its end alone that the other is refused for
    bad = forgeries(good) | {"a life that is over": signed_anew(stage, good, seconds=-7200)}
    for name, token in bad.items():
        found = await answers(stage, {"Authorization": f"Bearer {token}"}, ("GET", "POST"))
        assert (name, {asked for asked, (status, _) in found.items() if status != 401}) == (name, {("GET", "/healthz")})
        count += len(found) - 1
    for path in ("/", "/campaigns", "/healthz", "/nothing"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await stage.http.ws_connect(stage.app + path)
        assert (path, refusal.value.status in (401, 403)) == (path, True)
    shown(
        "unauthenticated", f"401 to {count} of {count} requests, some with one of {len(bad)} forged or expired tokens"
    )


@ON_STAGE
async def test_who_is_not_on_the_allowlist_is_refused_on_every_endpoint(stage: Stage) -> None:
    """403: Auth knows them, the list does not; one who is on it comes in."""
    status, token = await stage.auth.ask(*OUTSIDER, address=OFFICE)
    assert status == 200
    found = await answers(stage, {"Authorization": f"Bearer {token}"})
    # /metrics has a token of its own: to that door a user's proves nothing.
    refused = [
        asked for asked, (status, _) in found.items() if status == 403 or (asked[1], status) == ("/metrics", 401)
    ]
    assert set(found) - set(refused) == OPEN
    assert (await get(stage, "/campaigns"))[0] == 200
    shown("not on the allowlist", f"{len(refused)} of {len(refused)} requests refused")


@ON_STAGE
async def test_an_exception_is_logged_with_its_stack_and_answered_without(stage: Stage) -> None:
    """Once in the log, with stack, request id, trace id, route, user (hashed), category and fingerprint; the caller
    gets a problem (RFC 9457) with the request's id, and sees none of it."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await stage.faults("PUT", "/error", {"path": "/campaigns/2"})
    headers = {**stage.auth.headers, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with stage.http.get(stage.app + "/campaigns/2", headers=headers) as response:
        status, kind, body = response.status, response.content_type, await response.text()
    await stage.faults("DELETE", "")
    assert (status, kind) == (500, "application/problem+json")
    assert [secret for secret in ("InjectedFault", "Traceback", ".py", "/campaigns/2 was told") if secret in body] == []
    request_id = json.loads(body)["request_id"]
    log = stage.folder / "app.log"

    def reports() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("request_id") == request_id and line["event"] == "request.failed"]

    async with asyncio.timeout(10):
        while not reports():
            await asyncio.sleep(0.05)
    [report] = reports()
    stack = report["stack"]
    assert [part for part in ("InjectedFault", "examples/campaigns/faults.py", "routing.py") if part not in stack] == []
    assert (report["category"], report["level"]) == ("bug", "error")
    assert (report["status"], report["method"], report["route"]) == (500, "GET", "/campaigns/{id:int}")
    assert (report["trace_id"], report["where"]) == (
        trace,
        "examples.campaigns.faults:FaultInjection._breaking.<locals>.answer",
    )
    claims = stage.auth.headers["Authorization"].split(".")[1]
    person = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
    assert (bool(report["user"]), person in json.dumps(report), len(report["fingerprint"])) == (True, False, 12)
    shown(
        "an exception",
        f"logged once with its stack ({len(stack)} characters), as {report['category']} of {report['route']}",
    )


@ON_STAGE
async def test_a_query_over_a_second_is_told_in_slack(stage: Stage) -> None:
    """As a P1, once, while nobody but the daemon looks at the database: what runs, where, and what to do about it."""
    await stage.until(lambda: not firing(stage), 30)
    before, asked = len(stage.slack.posted()), time.perf_counter()
    await stage.faults("POST", "/query", {"seconds": 1.6})
    assert await stage.until(lambda: len(stage.slack.posted()) > before, 30)
    told, first = time.perf_counter() - asked, stage.slack.posted()[before]
    text, blocks = first.text, json.dumps(first.blocks)
    assert await stage.until(lambda: not firing(stage), 30)
    assert len(stage.slack.posted()) == before + 1
    assert "P1 A query over 1 s in campaigns" in text
    assert [
        part
        for part in ("in campaigns", "/runbooks/PostgresSlowQuery|Runbook", "Nobody has acked")
        if part not in blocks
    ] == []
    shown("a query over 1 s", f"told as a P1 after {told:.2f} s, {told - 1:.2f} s after it was one; 1 message")
    if OURS:
        assert told < 5


def firing(stage: Stage) -> bool:
    """Whether a message still says that something fires."""
    return any("Resolved" not in json.dumps(message.blocks) for message in stage.slack.posted())


@ON_STAGE
async def test_a_hundred_users_at_once_are_all_served(stage: Stage) -> None:
    """No error, and nobody waits for the others to end: a hundred requests overlap."""
    began = time.perf_counter()
    times: list[float] = []

    async def user(number: int) -> list[int]:
        statuses = []
        for path in ("/campaigns", f"/campaigns/{number % 3 + 1}", f"/campaigns/{number % 3 + 1}/progress"):
            asked = time.perf_counter()
            statuses.append((await get(stage, path))[0])
            times.append(time.perf_counter() - asked)
            await asyncio.sleep(0.5)
        return statuses

    found = [status for statuses in await asyncio.gather(*map(user, range(100))) for status in statuses]
    assert (len(found), set(found)) == (300, {200})
    assert sum(times) > time.perf_counter() - began
    p50, p95 = (sorted(times)[int(len(times) * share)] for share in (0.50, 0.95))
    shown(
        "100 users at once",
        f"300 of 300 answered, p50 {p50 * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, at most {max(times):.2f} s",
    )
    if OURS:
        assert (p95 < 2.0, max(times) < 5.0) == (True, True)


@ON_STAGE
async def test_rules_and_dashboards_ask_for_what_is_there(stage: Stage, root: Path) -> None:
    """Every series that a shipped rule or panel reads is in the daemon, or can't be for a reason that is listed; every
    panel's query is answered and shows something; no series bears a label that the content's tests don't know."""
    groups = load_rules(sorted((root / "alert_rules").glob("*.yaml")))
    panels = list(queries(root))
    wanted, missing, empty = read_by(groups, panels) - out_of_sight(), set[str](), list[Asked]()
    await stage.faults("PUT", "/error", {"path": "/campaigns/2"})
    assert (await get(stage, "/campaigns/2"))[0] == 500
    await stage.faults("DELETE", "")
    async with stage.http.get(stage.app + "/campaigns") as refused:
        assert refused.status == 401
    await stage.faults("POST", "/query", {"seconds": 1.6})
    headers = {"Authorization": f"Bearer {await query_token(stage)}"}

    async def asked(what: str, **parameters: str) -> Any:
        url = f"{stage.web}/api/v1/{what}"
        async with stage.http.get(url, params=parameters, headers=headers) as response:
            assert response.status == 200, f"{parameters}: {await response.text()}"
            return (await response.json())["data"]

    async def everything_is_there() -> bool:
        missing.clear()
        missing.update(wanted - set(await asked("label/__name__/values")))
        if not missing:
            left = empty or [one for one in panels if not one.may_be_empty]
            empty[:] = [one for one in left if not (await asked("query", query=one.query))["result"]]
        if missing or empty:
            await asyncio.sleep(0.5)  # the polls of a second; asking is dearer than waiting
        return not missing and not empty

    await eventually(
        everything_is_there, says=lambda: f": {missing} are nowhere, {empty} show nothing: mend, or list in reality.py"
    )
    for one in panels:
        await asked("query", query=one.query)
    found = await asked("series", **{"match[]": '{__name__!=""}'})
    assert borne_beyond(everything_declared(groups), found) == set()


async def query_token(stage: Stage) -> str:
    """What Grafana shows the daemon."""
    state = await State.open(f"sqlite:///{stage.folder / 'tocsin.db'}")
    clear, row = mint([Scope.QUERY_READ], datetime.now(UTC))
    await state.tokens.put(row)
    await state.close()
    return clear


@ON_STAGE
async def test_the_locks_have_no_known_vulnerability_that_is_high(stage: Stage, root: Path) -> None:
    """As `make audit` says it. Where no advisory database can be reached the answer is unknown, and not this test's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", "doctor", "dependencies", "requirements.lock", "--json",
        cwd=root, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    [found] = json.loads(out)
    if "unknown" in found:
        pytest.skip(
            "the advisories can't be asked from here, so nothing is known. It is judged where api.osv.dev is reached, "
            f"or by a mirror: tocsin doctor dependencies --osv-url URL requirements.lock. Now: {found['unknown'][:120]}"
        )
    assert [one for one in found["findings"] if one["severity"] in ("critical", "high")] == []
    assert found["packages"] > 20
    shown("dependencies", f"0 high in {found['packages']} packages")


async def test_a_high_one_in_our_own_lock_would_be_found_and_fail(root: Path, tmp_path: Path) -> None:
    """`make audit` with a stand-in for the advisories: a planted one fails it and is named, a moderate one does not."""
    text = (root / "requirements.lock").read_text()
    package, version = re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==([^ ;]+)", text, re.MULTILINE)[0]
    # The whole lock costs seconds, so the moderate one is planted in its first entry alone.
    whole, entry = root / "requirements.lock", tmp_path / "requirements.lock"
    entry.write_text(re.split(r"\n(?! )", text)[0] + "\n")
    for severity, lock, code in (("HIGH", whole, 1), ("MODERATE", entry, 0)):
        planted = advisory("GHSA-planted", package, version, severity=severity, fixed="999")
        async with FakeOsv(records=[planted]) as osv:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tocsin", "doctor", "dependencies", "--osv-url", osv.url, "requirements.lock",
                cwd=lock.parent, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
        expected = f"{severity.lower()} requirements.lock: {package} {version}: GHSA-planted, mended by 999"
        assert (process.returncode, expected in out.decode()) == (code, True)


def test_a_hundred_campaigns_are_served_under_two_seconds_at_p95(root: Path) -> None:
    """By the benchmark, the daemon watching: no error, and p95 < 2 s; beside other tests a smaller load is served."""
    size, seconds = ("100", "10") if OURS else ("10", "2")
    command = [sys.executable, "bench/campaigns.py", "--campaigns", size, "--seconds", seconds, "--rounds", "1"]
    run = subprocess.run(
        [*command, "--recipients", "500", "--json"], cwd=root, capture_output=True, text=True, timeout=240, check=True
    )
    found = json.loads(run.stdout)[size]
    shown(f"{size} campaigns", f"{found}\n")
    assert found["requests"] > int(size)
    assert found["errors"] < found["requests"] / 10
    if OURS:
        assert (found["errors"], found["p95"] < 2.0) == (0, True)
