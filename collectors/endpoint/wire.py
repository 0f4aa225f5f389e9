"""A connection without HTTP, for `tcp://` and `tls://`: is the port open, is the certificate good, what does it say?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from yarl import URL

from collectors.endpoint.resolver import Resolver
from collectors.endpoint.stopwatch import Stopwatch
from tocsin.model import Seconds

BANNER: Final = 4096
"""Bytes of a greeting that are looked at."""
PAUSE: Final[Seconds] = 0.25
"""Without a further byte for so long, the greeting has ended."""


async def greeted(
    url: URL, context: ssl.SSLContext | None, resolver: Resolver, watch: Stopwatch, fits: Callable[[str], bool] | None
) -> str:
    """Connect, with TLS where there is a `context`; the greeting, where it is to fit something. Raises OSError."""
    assert url.host is not None
    assert url.port is not None
    reader, writer = await resolver.connected(url.host, url.port, context, watch)
    try:
        watch.end("connect")
        watch.end("tls")
        if fits is None:
            return ""
        watch.begin("first_byte")
        said = await reader.read(BANNER)
        watch.end("first_byte")
        # A greeting may come in pieces: it has ended when it is what is wanted, or the peer pauses or says no more.
        with suppress(TimeoutError):
            while not fits(said.decode("utf-8", "replace")) and len(said) < BANNER and not reader.at_eof():
                async with asyncio.timeout(PAUSE):
                    said += await reader.read(BANNER - len(said))
        return said.decode("utf-8", "replace")
    finally:
        writer.transport.abort()
