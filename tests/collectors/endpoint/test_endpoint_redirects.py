"""Redirects, and secrets on the way: where they are read, and where they do not follow."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
# Of this folder's conftest, which a test can't import.
Endpoints = Any


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="all is well")


async def poll_again(collector: Any, at: Any) -> list[Any]:
    return [item async for item in collector.collect(at)]


async def test_redirects_are_followed_to_the_answer(endpoints: Endpoints) -> None:
    """The expectations are about where it leads; 303 turns a POST into a GET."""

    async def lead(request: web.Request) -> web.Response:
        if request.path == "/":
            return web.Response(status=303, headers={"location": "/there"})
        return web.Response(text=f"{request.method} {await request.text()}")

    url = await endpoints.serve(lead)
    expect = {"status": 200, "body_matches": "^GET $"}
    seen = await endpoints.poll({"url": url, "method": "POST", "body": "x", "expect": expect})
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (1, set())


async def test_an_unfollowed_redirect_is_its_own_answer(endpoints: Endpoints) -> None:
    """`follow_redirects: false` judges the redirect itself."""

    async def lead(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": "/there"})

    url = await endpoints.serve(lead)
    seen = await endpoints.poll({"url": url, "follow_redirects": False, "expect": {"status": [301, 302]}})
    assert seen.value("tocsin_endpoint_up") == 1


@pytest.mark.parametrize("where", ["/again", "mailto:ana@example.com", "http://[::bad"])
async def test_a_redirect_that_leads_nowhere_is_redirect(endpoints: Endpoints, where: str) -> None:
    """A loop, and a location that is no web address."""

    async def loop(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": where})

    seen = await endpoints.poll({"url": await endpoints.serve(loop)})
    assert seen.reasons() == {"redirect"}


async def test_a_redirect_elsewhere_gets_no_secret(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secret headers go to the target's own origin only."""
    got: dict[str, str | None] = {}

    async def elsewhere(request: web.Request) -> web.Response:
        got["elsewhere"] = request.headers.get("x-key")
        return web.Response()

    away = await endpoints.serve(elsewhere)

    async def own(request: web.Request) -> web.Response:
        got[request.path] = request.headers.get("x-key")
        return web.Response(status=302, headers={"location": "/own" if request.path == "/" else away})

    monkeypatch.setenv("PROBE_KEY", "s3cret")
    await endpoints.poll({"url": await endpoints.serve(own), "headers_env": {"X-Key": "PROBE_KEY"}})
    assert got == {"/": "s3cret", "/own": "s3cret", "elsewhere": None}


async def test_a_token_file_is_read_at_every_probe(endpoints: Endpoints, tmp_path: Path) -> None:
    """A rotated token is taken up without a restart."""
    got: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        got.append(request.headers.get("authorization"))
        return web.Response()

    collector = endpoints.collector({"url": await endpoints.serve(note), "bearer_token_file": "token"})
    for token in ("one", "two"):
        (tmp_path / "token").write_text(f"{token}\n")
        await poll_again(collector, AT)
    assert got == ["Bearer one", "Bearer two"]


async def test_a_header_may_come_from_a_file(endpoints: Endpoints, tmp_path: Path) -> None:
    """Read at every probe, and in no series."""
    got: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        got.append(request.headers.get("x-api-key"))
        return web.Response()

    (tmp_path / "key").write_text("k-1\n")
    seen = await endpoints.poll({"url": await endpoints.serve(note), "headers_file": {"X-Api-Key": "key"}})
    assert (got, "k-1" in repr(seen.items)) == (["k-1"], False)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"headers_env": {"X-Key": "NOT_SET_ANYWHERE"}}, "NOT_SET_ANYWHERE is not set"),
        ({"bearer_token_file": "missing"}, "No such file"),
        ({"tls": {"ca_file": "missing.pem"}}, "No such file"),
        ({"tls": {"ca_file": "not.pem"}}, "no PEM file"),
    ],
)
async def test_what_we_lack_is_unknown_not_down(
    endpoints: Endpoints, tmp_path: Path, target: dict[str, Any], why: str
) -> None:
    """A missing secret or CA file is ours: blind for that target, and the others go on."""
    (tmp_path / "not.pem").write_text("hello")
    url = await endpoints.serve(ok)
    seen = await endpoints.poll({"url": url, "name": "lacking", **target}, {"url": url, "name": "whole"})
    assert [(blind.labels["instance"], why in blind.why) for blind in seen.blind] == [("lacking", True)]
    assert [s.labels["instance"] for s in seen.samples if s.name == "tocsin_endpoint_up"] == ["whole"]


@pytest.mark.parametrize(("follow", "status"), [(True, 200), (False, 302)])
@pytest.mark.parametrize(("wanted", "reasons"), [("/login$", set()), ("/maintenance$", {"redirect"})])
async def test_where_a_redirect_leads_can_be_expected(
    endpoints: Endpoints, follow: bool, status: int, wanted: str, reasons: set[str]
) -> None:
    """Followed or not."""

    async def lead(request: web.Request) -> web.Response:
        there = {"location": "/login"}
        return web.Response() if request.path == "/login" else web.Response(status=302, headers=there)

    expect = {"status": status, "url_matches": wanted}
    seen = await endpoints.poll({"url": await endpoints.serve(lead), "follow_redirects": follow, "expect": expect})
    assert seen.reasons() == reasons


async def test_redirects_end_at_their_limit(endpoints: Endpoints) -> None:
    """Two are two."""

    async def lead(request: web.Request) -> web.Response:
        left = int(request.path[1:])
        return web.Response(status=302, headers={"location": f"/{left - 1}"}) if left else web.Response()

    url = await endpoints.serve(lead)
    targets = [{"url": f"{url}/{n}", "name": str(n), "max_redirects": 2} for n in (2, 3)]
    seen = await endpoints.poll(*targets)
    assert (seen.reasons("2"), seen.reasons("3")) == (set(), {"redirect"})
