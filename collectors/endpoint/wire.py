"""A connection without HTTP, for `tcp://` and `tls://`: is the port open, is the certificate good, what does it say?"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from yarl import URL

from collectors.endpoint.resolver import Resolver
from collectors.endpoint.stopwatch import Stopwatch

BANNER: Final = 4096
"""Bytes of a greeting that are looked at."""


async def greeted(
    url: URL, context: ssl.SSLContext | None, resolver: Resolver, watch: Stopwatch, *, reads: bool
) -> str:
    """Connect, with TLS where there is a `context`, and give the greeting where one `reads` it. Raises OSError."""
    assert url.host is not None
    assert url.port is not None
    address = await resolver.address(url.host, url.port, watch)
    watch.begin("connect")
    # The phases of TLS are the context's to tell: see stopwatch.
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
