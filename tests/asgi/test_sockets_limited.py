"""The limits of WebSockets, over real ones: how many, how large a message, how long until they are accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.asgi.frameworks import Site, protected, served
from tocsin.asgi.mount import OUTSIDE


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says what it hears; /deaf never accepts."""
    assert scope["type"] == "websocket"
    scope["tocsin.route"] = scope["path"]
    if scope["path"] == "/deaf":
        await asyncio.Event().wait()
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(len(message.get("text") or message["bytes"]))})
    await send({"type": "websocket.send", "text": "to nobody"})  # which is nobody's error


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made, site = protected("plain", echo, layers=OUTSIDE, sockets=2, time_limit=1.0)
    with served(site.counting(made)) as site.port:
        yield site


def opened(site: Site, path: str = "/echo") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{site.port}{path}", additional_headers=site.authorization, open_timeout=60)


def open_now(site: Site, route: str) -> float:
    return site.value("tocsin_http_sockets_open", route=route)


def test_one_more_than_may_be_open_is_refused_and_let_in_when_another_has_ended(site: Site) -> None:
    """503, before it is accepted; whoever is open is not touched. How many are open is a gauge, by route."""
    site.forget()
    with opened(site) as first, opened(site, "/other") as second:
        assert [open_now(site, route) for route in ("/echo", "/other")] == [1, 1]
        with pytest.raises(InvalidStatus) as refused:
            opened(site)
        assert open_now(site, "/echo") == 1
        for one in (first, second):
            one.send("still here")
            assert one.recv(timeout=60) == "10"
    assert (refused.value.response.status_code, refused.value.response.headers["retry-after"]) == (503, "1")
    assert site.value("tocsin_http_limited_total", limit="sockets") == 1
    site.until(lambda: site.open == 0)
    assert [open_now(site, route) for route in ("/echo", "/other")] == [0, 0]
    with opened(site) as third:
        third.send("hello")
        assert third.recv(timeout=60) == "5"


@pytest.mark.parametrize("message", ["x" * 1001, b"x" * 1001, "\N{SNOWMAN}" * 334])
def test_a_message_that_is_too_large_closes_the_connection(site: Site, message: str | bytes) -> None:
    """With 1009, by bytes and not by letters; the application is told that the client has gone. One less is fine."""
    site.forget()
    with opened(site) as socket:
        socket.send(message[:-1])
        assert socket.recv(timeout=60) == str(len(message) - 1)
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    [done] = site.until(lambda: site.kept.of("request.done"))
    assert (done["stopped_by"], site.kept.of("request.failed")) == ("body", [])


def test_a_socket_that_nobody_accepts_is_given_up(site: Site) -> None:
    """504 after the time limit, which one that is open has not."""
    site.forget()
    with opened(site) as lasting:
        with pytest.raises(InvalidStatus) as given_up:
            opened(site, "/deaf")
        lasting.send("open for longer than that")
        assert lasting.recv(timeout=60) == "25"
    assert given_up.value.response.status_code == 504
    assert open_now(site, "/deaf") == 0
    done = site.until(lambda: [line for line in site.kept.of("request.done") if line["route"] == "/deaf"])
    assert (done[0]["stopped_by"], done[0]["status"]) == ("time", 504)
