"""Asks, right before a request's bytes leave, whether this replica still sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tocsin.errors import DeliveryError

if TYPE_CHECKING:
    from aiohttp import ClientRequest
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection


def request_class(permit: Callable[[], None]) -> type[ClientRequest]:
    """aiohttp's request, which asks `permit` when the connection is there and nothing but the write is left.

    Asked before the session is, it would be asked too early: looking up a name, connecting and TLS take their time.
    GET and OPTIONS only read, and pass.
    """
    from aiohttp import client_reqrep
    from aiohttp.helpers import set_exception

    class Permitted(client_reqrep.ClientRequest):
        async def write_bytes(
            self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
        ) -> None:
            # The headers wait in the writer for the body, so that nothing has left yet.
            if self.method == "POST":
                try:
                    permit()
                except DeliveryError as error:
                    assert conn.protocol is not None
                    set_exception(conn.protocol, error)
                    return
            await super().write_bytes(writer, conn, content_length)

    return Permitted
