"""Promises of single layers: what is no error, whose matter one is, what is masked, who waits, what starts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import requests
from prometheus_client import CollectorRegistry

from tests.asgi.frameworks import Kept
from tests.asgi.test_storms_and_cardinality import nothing, nowhere, scope
from tocsin.asgi import (
    Access,
    Body,
    Cache,
    Concurrency,
    ErrorReport,
    Errors,
    Exposition,
    Gate,
    Latency,
    Lines,
    RequestLog,
    Rule,
    Time,
    protect,
)  # fmt: skip
from tocsin.asgi.access import public_route
from tocsin.asgi.errors.category import Categories
from tocsin.asgi.errors.scrub import scrubbed
from tocsin.asgi.measures import measures_of
from tocsin.errors import InputError


class Client:
    """Remembers what an application sent."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        self.said.append(message)

    @property
    def status(self) -> int:
        return int(self.said[0]["status"])

    def header(self, name: bytes) -> bytes:
        return dict(self.said[0]["headers"])[name]  # type: ignore[no-any-return]


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


def test_categories_are_by_type_then_by_what_it_came_from_then_by_status() -> None:
    """One case of each of the seven, and of what a mapping adds."""

    class Quota(Exception): ...

    wrapped = RuntimeError("no answer")
    wrapped.__cause__ = sqlite3.OperationalError("locked")
    denied = type("HTTPException", (Exception,), {"status_code": 403})("no")
    categories = Categories({Quota: "quota"})
    cases = [
        (ConnectionRefusedError(), 500), (TimeoutError(), 500), (wrapped, 500), (denied, 403), (None, 404), (None, 422),
        (KeyError("x"), 500), (None, 503), (Quota(), 500),
    ]  # fmt: skip
    assert [categories.of(error, status) for error, status in cases] == [
        "dependency", "timeout", "database", "auth", "client", "validation", "bug", "dependency", "quota",
    ]  # fmt: skip


def test_a_clients_timeout_is_a_timeout_before_it_is_of_a_package() -> None:
    """Unless the mapping says otherwise of the package: what is added goes before what is known."""
    late = [httpx.ReadTimeout("late"), requests.exceptions.ConnectTimeout("late"), httpx.ConnectError("refused")]
    assert [Categories().of(error) for error in late] == ["timeout", "timeout", "dependency"]
    assert [Categories({"httpx.*": "mail"}).of(error) for error in late] == ["mail", "timeout", "mail"]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:hunter2@db/app", "Authorization: Bearer abcdefghijkl", "api_key='hunter2'", "ana@example.com",
        "Key (phone)=(12345) already exists", "card 4111 1111 1111 1111", "call +43 660 1234567",
        "sk_live_abcdefghij123456", "<anà.müller@exämple.de>", "the secret key: 'hunter2'",
        "https://hooks.slack.com/services/T0/B0/abcdefghij", "-----BEGIN EC PRIVATE KEY-----\nabcdefghij",
        "IBAN DE89 3704 0044 0532 0130 00", "Failing row contains (1, ana, secret)",
    ],
)  # fmt: skip
def test_secrets_and_personal_data_are_masked(text: str) -> None:
    """What an exception's text quotes."""
    kept = scrubbed(text)
    assert "***" in kept
    secrets = ("hunter2", "abcdefghij", "ana", "müller", "12345", "4111", "660", "3704")
    assert [secret for secret in secrets if secret in kept] == []


@pytest.mark.parametrize("text", ["division by zero", "2026-03-01 12:00:00.123456", "row 17 of 42", "0x7f2dcc5ebca0"])
def test_what_tells_nothing_of_anybody_stays(text: str) -> None:
    """A log that masks everything helps nobody."""
    assert scrubbed(text) == text


async def test_a_cancelled_request_and_a_client_that_left_are_no_errors() -> None:
    """Nothing is logged or counted, and the cancellation goes on."""
    kept, registry = Kept(), CollectorRegistry()
    from starlette.requests import ClientDisconnect

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise {"/cancelled": asyncio.CancelledError, "/left": ClientDisconnect}[scope["path"]]

    async def broken(message: Any) -> None:
        raise BrokenPipeError

    errors = Errors(app, measures=measures_of(registry), lines=Lines(kept))
    with pytest.raises(asyncio.CancelledError):
        await errors(scope("/cancelled"), nothing, nowhere)
    await errors(scope("/left"), nothing, nowhere)
    await errors(scope("/left"), nothing, broken)
    assert kept.lines == []
    assert [sample for family in registry.collect() for sample in family.samples if "errors_total" in sample.name] == []


async def test_an_observer_that_breaks_does_not_break_the_answer() -> None:
    """The others are told, and the client is answered."""
    told: list[ErrorReport] = []

    def breaks(report: ErrorReport) -> None:
        raise RuntimeError("no network")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("x")

    client, kept = Client(), Kept()
    errors = Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(kept), observers=[breaks, told.append])
    await errors(scope("/"), nothing, client.send)
    assert (client.status, len(told), len(kept.of("request.observer_failed"))) == (500, 1, 1)


