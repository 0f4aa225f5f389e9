"""Clients that go away while they are served: nobody's error, whatever a framework makes of it. Over real sockets."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, ok, scope
from tests.asgi.frameworks import Kept, Site
from tocsin.asgi import Errors, Latency, Lines
from tocsin.asgi.errors import AnswerBroken
from tocsin.asgi.measures import measures_of


def leave(site: Site, request: str, *, after: bytes = b"") -> None:
    """Send a part of a request, or read an answer until `after` has come, and close the connection."""
    token = site.authorization["Authorization"]
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
        connection.sendall(f"{request} HTTP/1.1\r\nHost: app\r\nAuthorization: {token}\r\n".encode())
        connection.sendall(b"\r\n" if after else b"Content-Length: 900\r\n\r\nhalf")
        got = b""
        while after not in got:
            got += connection.recv(1000)


def what_is_known(site: Site) -> dict[str, Any]:
    """Of the one request: its line, and what counts as an error."""
    [done] = site.until(lambda: site.kept.of("request.done"))
    failed = site.kept.of("request.failed") + site.kept.of("task.failed")
    return {"status": done["status"], "fate": done["fate"], "failed": failed, "told": site.told}


def fives(site: Site) -> float:
    """Requests counted with a 5xx: what the alert goes by."""
    found = [sample for family in site.registry.collect() for sample in family.samples]
    return sum(
        sample.value
        for sample in found
        if sample.name == "tocsin_http_requests_total" and sample.labels["status"].startswith("5")
    )


def test_who_leaves_in_the_midst_of_a_body_is_a_499(site: Site) -> None:
    """Not the application's 500, which some frameworks answer to nobody; and nothing stays under way."""
    before = fives(site)
    leave(site, "POST /echo")
    assert what_is_known(site) == {"status": 499, "fate": "disconnected", "failed": [], "told": []}
    assert (fives(site), site.value("tocsin_http_requests_in_flight")) == (before, 0)


def test_who_leaves_in_the_midst_of_an_answer_is_told_so(site: Site) -> None:
    """It was a 200, and they have a part of it."""
    before = fives(site)
    leave(site, "GET /endless", after=b"xxxx")
    assert what_is_known(site) == {"status": 200, "fate": "disconnected", "failed": [], "told": []}
    assert (fives(site), site.value("tocsin_http_requests_in_flight")) == (before, 0)


class Alone:
    """Errors and Latency around an application, and a server's side of one request."""

    def __init__(self, app: Any, *messages: dict[str, Any]) -> None:
        self.kept, self.registry, self.client = Kept(), CollectorRegistry(), Client()
        measures = measures_of(self.registry)
        self._layers = Latency(Errors(app, measures=measures, lines=Lines(self.kept)), measures=measures)
        self._messages = iter(messages)

    async def receive(self) -> dict[str, Any]:
        return next(self._messages)

    async def ask(self, **more: Any) -> list[str]:
        """The errors that are logged."""
        await self._layers({**scope("/x", "POST"), **more}, self.receive, self.client.send)
        return [line["error"].rpartition(": ")[2] for line in self.kept.of("request.failed")]

    def count(self, status: str) -> float | None:
        labels = {"method": "POST", "route": "unmatched", "status": status}
        return self.registry.get_sample_value("tocsin_http_requests_total", labels)


GONE = {"type": "http.disconnect"}


async def test_a_bug_is_one_although_the_client_has_left() -> None:
    """What the application itself raises is logged, also after it has read of the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == GONE
        raise KeyError("x")

    alone = Alone(app, GONE)
    assert (await alone.ask(), alone.client.status, alone.count("500")) == (["'x'"], 500, 1)


async def test_an_application_that_gives_no_answer_is_an_error() -> None:
    """The server would tell its own log alone; the client gets a problem with the request's id."""

    async def forgets(scope: Any, receive: Any, send: Any) -> None: ...

    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    alone, broken, socket = Alone(forgets), Alone(half), Alone(forgets)
    assert (await alone.ask(), alone.client.status) == (["the application returned without an answer"], 500)
    assert alone.client.header(b"content-type") == b"application/problem+json"
    with pytest.raises(AnswerBroken):
        await broken.ask()
    assert len(broken.kept.of("request.failed")) == 1
    assert (await socket.ask(type="websocket"), socket.client.said[0]["type"]) == (
        ["the application returned without an answer"], "websocket.close",
    )  # fmt: skip


async def test_who_has_left_is_owed_no_answer() -> None:
    """An application that sees it may return; so may one that can't send any more."""

    async def sees(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == GONE

    async def cannot_send(scope: Any, receive: Any, send: Any) -> None:
        try:
            await ok(scope, receive, send)
        except OSError:
            return

    async def broken(message: Any) -> None:
        raise BrokenPipeError

    left, unsendable = Alone(sees, GONE), Alone(cannot_send)
    unsendable.client.send = broken  # type: ignore[method-assign]
    assert (await left.ask(), left.count("499"), left.client.said) == ([], 1, [])
    assert await unsendable.ask() == []


async def test_an_answer_has_one_request_id_and_it_is_the_logs() -> None:
    """An application, or a layer around one that is mounted, may set its own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"its-own-id")]})
        await send({"type": "http.response.body", "body": b""})

    alone = Alone(app)
    await alone.ask(headers=[(b"x-request-id", b"of-the-caller")])
    assert alone.client.said[0]["headers"] == [(b"x-request-id", b"of-the-caller")]
