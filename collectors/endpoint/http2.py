"""HTTP/2 by h2 (https://python-hyper.org/projects/h2/), which knows the frames; the connection is asyncio's.

For targets with `http: 2`: ALPN must choose `h2`. A peer that falls back to HTTP/1.1 is a failure with a reason, as
browsers would fall back in silence.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDict

from collectors.endpoint.certificates import untrusted
from collectors.endpoint.exchange import INFORMATIONAL, NeverAnswers, Request, Response
from collectors.endpoint.http1 import USER_AGENT, decoded
from collectors.endpoint.resolver import Resolver
from collectors.endpoint.stopwatch import Stopwatch

if TYPE_CHECKING:
    from h2.connection import H2Connection

ALPN: Final = ("h2", "http/1.1")
_OF_HTTP1: Final = frozenset({"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
"""Headers that HTTP/2 has no place for (RFC 9113, 8.2.2)."""
_STREAM: Final = 1
_PIECE: Final = 4096
"""Bytes that are taken at once: some hundred frames of nine bytes, each of which h2 looks at with care."""
_BESIDE: Final = 65_536
"""Bytes of frames beside as much again as the body: headers and settings fit; floods of pings, of settings or of empty
frames would take the time of all other targets."""


class NotHttp2(aiohttp.ClientError):
    """The peer chose another protocol."""


class BrokenOff(aiohttp.ClientError):
    """The peer ended the stream or the connection, or broke the rules."""


class Http2:
    """A connection for each request."""

    def __init__(self, resolver: Resolver, *, body_limit: int) -> None:
        self._resolver = resolver
        self._body_limit = body_limit

    async def __call__(
        self, request: Request, context: ssl.SSLContext, watch: Stopwatch, *, keep: bool, skip: frozenset[int]
    ) -> Response:
        """As Exchange says; also raises NotHttp2."""
        if request.url.scheme != "https":
            raise NotHttp2
        host, port = request.url.host or "", request.url.port or 443
        try:
            reader, writer = await self._resolver.connected(host, port, context, watch)
        except ssl.SSLCertVerificationError as error:
            raise untrusted(host, port, error) from None
        try:
            watch.end("connect")
            watch.end("tls")
            if writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
                raise NotHttp2
            return await _Talk(reader, writer, watch, self._body_limit if keep else 0, skip).ask(
                request, self._body_limit
            )
        finally:
            writer.transport.abort()


class _Talk:
    """One request on its connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        watch: Stopwatch,
        kept: int,
        skip: frozenset[int],
    ) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self._reader, self._writer, self._watch = reader, writer, watch
        self._kept, self._skip = kept, skip
        self._h2: H2Connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._status = 0
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._body = bytearray()
        self._received = 0
        """Bytes of all frames."""
        self._read = 0
        """Of those, the body's."""
        self._announced = 0
        self._ended = False

    async def ask(self, request: Request, limit: int) -> Response:
        from h2.exceptions import H2Error

        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        try:
            self._h2.initiate_connection()
            self._h2.send_headers(_STREAM, _headers(request, body), end_stream=not body)
            self._watch.begin("first_byte")
            while not self._ended and self._read < limit and self._status not in self._skip:
                body = self._send(body)
                self._flush()
                data = await self._reader.read(_PIECE)
                if not data:
                    raise BrokenOff
                self._received += len(data)
                for event in self._h2.receive_data(data):
                    self._take(event)
                if self._received > 2 * self._read + _BESIDE:
                    raise BrokenOff
                await asyncio.sleep(0)  # what has arrived is read without a pause: let others on
        except H2Error:
            raise BrokenOff from None
        charset = aiohttp.helpers.parse_mimetype(self._headers.get("content-type", "")).parameters.get("charset")
        text = decoded(bytes(self._body[: self._kept]), charset)
        return Response(status=self._status, headers=self._headers, body=text, url=request.url)

    def _send(self, body: bytes) -> bytes:
        """As much of the body as the peer's window takes; the rest of it."""
        while body and (room := min(self._h2.local_flow_control_window(_STREAM), self._h2.max_outbound_frame_size)) > 0:
            self._h2.send_data(_STREAM, body[:room], end_stream=len(body) <= room)
            body = body[room:]
        return body

    def _flush(self) -> None:
        if pending := self._h2.data_to_send():
            self._writer.write(pending)

    def _take(self, event: object) -> None:
        from h2 import events

        if isinstance(event, events.ResponseReceived):
            self._watch.end("first_byte")
            for name, value in event.headers or ():
                if name == b":status":
                    if not value.isdigit():
                        raise BrokenOff
                    self._status = int(value)
                else:
                    self._headers.add(name.decode("latin-1"), value.decode("utf-8", "replace"))
        elif isinstance(event, events.InformationalResponseReceived):
            self._announced += 1
            if self._announced > INFORMATIONAL:
                raise NeverAnswers
        elif isinstance(event, events.DataReceived):
            self._read += len(event.data or b"")
            if len(self._body) < self._kept:
                self._body += event.data or b""
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, _STREAM)
        elif isinstance(event, events.StreamEnded):
            self._ended = True
        elif isinstance(event, events.StreamReset | events.ConnectionTerminated) and not self._ended:
            # After the answer it is a goodbye: who closes with each answer sends one in the same packet.
            raise BrokenOff


def _headers(request: Request, body: bytes) -> list[tuple[str, str]]:
    given = {name.lower(): value for name, value in request.headers.items()}
    url = request.url
    authority = given.get("host") or url.host_port_subcomponent or ""
    headers = {"user-agent": USER_AGENT, "accept": "*/*", **given}
    if body:
        headers["content-length"] = str(len(body))
    return [
        (":method", request.method),
        (":scheme", "https"),
        (":authority", authority),
        (":path", url.raw_path_qs or "/"),
        *((name, value) for name, value in headers.items() if name not in _OF_HTTP1),
    ]
