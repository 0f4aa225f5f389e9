"""One question to one name server, for `dns://`: over UDP, and over TCP when the answer does not fit.

dnspython writes and reads the messages; the sockets are our own, so that a lost packet is a try that failed instead of
one that was sent again in silence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp

from collectors.endpoint.resolver import Resolver
from collectors.endpoint.stopwatch import Stopwatch
from tocsin.errors import CollectError

if TYPE_CHECKING:
    from dns.message import Message

_PORT: Final = 53
_PAYLOAD: Final = 1232
"""What the name server may send over UDP (https://www.dnsflagday.net/2020/)."""
_RESOLV_CONF: Final = Path("/etc/resolv.conf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What `dns://SERVER:PORT/NAME?type=TYPE` asks (RFC 4501)."""

    server: str
    """Empty: the system's first."""
    port: int
    name: str
    type: str
    tcp: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What the name server said."""

    rcode: str
    """NOERROR, NXDOMAIN, SERVFAIL, …"""
    records: tuple[str, ...]
    """The data of the records of the type that was asked for, as `plain` writes them; sorted."""


class NoDnsAnswer(aiohttp.ClientError):
    """What came back is no answer to the question."""


def question(url: str) -> Question:
    """What `url` asks. Raises ValueError that says what is wrong with it."""
    import dns.exception
    import dns.name
    import dns.rdatatype

    parts = urlsplit(url)
    name, given = unquote(parts.path).strip("/"), parse_qs(parts.query, keep_blank_values=True)
    if unknown := sorted(given.keys() - {"type", "transport"}):
        raise ValueError(f"url {url!r}: after ? stand type=… and transport=tcp, not {unknown[0]}")
    kind, transport = given.get("type", ["A"])[-1].upper(), given.get("transport", ["udp"])[-1]
    if transport not in ("udp", "tcp"):
        raise ValueError(f"url {url!r}: transport is udp or tcp")
    try:
        if not name or dns.rdatatype.is_metatype(dns.rdatatype.from_text(kind)):
            raise ValueError(f"url {url!r}: write dns://SERVER/NAME?type=A, with a type that a record can have")
        dns.name.from_text(name)
    except dns.exception.DNSException as error:
        raise ValueError(f"url {url!r}: {str(error).rstrip('.')}") from None
    return Question(server=parts.hostname or "", port=parts.port or _PORT, name=name, type=kind, tcp=transport == "tcp")


def plain(text: str) -> str:
    """A record's data as it is compared: a name in small letters without its last dot, a text without quotes."""
    if text.startswith('"'):
        return text.replace('" "', "").strip('"')
    return " ".join(word.rstrip(".").lower() for word in text.split())


async def asked(wanted: Question, resolver: Resolver, watch: Stopwatch) -> Found:
    """Ask once. Raises OSError, NoDnsAnswer for what is none, and CollectError where the system has no name server."""
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rdatatype

    query = dns.message.make_query(wanted.name, wanted.type, use_edns=0, payload=_PAYLOAD)
    address = await resolver.address(wanted.server or _system_server(), wanted.port, watch)
    answer = None
    if not wanted.tcp:
        answer = await _over_udp(query, address, wanted.port, watch)
    if answer is None or answer.flags & dns.flags.TC:
        answer = await _over_tcp(query, address, wanted.port, watch)
    kind = dns.rdatatype.from_text(wanted.type)
    records = [record.to_text() for group in answer.answer if group.rdtype == kind for record in group]
    return Found(rcode=dns.rcode.to_text(answer.rcode()), records=tuple(sorted(map(plain, records))))


def _system_server() -> str:
    try:
        lines = [line.split() for line in _RESOLV_CONF.read_text(encoding="utf-8").splitlines()]
    except OSError:
        lines = []
    servers = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    if not servers:
        raise CollectError(f"{_RESOLV_CONF} names no nameserver; write one into the url: dns://192.0.2.53/NAME")
    return servers[0].partition("%")[0]


class _Listener(asyncio.DatagramProtocol):
    """Takes datagrams until one answers."""

    def __init__(self, query: Message) -> None:
        self._query = query
        self.answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.answer.done() or data[:2] != self._query.id.to_bytes(2, "big"):
            return  # a late answer to somebody else, or somebody who guesses
        try:
            self.answer.set_result(_read(data, self._query))
        except NoDnsAnswer as error:
            self.answer.set_exception(error)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _over_udp(query: Message, address: str, port: int, watch: Stopwatch) -> Message:
    watch.begin("first_byte")
    loop = asyncio.get_running_loop()
    transport, listener = await loop.create_datagram_endpoint(lambda: _Listener(query), remote_addr=(address, port))
    try:
        transport.sendto(query.to_wire())
        answer = await listener.answer
    except ConnectionRefusedError:
        watch.begin("connect")  # which is where it failed: nobody listens
        raise
    finally:
        transport.abort()
    watch.end("first_byte")
    return answer


async def _over_tcp(query: Message, address: str, port: int, watch: Stopwatch) -> Message:
    watch.begin("connect")
    reader, writer = await asyncio.open_connection(address, port)
    try:
        watch.end("connect")
        watch.begin("first_byte")
        wire = query.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        length = int.from_bytes(await reader.readexactly(2), "big")
        answer = _read(await reader.readexactly(length), query)
    except asyncio.IncompleteReadError:
        raise NoDnsAnswer("hung up in the middle of an answer") from None
    finally:
        writer.transport.abort()
    watch.end("first_byte")
    return answer


def _read(wire: bytes, query: Message) -> Message:
    import dns.exception
    import dns.message

    try:
        answer = dns.message.from_wire(wire, ignore_trailing=True)
    except dns.exception.DNSException:
        raise NoDnsAnswer("no DNS message") from None
    if not query.is_response(answer):
        raise NoDnsAnswer("an answer to another question")
    return answer
