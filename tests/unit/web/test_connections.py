"""Connections are bounded in time and number, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from tocsin.web.connections import BoundedProtocol

ANSWER = b"HTTP/1.1 200"


async def app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@asynccontextmanager
async def serving(**bounds: float) -> AsyncIterator[Callable[..., Any]]:
    """Gives a function that connects."""
    protocol = type("Bounded", (BoundedProtocol,), bounds)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        port = bound.getsockname()[1]
        server = Server(uvicorn.Config(app, http=protocol, log_config=None, lifespan="off"))
        running = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            yield lambda **options: asyncio.open_connection("127.0.0.1", port, **options)
        finally:
            server.should_exit = True
            await running


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the server hung up."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_client_that_says_nothing_or_little_is_hung_up_on() -> None:
    """No request, half a head, half a body, half a second head: each ends by itself."""
    begun = [
        b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT",
    ]  # fmt: skip
    async with serving(head_seconds=0.2, body_seconds=0.2) as connect:
        found = []
        for part in begun:
            reader, writer = await connect()
            writer.write(part)
            found.append((await ended(reader))[:12])
            writer.close()
    assert found == [b"", b"", b"", ANSWER]


async def test_a_client_that_drips_bytes_is_hung_up_on_all_the_same() -> None:
    """The deadline is the head's, not the next byte's."""
    async with serving(head_seconds=0.3) as connect:
        reader, writer = await connect()

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                for letter in b"GET / HTTP/1.1\r\n" + b"X-Y: z\r\n" * 1000:
                    writer.write(bytes([letter]))
                    await writer.drain()
                    await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert await ended(reader) == b""
        dripping.cancel()
        writer.close()


async def test_past_the_limit_a_new_connection_is_hung_up_on_and_the_others_are_served() -> None:
    """File descriptors are left for what the daemon watches."""
    async with serving(most_connections=2) as connect:
        first, second, third = [await connect() for _ in range(3)]
        refused = await ended(third[0])
        answers = []
        for reader, writer in (first, second):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answers.append((await ended(reader))[:12])
        for _, writer in (first, second, third):
            writer.close()
    assert (refused, answers) == (b"", [ANSWER, ANSWER])


async def test_one_address_cannot_take_the_places_of_all() -> None:
    """Its connections past its share are hung up on; another address is served."""
    async with serving(most_connections=4, most_of_one=2) as connect:
        greedy = [await connect() for _ in range(3)]
        refused = await ended(greedy[2][0])
        reader, writer = await connect(local_addr=("127.0.0.2", 0))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = (await ended(reader))[:12]
        for _, each in (*greedy, (reader, writer)):
            each.close()
    assert (refused, answer) == (b"", ANSWER)


async def test_keep_alive_outlives_the_heads_deadline() -> None:
    """Between requests the pause is the keep-alive's; only a request that began is hurried."""
    async with serving(head_seconds=0.1) as connect:
        reader, writer = await connect()
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"ok"))[:12] == ANSWER
            await asyncio.sleep(0.2)
        writer.close()
