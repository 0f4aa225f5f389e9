"""The guard: what is public is named, everything else is refused alike, and answers tell nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tocsin.access.allowlist import Role
from tocsin.access.door import Admitted, bearer
from tocsin.access.guard import Guard, Public, admitted
from tocsin.access.verdicts import NotAllowed, Principal, Reason, Refusal, Unavailable, Unproven
from tocsin.testing.clock import VirtualClock
from tocsin.testing.forge import SESSION, USER

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANA = Admitted(
    principal=Principal(
        sub=USER, email="ana@example.com", role="authenticated", aal="aal1", session_id=SESSION,
        issued_at=NOW, expires_at=NOW + timedelta(hours=1),
    ),
    role=Role.OPERATOR,
    because="listed",
)  # fmt: skip


class FakeDoor:
    def __init__(self, verdict: Admitted | Refusal) -> None:
        self.verdict = verdict
        self.asked = 0

    async def admit(self, headers: Any, now: datetime) -> Admitted | Refusal:
        self.asked += 1
        return self.verdict


class Inside:
    """The application: remembers what reached it."""

    def __init__(self) -> None:
        self.reached: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"inside"})


async def ask(
    door: FakeDoor, method: str = "GET", path: str = "/x", type: str = "http", extensions: Any = None, **options: Any
) -> tuple[list[Any], Inside]:
    inside, sent = Inside(), []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": type, "method": method, "path": path, "headers": [], "extensions": extensions or {}}
    if type != "http":
        del scope["method"]
    guard = Guard(inside, door, VirtualClock(NOW), **options)

    async def receive() -> Any:
        return {"type": "http.request"}

    await guard(scope, receive, send)
    return sent, inside


REFUSALS = [
    Unproven(reason=Reason.EXPIRED, because="secret detail"),
    NotAllowed(reason=Reason.DENIED, because="secret detail"),
    Unavailable(reason=Reason.NO_LIST, because="secret detail", retry_after=7),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: str(refusal.status))
async def test_a_refusal_is_a_problem_that_tells_nothing(refusal: Refusal) -> None:
    """The same text whatever the reason; the reason is in the log."""
    with capture_logs() as logs:
        sent, inside = await ask(FakeDoor(refusal))
    headers = dict(sent[0]["headers"])
    assert (sent[0]["status"], headers[b"content-type"], headers[b"cache-control"]) == (
        refusal.status, b"application/problem+json", b"no-store"
    )  # fmt: skip
    assert b"secret" not in sent[1]["body"]
    assert inside.reached == []
    assert [(line["event"], line["because"]) for line in logs] == [("access.refused", "secret detail")]


async def test_401_says_how_to_prove_oneself_and_503_when_to_ask_again() -> None:
    """RFC 6750 and RFC 9110."""
    kinds = {refusal.status: dict((await ask(FakeDoor(refusal)))[0][0]["headers"]) for refusal in REFUSALS}
    assert kinds[401][b"www-authenticate"] == b'Bearer realm="tocsin", error="invalid_token"'
    assert (kinds[503][b"retry-after"], b"www-authenticate" in kinds[403]) == (b"7", False)


async def test_without_a_token_the_challenge_names_no_error() -> None:
    """There was none to be wrong."""
    sent, _ = await ask(FakeDoor(Unproven(reason=Reason.NO_CREDENTIAL)))
    assert dict(sent[0]["headers"])[b"www-authenticate"] == b'Bearer realm="tocsin"'


async def test_head_is_refused_without_a_body() -> None:
    """With the length it would have."""
    sent, _ = await ask(FakeDoor(REFUSALS[0]), method="HEAD")
    assert (sent[0]["status"], sent[1]["body"]) == (401, b"")


async def test_who_is_admitted_is_in_the_scope() -> None:
    """The application asks `admitted(scope)`; what a server put there before counts for nothing."""
    _, inside = await ask(FakeDoor(ANA))
    assert admitted(inside.reached[0]) is ANA
    assert admitted({"tocsin.admitted": "forged"}) is None


PUBLIC = [Public("/healthz"), Public("/static/", under=True), Public("/hooks/x", methods=frozenset({"POST"}))]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("GET", "/static/a.css"),
        ("GET", "/static/js/a.js"),
        ("POST", "/hooks/x"),
    ],
)
async def test_what_is_public_is_not_asked_about(method: str, path: str) -> None:
    """By name and method."""
    door = FakeDoor(REFUSALS[0])
    _, inside = await ask(door, method, path, public=PUBLIC)
    assert (len(inside.reached), door.asked) == (1, 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/healthz"), ("GET", "/healthz/"), ("GET", "//healthz"), ("GET", "/healthz/../x"), ("GET", "/Healthz"),
        ("GET", "/healthz\0"), ("GET", "/healthz;x"), ("GET", "/static"), ("GET", "/staticx/a"), ("GET", "/hooks/x"),
        ("GET", "/static/../x"), ("GET", "/static/./x"), ("GET", "/static//x"), ("GET", "/static/.."),
        ("GET", "/static/a%2f..%2fx"), ("GET", "/static/..\\x"), ("DELETE", "/static/a.css"), ("GET", ""), ("GET", "x"),
        ("OPTIONS", "/x"), ("get", "/healthz"),
    ],
)  # fmt: skip
async def test_what_only_looks_public_is_refused(method: str, path: str) -> None:
    """Another method, case, slash or dot is another path."""
    sent, inside = await ask(FakeDoor(REFUSALS[0]), method, path, public=PUBLIC)
    assert (sent[0]["status"], inside.reached) == (401, [])


@pytest.mark.parametrize(("needed", "status"), [(Role.VIEWER, 200), (Role.OPERATOR, 200), (Role.ADMIN, 403)])
async def test_a_path_may_need_a_role(needed: Role, status: int) -> None:
    """A higher one will do."""
    sent, _ = await ask(FakeDoor(ANA), needs=lambda method, path: needed)
    assert sent[0]["status"] == status


async def test_a_websocket_is_refused_before_it_is_accepted() -> None:
    """With a whole answer where the server can, closed where it can't."""
    sent, inside = await ask(FakeDoor(REFUSALS[0]), type="websocket")
    assert (sent, inside.reached) == ([{"type": "websocket.close", "code": 1008}], [])
    sent, _ = await ask(FakeDoor(REFUSALS[0]), type="websocket", extensions={"websocket.http.response": {}})
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]


