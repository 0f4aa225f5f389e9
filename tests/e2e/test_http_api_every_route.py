"""A running daemon's port, route by route: nobody comes in without a credential, nobody further than its scope.

The routes are those of /openapi.json, which is written from the routes that are served, so a new one is walked too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.faults.conftest import DaemonProcess
from tocsin.access.tokens import Scope, mint
from tocsin.state import State
from tocsin.testing.waiting import eventually

RULES = """
groups:
  - name: self
    rules:
      - {alert: Always, expr: "vector(1)", labels: {severity: P3}}
"""
PUBLIC = {"/healthz", "/readyz", "/login", "/login/password", "/login/code", "/login/oauth", "/login/callback",
          "/login/mfa", "/login/link", "/static/job", "/hooks/before-user-created"}  # fmt: skip
"""Anybody may ask these; none of them shows anything of what is inside."""
PREFLIGHT = ("OPTIONS", "/api/1/envelope/")
"""Pages of other origins ask it before they post; the answer is always the same."""


class Site:
    """A daemon, tokens for it, and a client."""

    def __init__(self, daemon: DaemonProcess, tokens: dict[str, str], client: ClientSession) -> None:
        self.daemon, self.tokens, self._client = daemon, tokens, client

    async def ask(self, method: str, path: str, token: str | None, **more: Any) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        url = f"http://{self.daemon.address}{path}"
        async with self._client.request(method, url, headers=headers | more.pop("headers", {}), **more) as answer:
            return answer.status, await answer.read()

    async def routes(self) -> list[tuple[str, str, list[str]]]:
        """(method, path with its names filled in, the scopes that let in)."""
        _, body = await self.ask("GET", "/openapi.json", self.tokens["admin"])
        found = []
        for path, methods in json.loads(body)["paths"].items():
            for method, told in methods.items():
                wanted = told.get("description", "").removeprefix("Wants a token with the scope ").rstrip(".")
                filled = path.replace("{name}", "job").replace("{id}", "nope").replace("{project}", "1")
                found.append((method.upper(), filled, wanted.split(" or ") if wanted else []))
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    config = {
        "collectors": [], "rules": ["rules.yaml"], "routes": [{"match": {}, "notify": ["log"]}],
        "notifiers": [{"kind": "console", "name": "log"}], "web": {"listen": "127.0.0.1:0"},
        "telemetry": {"log_format": "json"},
    }  # fmt: skip
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    state = await State.open(f"sqlite:///{tmp_path / 'tocsin.db'}")
    tokens = {}
    for scope in Scope:
        tokens[scope.value], row = mint([scope], datetime.now(UTC))
        await state.tokens.put(row)
    await state.close()
    daemon = DaemonProcess(tmp_path)
    await daemon.start()
    async with ClientSession() as client:
        yield Site(daemon, tokens, client)
    await daemon.kill()


async def test_every_route_is_guarded(site: Site) -> None:
    """401 without a credential or with a wrong one, 403 with too little, and none of the two with the right scope."""
    routes = await site.routes()
    assert {(method, path) for method, path, _ in routes} >= {
        ("POST", "/api/v1/query"), ("GET", "/api/v1/label/job/values"), ("POST", "/api/v2/alerts"),
        ("DELETE", "/api/v2/silence/nope"), ("POST", "/api/tocsin/v1/incidents/nope/ack"), ("GET", "/metrics"),
    }  # fmt: skip
    stranger, _ = mint([Scope.ADMIN], datetime.now(UTC))
    seen: list[tuple[str, str, tuple[int, ...]]] = []
    passed: set[str] = set()
    for method, path, scopes in routes:
        if path in PUBLIC or (method, path) == PREFLIGHT:
            passed.add(path)
            continue
        without = (await site.ask(method, path, None))[0]
        wrong = (await site.ask(method, path, stranger))[0]
        less = [(await site.ask(method, path, site.tokens[scope.value]))[0] for scope in Scope
                if scopes and scope.value not in (*scopes, "admin")]  # fmt: skip
        right = [(await site.ask(method, path, site.tokens[scope]))[0] for scope in (*scopes, "admin")]
        assert (without, wrong, set(less) - {403}) == (401, 401, set()), f"{method} {path}"
        assert not {401, 403} & set(right), f"{method} {path}"
        seen.append((method, path, tuple(right)))
    assert (passed, len(seen) > 40) == (PUBLIC | {PREFLIGHT[1]}, True)


async def test_what_is_no_route_wants_a_credential_too(site: Site) -> None:
    """A stranger can't tell what is there from what is not; who is known is told 404."""
    for path in ("/api", "/api/v1", "/api/v1/", "/api/v1/query/", "/nope", "/api/v1/label/a/b"):
        answers = [(await site.ask("GET", path, token))[0] for token in (None, "tocsin_x_y", site.tokens["admin"])]
        assert answers == [401, 401, 404], path


async def test_what_grafanas_data_source_asks(site: Site) -> None:
    """Its health check, its pickers and its panels, with the token as a password."""
    basic = base64.b64encode(f"grafana:{site.tokens['query:read']}".encode()).decode()
    auth = {"Authorization": f"Basic {basic}"}

    async def asked(method: str, path: str, **form: str) -> Any:
        headers = auth | {"Accept-Encoding": "gzip"}
        more: dict[str, Any] = {"data": form} if method == "POST" else {}
        status, body = await site.ask(method, f"/api/v1/{path}", None, headers=headers, **more)
        assert status == 200, body
        return json.loads(body)["data"]

    assert (await asked("POST", "query", query="1+1", time="4"))["result"] == [4, "2"]
    assert (await asked("GET", "status/buildinfo"))["features"] == {}

    async def has_samples() -> bool:
        return "tocsin_series" in await asked("GET", "label/__name__/values")

    await eventually(has_samples)
    now = datetime.now(UTC).timestamp()
    panel = await asked(
        "POST",
        "query_range",
        query='sum by (job) ({job="tocsin"})',
        start=f"{now - 60:.3f}",
        end=f"{now + 5:.3f}",
        step="5",
    )
    assert [each["metric"] for each in panel["result"]] == [{"job": "tocsin"}]
    assert (await asked("GET", "metadata?metric=tocsin_series"))["tocsin_series"][0]["type"] == "gauge"
    assert "job" in await asked("POST", "labels", **{"match[]": "tocsin_series"})
    (group,) = (await asked("GET", "rules"))["groups"]
    assert [(rule["name"], rule["state"]) for rule in group["rules"]] == [("Always", "firing")]
    assert [each["labels"]["alertname"] for each in (await asked("GET", "alerts"))["alerts"]] == ["Always"]