async def test_a_5xx_of_the_applications_own_is_logged_and_left_as_it_is() -> None:
    """There is no stack to show; its status and route name it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"back at noon"})

    client, kept = Client(), Kept()
    await Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(kept))(scope("/"), nothing, client.send)
    assert (client.status, client.said[1]["body"]) == (503, b"back at noon")
    assert [(line["category"], line["error"]) for line in kept.of("request.failed")] == [("dependency", "answered 503")]


async def test_a_full_house_turns_away_and_lets_in_by_order() -> None:
    """One place, one waiting: the third gets 503 with Retry-After, the second is served next; health always answers."""
    gate, served = asyncio.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/healthz":
            await gate.wait()
        served.append(scope["path"])
        await ok(scope, receive, send)

    layer = Concurrency(app, 1, waiting=1, patience=60, measures=measures_of(CollectorRegistry()))
    clients = [Client() for _ in range(4)]
    first, second = (asyncio.create_task(layer(scope(f"/{n}"), nothing, clients[n].send)) for n in (0, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await layer(scope("/2"), nothing, clients[2].send)
    await layer(scope("/healthz"), nothing, clients[3].send)
    gate.set()
    await asyncio.gather(first, second)
    assert [client.status for client in clients] == [200, 200, 503, 200]
    assert clients[2].header(b"retry-after") == b"1"
    assert served == ["/healthz", "/0", "/1"]


async def test_who_gives_up_waiting_leaves_no_place_taken() -> None:
    """By patience or by cancellation."""
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/0":
            await gate.wait()
        await ok(scope, receive, send)

    registry = CollectorRegistry()
    layer = Concurrency(app, 1, waiting=5, patience=0.01, measures=measures_of(registry))
    impatient, later = Client(), Client()
    first = asyncio.create_task(layer(scope("/0"), nothing, nowhere))
    await asyncio.sleep(0)
    cancelled = asyncio.create_task(layer(scope("/1"), nothing, nowhere))
    await asyncio.sleep(0)
    cancelled.cancel()
    await layer(scope("/2"), nothing, impatient.send)
    gate.set()
    await first
    await layer(scope("/3"), nothing, later.send)
    assert (impatient.status, later.status, cancelled.cancelled()) == (503, 200, True)
    assert registry.get_sample_value("tocsin_http_requests_waiting") == 0


async def test_each_of_many_that_take_too_long_is_given_up_and_no_other() -> None:
    """Their limits share a timer: what ends in time, or has begun, is left alone; later ones have their own time."""
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] != "/quick":
            await gate.wait()
        if scope["path"] == "/begun":
            await send({"type": "http.response.body", "body": b"late"})
        else:
            await ok(scope, receive, send)

    layer = Time(app, 0.05, measures=measures_of(CollectorRegistry()))
    paths = ["/slow", "/begun", "/quick", "/slow"]
    clients = [Client() for _ in range(5)]
    tasks = [asyncio.create_task(layer(scope(path), nothing, clients[n].send)) for n, path in enumerate(paths)]
    await asyncio.gather(*(tasks[n] for n in (0, 2, 3)))
    await layer(scope("/slow"), nothing, clients[4].send)
    assert not tasks[1].done()
    gate.set()
    await tasks[1]
    assert [client.status for client in clients] == [504, 200, 200, 504, 504]
    assert clients[1].said[-1]["body"] == b"late"


async def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    """The time limit answers 504 for its own only."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    client = Client()
    layer = Time(app, 60, measures=measures_of(CollectorRegistry()))
    task = asyncio.create_task(layer(scope("/"), nothing, client.send))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.said == []


