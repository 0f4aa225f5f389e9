"""POST /ingest/auth-logs: who may send, how it is packed, and what is answered."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import brotli
import pytest
from structlog.testing import capture_logs

from tocsin.access.tokens import Scope
from tocsin.app.chores import Chores
from tocsin.state.inbox import Inbox
from tocsin.testing.asking import ask
from tocsin.web.ingest import PATH
from tocsin.web.packed import MOST_BYTES
from tocsin.web.server import application

# A type of this folder's conftest, which a test can't import.
Port = Any


class Kept:
    """An inlet that keeps in memory."""

    address = "auth-logs"

    def __init__(self, name: str, secret: str = "") -> None:
        self.name, self._secret = name, secret
        self.bodies: list[bytes] = []
        self.broken: Exception | None = None

    def admits(self, secret: str) -> bool:
        return bool(self._secret) and secret == self._secret

    async def take(self, body: bytes) -> Mapping[str, int]:
        if self.broken is not None:
            raise self.broken
        self.bodies.append(body)
        return {"accepted": 1}

    async def close(self) -> None:
        pass


@pytest.fixture
def inlets(port: Port) -> dict[str, Kept]:
    """One collector with a drain; the port serves it."""
    found = {"auth": Kept("auth", "the-secret")}
    object.__setattr__(port.inside, "inlets", lambda: found)
    port.app = application(port.inside)
    return found


async def sent(port: Port, body: bytes = b"[]", path: str = PATH, **headers: str) -> Any:
    """A request with headers only."""
    return await ask(port.app, "POST", path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def test_who_may_send(port: Port, inlets: dict[str, Kept]) -> None:
    """The drain's secret or a token for ingesting; nobody else, and no body of theirs is read."""
    assert (await sent(port)).status == 401
    assert (await sent(port, x_tocsin_secret="wrong")).status == 401
    assert (await sent(port, x_tocsin_secret="")).status == 401
    answer = await sent(port, x_tocsin_secret="the-secret")
    assert (answer.status, answer.json()) == (200, {"accepted": 1})
    assert (await port.ask("POST", PATH, Scope.INGEST_WRITE, body=b"[]")).status == 200
    assert (await port.ask("POST", PATH, Scope.QUERY_READ, body=b"[]")).status == 403
    assert len(inlets["auth"].bodies) == 2


async def test_a_drains_secret_opens_nothing_else(port: Port, inlets: dict[str, Kept]) -> None:
    """It is of this route."""
    assert (await sent(port, path="/api/v2/alerts", x_tocsin_secret="the-secret")).status == 401
    assert (await sent(port, path=PATH + "/", x_tocsin_secret="the-secret")).status == 401


@pytest.mark.parametrize(
    ("pack", "coding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate"), (brotli.compress, "br")]
)
async def test_what_comes_packed_is_unpacked(
    port: Port, inlets: dict[str, Kept], pack: Callable[[bytes], bytes], coding: str
) -> None:
    """gzip is Supabase's default, brotli that of Sentry's Python SDK; in one piece or in many."""
    long = b"[" + b"0123456789," * 300_000 + b"0]"
    for body in (b'[{"id":"x"}]', long, b""):
        answer = await sent(port, pack(body), x_tocsin_secret="the-secret", content_encoding=coding)
        assert answer.status == 200
    assert inlets["auth"].bodies == [b'[{"id":"x"}]', long, b""]


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"[]")[:-4], "gzip", 400),
        (gzip.compress(b"[]") * 2, "gzip", 400),
        (gzip.compress(b" " * (MOST_BYTES + 1)), "gzip", 413),
        (b"no brotli", "br", 400),
        (brotli.compress(b"[]")[:-1], "br", 400),
        (brotli.compress(b"[]") + b"more", "br", 400),
        (b"", "br", 400),
        (brotli.compress(b" " * (MOST_BYTES + 1)), "br", 413),
        (zlib.compress(b"[]")[2:-4], "deflate", 400),
        (b"[]", "zstd", 415),
    ],
    ids=[
        "no-gzip",
        "cut-off",
        "two-members",
        "bomb",
        "no-brotli",
        "brotli-cut-off",
        "brotli-and-more",
        "brotli-empty",
        "brotli-bomb",
        "deflate-without-zlib",
        "zstd",
    ],
)
async def test_what_can_not_be_unpacked(
    port: Port, inlets: dict[str, Kept], body: bytes, coding: str, status: int
) -> None:
    """Each is told, and a bomb is stopped at the bound."""
    answer = await sent(port, body, x_tocsin_secret="the-secret", content_encoding=coding)
    assert (answer.status, inlets["auth"].bodies) == (status, [])
    assert answer.json()["detail"]


