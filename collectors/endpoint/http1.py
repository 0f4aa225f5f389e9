"""HTTP/1.1 by aiohttp, whose tracing feeds the stopwatch."""

from __future__ import annotations

import re
import ssl
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.connector import Connection
from multidict import CIMultiDict, CIMultiDictProxy

from collectors.endpoint.exchange import INFORMATIONAL, NeverAnswers, Request, Response
from collectors.endpoint.resolver import Resolver
from collectors.endpoint.stopwatch import Stopwatch

USER_AGENT = "tocsin-endpoint"


class Http1:
    """One session, and a connection for each request. Open one inside a running loop, close it there."""

    def __init__(self, resolver: Resolver, *, body_limit: int) -> None:
        self._body_limit = body_limit
        self._session = aiohttp.ClientSession(
            # limit=0: how many run at once is the collector's decision. A connection serves one probe.
            connector=aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False, resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            # What aiohttp itself asks for depends on what else is installed, and so would what is measured.
            headers={"user-agent": USER_AGENT, "accept-encoding": "gzip, deflate"},
            trace_configs=[_tracing()],
            response_class=_Answer,
        )

    async def __call__(
        self, request: Request, context: ssl.SSLContext, watch: Stopwatch, *, keep: bool, skip: frozenset[int]
    ) -> Response:
        """As Exchange says."""
        async with self._session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            ssl=context,
            allow_redirects=False,
            trace_request_ctx=watch,
        ) as response:
            body = "" if response.status in skip else await self._body(response, keep=keep)
            return Response(status=response.status, headers=readable(response.headers), body=body, url=request.url)

    async def _body(self, response: aiohttp.ClientResponse, *, keep: bool) -> str:
        """Reads to the end or to the limit: an answer that stalls half-way is no answer."""
        parts: list[bytes] = []
        left = self._body_limit
        while left > 0 and (part := await response.content.read(min(left, 65_536))):
            left -= len(part)
            if keep:
                parts.append(part)
        if left <= 0:
            response.close()
        return decoded(b"".join(parts), response.charset)

    async def close(self) -> None:
        await self._session.close()


class _Answer(aiohttp.ClientResponse):
    """aiohttp reads any number of 1xx and shows none: they are counted as it takes them from the connection."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        assert protocol is not None
        read, taken = protocol.read, 0

        async def counted() -> Any:
            nonlocal taken
            taken += 1
            if taken > INFORMATIONAL + 1:
                raise NeverAnswers
            return await read()

        protocol.read = counted  # type: ignore[method-assign]
        try:
            return await super().start(connection)
        finally:
            del protocol.read  # the class's own again: they would hold each other


def decoded(body: bytes, charset: str | None) -> str:
    """A body as text, by the encodings of the web; what a wrong or unknown one leaves is shown, not raised."""
    known = charset if charset is not None and _CHARSET.fullmatch(charset.lower()) else "utf-8"
    return body.decode(known, "replace")


_CHARSET: Final = re.compile(
    "utf-?(8|16|32)|utf-16-?[lb]e|us-ascii|ascii|latin-?1|iso-8859-([1-9]|1[013-6])|windows-125[0-8]|koi8-[ru]"
    "|big5(-?hkscs)?|gb2312|gbk|gb18030|euc-(jp|kr)|shift_jis|iso-2022-jp"
)
"""A peer names it: Python knows others, some of which raise, and punycode takes minutes for a megabyte."""


def readable(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Headers as text that can be searched, quoted and sent on: aiohttp keeps foreign bytes as half pairs."""
    return CIMultiDict(
        (name, value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")) for name, value in headers.items()
    )


def _tracing() -> aiohttp.TraceConfig:
    """Feeds the probe's stopwatch, which is the request's `trace_request_ctx`."""

    def on(**marks: str) -> Any:
        async def note(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
            watch: Stopwatch = context.trace_request_ctx
            for what, phase in marks.items():
                (watch.end if what.startswith("end") else watch.begin)(phase)

        return note

    trace = aiohttp.TraceConfig()
    trace.on_dns_resolvehost_start.append(on(begin="dns"))
    # The connection begins when the name is known, or at once when the URL holds an address.
    trace.on_connection_create_start.append(on(begin="connect"))
    trace.on_dns_resolvehost_end.append(on(end="dns", begin="connect"))
    # With TLS `connect` has ended at the handshake's begin, and this ends `tls`.
    trace.on_connection_create_end.append(on(end="connect", end_tls="tls"))
    trace.on_request_headers_sent.append(on(begin="first_byte"))
    trace.on_request_end.append(on(end="first_byte"))
    return trace
