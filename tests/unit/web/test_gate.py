"""The door: what isn't public is refused without a credential, whatever the path."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from tocsin.access.tokens import Scope, ServiceToken, mint
from tocsin.testing.clock import VirtualClock
from tocsin.web.gate import Gate, protected, public

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Tokens:
    def __init__(self, *rows: ServiceToken) -> None:
        self.rows = {row.id: row for row in rows}
        self.used: list[str] = []

    async def service_token(self, id: str) -> ServiceToken | None:
        return self.rows.get(id)

    async def token_used(self, id: str) -> None:
        self.used.append(id)


async def answer(request: Request) -> Response:
    return PlainTextResponse("inside")


def client(*rows: ServiceToken) -> TestClient:
    routes = [public("/healthz", answer), protected("/metrics", answer, Scope.METRICS_READ)]
    app = Gate(Starlette(routes=list(routes)), routes=routes, tokens=Tokens(*rows), clock=VirtualClock(NOW))
    return TestClient(app)


READER, READER_ROW = mint([Scope.METRICS_READ], NOW)


@pytest.mark.parametrize("path", ["/metrics", "/", "/no/such/page", "/healthz/", "//healthz", "/metrics/../healthz"])
def test_without_a_credential_every_other_path_answers_401(path: str) -> None:
    """A stranger doesn't even learn which pages exist."""
    response = client(READER_ROW).get(path)
    assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")


def test_health_is_public() -> None:
    """A load balancer needs no token."""
    assert client().get("/healthz").text == "inside"


@pytest.mark.parametrize("kind", ["bearer", "basic"])
def test_a_token_with_the_scope_comes_in_by_either_way(kind: str) -> None:
    """Bearer for scripts, Basic for Grafana."""
    basic = base64.b64encode(f"grafana:{READER}".encode()).decode()
    given = f"Bearer {READER}" if kind == "bearer" else f"Basic {basic}"
    assert client(READER_ROW).get("/metrics", headers={"Authorization": given}).text == "inside"


def test_a_token_without_the_scope_is_told_which_one_it_lacks() -> None:
    """403, not 401: it is known."""
    clear, row = mint([Scope.QUERY_READ], NOW)
    response = client(row).get("/metrics", headers={"Authorization": f"Bearer {clear}"})
    assert (response.status_code, "metrics:read" in response.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    "given", ["Bearer ", "Bearer tocsin_x_y", "Basic %%%", "Basic eDp5", "Digest x", "Bearer " + "x" * 9000]
)
def test_a_wrong_credential_is_401(given: str) -> None:
    """Malformed ones too: no server error, no hint."""
    assert client(READER_ROW).get("/metrics", headers={"Authorization": given}).status_code == 401


def test_two_authorization_headers_are_refused() -> None:
    """Two proxies could each read another one."""
    both = [("Authorization", f"Bearer {READER}"), ("Authorization", "Bearer other")]
    assert client(READER_ROW).get("/metrics", headers=both).status_code == 401


def test_an_expired_token_is_refused() -> None:
    """Its time is checked on every request."""
    clear, row = mint([Scope.METRICS_READ], NOW, expires_at=NOW - timedelta(seconds=1))
    assert client(row).get("/metrics", headers={"Authorization": f"Bearer {clear}"}).status_code == 401
