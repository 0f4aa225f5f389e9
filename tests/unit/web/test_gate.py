"""The door: what isn't public is refused without a credential, whatever the path."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tocsin.access.tokens import Scope, ServiceToken, mint
from tocsin.testing.asking import Answer, ask
from tocsin.testing.clock import VirtualClock
from tocsin.web.gate import Gate, Operation, protected, public, shown_token

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOLD = Operation(summary="")


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


async def name(request: Request) -> Response:
    return PlainTextResponse(shown_token(request).note)


def gate(*rows: ServiceToken) -> Gate:
    routes = [
        public("/healthz", answer, TOLD),
        protected("/metrics", answer, Scope.METRICS_READ, operation=TOLD),
        protected("/things/{id}", answer, Scope.ALERTS_READ, Scope.QUERY_READ, operation=TOLD),
        protected("/things/{id}", answer, Scope.ALERTS_WRITE, operation=TOLD, methods=("DELETE",)),
        protected("/me", name, operation=TOLD),
    ]
    return Gate(routes=routes, tokens=Tokens(*rows), clock=VirtualClock(NOW))


READER, READER_ROW = mint([Scope.METRICS_READ], NOW, note="reader")


@pytest.mark.parametrize("path", ["/metrics", "/", "/no/such/page", "/healthz/", "//healthz", "/metrics/../healthz"])
async def test_without_a_credential_every_other_path_answers_401(path: str) -> None:
    """A stranger doesn't even learn which pages exist."""
    response = await ask(gate(READER_ROW), "GET", path)
    assert (response.status, response.headers["content-type"]) == (401, "application/problem+json")


async def test_health_is_public() -> None:
    """A load balancer needs no token."""
    assert (await ask(gate(), "GET", "/healthz")).body == b"inside"


@pytest.mark.parametrize("kind", ["bearer", "basic"])
async def test_a_token_with_the_scope_comes_in_by_either_way(kind: str) -> None:
    """Bearer for scripts, Basic for Grafana."""
    basic = base64.b64encode(f"grafana:{READER}".encode()).decode()
    given = f"Bearer {READER}" if kind == "bearer" else f"Basic {basic}"
    response = await ask(gate(READER_ROW), "GET", "/metrics", headers={"Authorization": given})
    assert response.body == b"inside"


async def test_a_token_without_the_scope_is_told_which_one_it_lacks() -> None:
    """403, not 401: it is known."""
    clear, row = mint([Scope.QUERY_READ], NOW)
    response = await ask(gate(row), "GET", "/metrics", token=clear)
    assert (response.status, "metrics:read" in response.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("method", "scope", "status"),
    [
        ("GET", Scope.ALERTS_READ, 200), ("GET", Scope.QUERY_READ, 200), ("GET", Scope.ALERTS_WRITE, 403),
        ("DELETE", Scope.ALERTS_WRITE, 200), ("DELETE", Scope.ALERTS_READ, 403), ("DELETE", Scope.ADMIN, 200),
    ],
)  # fmt: skip
async def test_a_path_with_a_name_in_it_is_guarded_by_method(method: str, scope: Scope, status: int) -> None:
    """Reading and writing the same thing are two scopes, and any of several may do."""
    clear, row = mint([scope], NOW)
    assert (await ask(gate(row), method, "/things/7", token=clear)).status == status


async def test_a_wrong_method_needs_the_scope_too() -> None:
    """405 only for those who may ask at all."""
    clear, row = mint([Scope.ALERTS_READ], NOW)
    app = gate(row, READER_ROW)
    answers: list[Answer] = [await ask(app, "PUT", "/things/7", token=each) for each in (clear, READER)]
    assert [each.status for each in answers] == [405, 403]


async def test_a_route_that_names_no_scope_wants_a_token_and_knows_whose() -> None:
    """Anyone who is known may ask, nobody else."""
    app = gate(READER_ROW)
    known, stranger = await ask(app, "GET", "/me", token=READER), await ask(app, "GET", "/me")
    assert (known.body, stranger.status) == (b"reader", 401)


@pytest.mark.parametrize(
    "given", ["Bearer ", "Bearer tocsin_x_y", "Basic %%%", "Basic eDp5", "Digest x", "Bearer " + "x" * 9000]
)
async def test_a_wrong_credential_is_401(given: str) -> None:
    """Malformed ones too: no server error, no hint."""
    assert (await ask(gate(READER_ROW), "GET", "/metrics", headers={"Authorization": given})).status == 401


async def test_two_authorization_headers_are_refused() -> None:
    """Two proxies could each read another one."""
    both = [("Authorization", f"Bearer {READER}"), ("Authorization", "Bearer other")]
    assert (await ask(gate(READER_ROW), "GET", "/metrics", more_headers=both)).status == 401


async def test_an_expired_token_is_refused() -> None:
    """Its time is checked on every request."""
    clear, row = mint([Scope.METRICS_READ], NOW, expires_at=NOW - timedelta(seconds=1))
    assert (await ask(gate(row), "GET", "/metrics", token=clear)).status == 401