async def test_the_server_may_start_and_stop_unasked() -> None:
    """Lifespan has no headers."""
    door = FakeDoor(REFUSALS[0])
    _, inside = await ask(door, type="lifespan")
    assert (len(inside.reached), door.asked) == (1, 0)


@pytest.mark.parametrize(
    "make", [lambda: Public("x"), lambda: Public("/", under=True), lambda: Public("/x", under=True)]
)
def test_a_public_path_that_would_open_too_much_is_refused(make: Any) -> None:
    """At start, and not found out later."""
    with pytest.raises(ValueError):
        make()


def one(value: bytes) -> Any:
    found = bearer([(b"host", b"x"), (b"authorization", value)])
    return found.reason if isinstance(found, Refusal) else found


@pytest.mark.parametrize("value", [b"Bearer a.b.c", b"bearer a.b.c", b"BEARER a.b.c"])
def test_a_bearer_token_is_read(value: bytes) -> None:
    """The scheme's case is free (RFC 9110 §11.1)."""
    assert one(value) == "a.b.c"


@pytest.mark.parametrize(
    "value",
    [b"", b"Bearer", b"Bearer ", b"Bearer  a.b.c", b"Bearer a.b.c ", b" Bearer a.b.c", b"Bearer\ta.b.c", b"Basic YTpi",
     b"a.b.c", b"Bearer a.b.c, Bearer d.e.f", b"Bearer a.b.c,d", b"Bearer a b", b"Bearer a\x00b", b"Bearer \xe9",
     b"Bearer a\r\nX: y"],
)  # fmt: skip
def test_what_is_not_exactly_one_bearer_token_is_refused(value: bytes) -> None:
    """Two proxies must not be able to read two tokens out of it."""
    assert one(value) is Reason.NOT_BEARER


@pytest.mark.parametrize("count", [0, 2, 3])
def test_there_is_exactly_one_authorization_header(count: int) -> None:
    """Equal ones too."""
    found = bearer([(b"authorization", b"Bearer a.b.c")] * count)
    assert isinstance(found, Unproven)
