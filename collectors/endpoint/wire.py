"""A connection without HTTP, for `tcp://` and `tls://`: is the port open, is the certificate good, what does it say?"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from yarl import URL

if TYPE_CHECKING:
    from collectors.endpoint.probe import Resolver, Stopwatch

BANNER: Final = 4096
"""Bytes of a greeting that are looked at."""


class NoSuchName(OSError):
    """The name leads to no address."""


async def greeted(
    url: URL, context: ssl.SSLContext | None, resolver: Resolver, watch: Stopwatch, *, reads: bool
) -> str:
    """Connect, with TLS where there is a `context`, and give the greeting where one `reads` it. Raises OSError."""
    assert url.host is not None
    assert url.port is not None
    address = await _address(url.host, url.port, resolver, watch)
    watch.begin("connect")
    # The phases of TLS are the context's to tell: see probe.
    reader, writer = await asyncio.open_connection(
        address, url.port, ssl=context, server_hostname=url.host if context is not None else None
    )
    try:
        watch.end("connect")
        watch.end("tls")
        if not reads:
            return ""
        watch.begin("first_byte")
        said = await reader.read(BANNER)
        watch.end("first_byte")
        return said.decode("utf-8", "replace")
    finally:
        writer.transport.abort()


async def _address(host: str, port: int, resolver: Resolver, watch: Stopwatch) -> str:
    with suppress(ValueError):
        return str(ipaddress.ip_address(host))
    watch.begin("dns")
    try:
        found = await resolver.resolve(host, port)
    except OSError as error:
        raise NoSuchName(str(error)) from None
    watch.end("dns")
    return found[0]["host"]