async def test_what_is_wrong_is_told(port: Port, inlets: dict[str, Kept]) -> None:
    """400 for the batch, 503 for our disk."""
    inlets["auth"].broken = ValueError("event 3 is not an object")
    answer = await sent(port, x_tocsin_secret="the-secret")
    assert (answer.status, answer.json()["detail"]) == (400, "event 3 is not an object")
    inlets["auth"].broken = OSError(28, "No space left on device")
    answer = await sent(port, x_tocsin_secret="the-secret")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_of_several_drains_one_is_meant(port: Port, inlets: dict[str, Kept]) -> None:
    """By its secret, or by name with a token."""
    inlets["other"] = Kept("other", "its-secret")
    await sent(port, x_tocsin_secret="its-secret")
    assert (len(inlets["auth"].bodies), len(inlets["other"].bodies)) == (0, 1)
    answer = await port.ask("POST", PATH, Scope.INGEST_WRITE, body=b"[]")
    assert (answer.status, "auth, other" in answer.json()["detail"]) == (400, True)
    await port.ask("POST", f"{PATH}?collector=other", Scope.INGEST_WRITE, body=b"[]")
    assert len(inlets["other"].bodies) == 2


async def test_without_a_drain_it_says_what_to_configure(port: Port) -> None:
    """To whoever may know."""
    answer = await port.ask("POST", PATH, Scope.INGEST_WRITE, body=b"[]")
    assert (answer.status, "drain" in answer.json()["detail"]) == (404, True)
    assert (await sent(port, x_tocsin_secret="anything")).status == 401


async def test_what_a_follower_is_sent_the_leader_counts(port: Port, inlets: dict[str, Kept]) -> None:
    """Events of a drain and alerts alike: whichever replica took them, the one that decides has them a second later."""
    port.pipeline.decisions.leads = False
    alert = {"labels": {"alertname": "Down", "service": "api", "severity": "P0"}}
    assert (await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, json=[alert])).status == 200
    assert (await sent(port, b'[{"id":"x"}]', x_tocsin_secret="the-secret")).status == 200
    assert (inlets["auth"].bodies, port.pipeline.book.open) == ([], ())
    port.pipeline.decisions.leads = True
    chores = Chores(
        state=port.state, pipeline=port.pipeline, inbox=Inbox(port.state), clock=port.clock,
        telemetry=port.inside.telemetry, history=lambda: 1e9, inlets=lambda: inlets,
    )  # fmt: skip
    await chores.tick()
    (incident,) = port.pipeline.book.open
    assert (inlets["auth"].bodies, incident.group["service"]) == ([b'[{"id":"x"}]'], "api")


async def test_what_the_leader_can_not_use_of_it_is_logged_and_done_with(port: Port, inlets: dict[str, Kept]) -> None:
    """It does not stand in the way of what comes after it."""
    port.pipeline.decisions.leads = False
    await sent(port, b"nonsense", x_tocsin_secret="the-secret")
    port.pipeline.decisions.leads, inlets["auth"].broken = True, ValueError("event 1 is not an object")
    chores = Chores(
        state=port.state, pipeline=port.pipeline, inbox=Inbox(port.state), clock=port.clock,
        telemetry=port.inside.telemetry, history=lambda: 1e9, inlets=lambda: inlets,
    )  # fmt: skip
    with capture_logs() as logs:
        await chores.tick()
        await chores.tick()
    assert [each["error"] for each in logs if each["event"] == "events.not_taken"] == ["event 1 is not an object"]