async def test_an_answer_that_has_begun_may_go_on_unless_the_whole_is_limited() -> None:
    """A stream is not cut off by the limit on its beginning."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"late"})

    client, cut = Client(), Client()
    measures = measures_of(CollectorRegistry())
    await Time(app, 0.01, measures=measures)(scope("/"), nothing, client.send)
    with pytest.raises(TimeoutError):
        await Time(app, 0.01, whole=0.02, measures=measures)(scope("/"), nothing, cut.send)
    assert ([len(client.said), len(cut.said)]) == [2, 1]


async def test_metrics_are_for_who_has_the_token() -> None:
    """And everything else passes."""
    registry = CollectorRegistry()
    measures_of(registry).waiting.set(3)
    layer = Exposition(ok, "a token that is long", registry=registry)
    answers = []
    asked = [
        ("/metrics", b""), ("/metrics", b"Basic a token that is long"), ("/metrics", b"Bearer a token that is longer"),
        ("/metrics", b"Bearer a token that is long"), ("/metrics", b"bearer a token that is long"), ("/other", b""),
    ]  # fmt: skip
    for path, token in asked:
        client = Client()
        await layer(scope(path, headers=[(b"authorization", token)]), nothing, client.send)
        answers.append((client.status, b"tocsin_http_requests_waiting 3.0" in client.said[1]["body"]))
    assert answers == [(401, False)] * 3 + [(200, True)] * 2 + [(200, False)]


def test_an_application_that_is_not_told_who_may_come_in_does_not_start() -> None:
    """A forgotten variable must not open it."""
    for environment in ({}, {"TOCSIN_APP_SUPABASE_URL": "https://x.supabase.co"}):
        with pytest.raises(InputError, match="TOCSIN_APP_"):
            protect(ok, environment=environment, registry=CollectorRegistry())


def test_public_routes_are_read_strictly() -> None:
    """A method, a path, a folder; nothing that would open more than it says."""
    assert public_route("/healthz").covers("GET", "/healthz")
    assert public_route("POST /hooks/in").covers("POST", "/hooks/in")
    assert not public_route("POST /hooks/in").covers("GET", "/hooks/in")
    assert public_route("/static/*").covers("GET", "/static/a/b.css")
    assert not public_route("/static/*").covers("GET", "/static/../secret")
    for bad in ("healthz", "/*", "/a*b", "get /a", "/a*"):
        with pytest.raises(ValueError, match=r"\S"):
            public_route(bad)


async def lifespan_of(app: Any) -> list[str]:
    """What a server is told at start and stop."""
    said: list[str] = []
    events = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> Any:
        return next(events)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return said


async def test_the_lifespan_starts_and_stops_ours_around_the_applications() -> None:
    """Also where the application has none; a start that fails is told to the server."""
    order: list[str] = []

    class Layer:
        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

        async def start(self) -> None:
            order.append("ours starts")

        async def close(self) -> None:
            order.append("ours stops")

    async def speaks(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        order.append("app starts")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        order.append("app stops")
        await send({"type": "lifespan.shutdown.complete"})

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def has_none(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only http")

    def around(app: Any) -> Any:
        return protect(
            app, inside=[lambda inner, _: Layer(inner)], environment={}, supabase_url="off", lines=Lines(Kept()),
            registry=CollectorRegistry(),
        )  # fmt: skip

    complete = ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert await lifespan_of(around(speaks)) == complete
    assert order == ["ours starts", "app starts", "app stops", "ours stops"]
    assert await lifespan_of(around(has_none)) == complete
    assert await lifespan_of(around(fails)) == ["lifespan.startup.failed"]
    assert order[4:] == ["ours starts", "ours stops"] * 2


LONE: dict[str, Callable[[Any, Any], Any]] = {
    "access": lambda app, measures: Access(app, Gate("https://ref", allowlist=["ana@example.com"]), measures=measures),
    "body": lambda app, measures: Body(app, measures=measures),
    "cache": lambda app, _: Cache().responses({"/x": Rule(ttl=1)})(app, SimpleNamespace(measures=None, site=None)),
    "concurrency": lambda app, measures: Concurrency(app, measures=measures),
    "errors": lambda app, measures: Errors(app, measures=measures, lines=Lines(Kept())),
    "exposition": lambda app, _: Exposition(app, "x" * 16),
    "latency": lambda app, measures: Latency(app, measures=measures),
    "log": lambda app, measures: RequestLog(app, measures=measures, lines=Lines(Kept())),
    "time": lambda app, measures: Time(app, measures=measures),
}


@pytest.mark.parametrize("name", LONE)
async def test_a_lifespan_passes_through_each_layer_alone(name: str) -> None:
    """Complete or failed, as the application says; and the exception of one that has none, which servers know."""

    async def speaks(scope: Any, receive: Any, send: Any) -> None:
        for asked in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{asked}"
            await send({"type": f"lifespan.{asked}.{scope['says']}"})

    async def has_none(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only http")

    async def through(app: Any, says: str = "") -> list[str]:
        layer, client = LONE[name](app, measures_of(CollectorRegistry())), Client()
        events = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

        async def receive() -> Any:
            return next(events)

        await layer({"type": "lifespan", "asgi": {"version": "3.0"}, "says": says}, receive, client.send)
        return [message["type"] for message in client.said]

    for says in ("complete", "failed"):
        assert await through(speaks, says) == [f"lifespan.startup.{says}", f"lifespan.shutdown.{says}"]
    with pytest.raises(ValueError, match="only http"):
        await through(has_none)


async def test_what_goes_wrong_at_the_end_is_told_and_nothing_stays_open() -> None:
    """A layer that can't be closed costs neither the others nor the log; an application without a lifespan is named."""
    kept, closed = Kept(), list[str]()

    class Layer:
        def __init__(self, app: Any, name: str) -> None:
            self._app, self._name = app, name

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

        async def close(self) -> None:
            closed.append(self._name)
            if self._name == "outer":
                raise OSError("the disk is full")

    async def has_none(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("only http")

    app = protect(
        has_none, inside=[lambda app, _: Layer(app, "outer"), lambda app, _: Layer(app, "inner")], environment={},
        supabase_url="off", lines=Lines(kept), registry=CollectorRegistry(),
    )  # fmt: skip
    assert await lifespan_of(app) == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert closed == ["outer", "inner"]
    assert [(line["event"], line["error"]) for line in kept.lines] == [
        ("app.no_lifespan", "only http"), ("app.layer_not_closed", "the disk is full"),
    ]  # fmt: skip
