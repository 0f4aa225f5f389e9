"""dns:// targets against a real name server on loopback, over UDP and TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from pydantic import ValidationError

from collectors.endpoint import SPEC
from collectors.endpoint.name_server import plain

# Types of this folder's conftest, which a test can't import.
Endpoints = Any

ZONE = {
    ("www.example.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("www.example.", "AAAA"): [],
    ("example.", "MX"): ["10 Mail.example."],
    ("example.", "TXT"): ['"v=spf1 -all" " more"'],
    ("many.example.", "A"): [f"192.0.2.{n}" for n in range(200)],
}
RCODES = {"broken.example.": dns.rcode.SERVFAIL, "secret.example.": dns.rcode.REFUSED}


class NameServer(asyncio.DatagramProtocol):
    """Answers from ZONE; what does not fit into a datagram is cut off with the flag that says so."""

    port = 0

    def __init__(self, spoil: Callable[[bytes], list[bytes]] = lambda wire: [wire]) -> None:
        self.asked: list[str] = []
        self._spoil = spoil

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.append("udp")
        answer = self._answer(data)
        if len(answer.to_wire(max_size=65_535)) > 1232:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
        for wire in self._spoil(answer.to_wire()):
            self._transport.sendto(wire, addr)

    async def over_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append("tcp")
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        wire = self._answer(data).to_wire(max_size=65_535)
        writer.write(len(wire).to_bytes(2, "big") + wire)
        await writer.drain()
        writer.close()

    def _answer(self, data: bytes) -> dns.message.Message:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        (asked,) = query.question
        name, kind = asked.name.to_text().lower(), dns.rdatatype.to_text(asked.rdtype)
        if name == "alias.example.":
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", "CNAME", "www.example."))
            name = "www.example."
        if name in RCODES:
            answer.set_rcode(RCODES[name])
        elif name not in {owner for owner, _ in ZONE}:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif records := ZONE.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
        return answer


@asynccontextmanager
async def serving(server: NameServer) -> AsyncIterator[str]:
    """`dns://127.0.0.1:PORT` of a server on UDP and TCP of one port."""
    udp, tcp = await _bound(server)
    try:
        yield f"dns://127.0.0.1:{tcp.sockets[0].getsockname()[1]}"
    finally:
        udp.close()
        tcp.close()


async def _bound(server: NameServer) -> tuple[asyncio.DatagramTransport, asyncio.Server]:
    """A port that is free for UDP need not be for TCP: another one then."""
    while True:
        udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
        port = udp.get_extra_info("sockname")[1]
        try:
            return udp, await asyncio.start_server(server.over_tcp, "127.0.0.1", port)
        except OSError:
            udp.close()


@pytest.mark.parametrize(
    ("what", "expect", "reasons"),
    [
        ("www.example", {"records_contain": ["192.0.2.2"], "records_least": 2}, set()),
        ("www.example?type=a", {"records_equal": ["192.0.2.2", "192.0.2.1"]}, set()),
        ("www.example", {"records_equal": ["192.0.2.2"]}, {"records"}),
        ("www.example", {"records_contain": ["192.0.2.9"]}, {"records"}),
        ("www.example", {"records_least": 3}, {"records"}),
        ("alias.example", {"records_equal": ["192.0.2.1", "192.0.2.2"]}, set()),
        ("alias.example?type=CNAME", {"records_equal": ["WWW.example."]}, set()),
        ("example?type=MX", {"records_equal": ["10 mail.example"]}, set()),
        ("example?type=TXT", {"records_equal": ["v=spf1 -all more"]}, set()),
        ("www.example?type=AAAA", {}, {"records"}),
        ("www.example?type=AAAA", {"records_least": 0}, set()),
        ("gone.example", {}, {"nxdomain"}),
        ("gone.example", {"rcode": "NXDOMAIN"}, set()),
        ("www.example", {"rcode": "NXDOMAIN"}, {"rcode"}),
        ("broken.example", {}, {"servfail"}),
        ("secret.example", {}, {"rcode"}),
    ],
)
async def test_an_answer_is_judged(endpoints: Endpoints, what: str, expect: dict[str, Any], reasons: set[str]) -> None:
    """By its code first, each failure by its own name, then by its records; the time to the answer is told."""
    async with serving(NameServer()) as server:
        seen = await endpoints.poll({"url": f"{server}/{what}", "expect": expect})
    assert (seen.value("tocsin_endpoint_up", instance=f"{server}/{what}"), seen.reasons()) == (not reasons, reasons)
    assert (seen.phases(), seen.value("tocsin_endpoint_status_code")) == ({"first_byte", "total"}, None)


@pytest.mark.parametrize(("query", "ways"), [("", ["udp", "tcp"]), ("?transport=tcp", ["tcp"])])
async def test_what_does_not_fit_is_asked_over_tcp(endpoints: Endpoints, query: str, ways: list[str]) -> None:
    """Or at once, where that is written."""
    server = NameServer()
    async with serving(server) as url:
        seen = await endpoints.poll({"url": f"{url}/many.example{query}", "expect": {"records_least": 200}})
    assert (seen.reasons(), server.asked, "connect" in seen.phases()) == (set(), ways, True)


async def test_a_port_nobody_serves_silence_and_nonsense_are_told_apart(endpoints: Endpoints) -> None:
    """Refused is `connect`, silence `timeout`, what is no DNS `protocol`; no packet is sent again in secret."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    silent, nonsense = NameServer(lambda _: []), NameServer(lambda wire: [wire[:2] + b"\xff" * 40])
    async with serving(silent) as hush, serving(nonsense) as noise:
        seen = await endpoints.poll(
            {"url": f"dns://127.0.0.1:{port}/www.example", "name": "refused"},
            {"url": f"{hush}/www.example", "name": "silent", "deadline": "300ms"},
            {"url": f"{noise}/www.example", "name": "nonsense"},
        )
    assert {name: seen.reasons(name) for name in ("refused", "silent", "nonsense")} == {
        "refused": {"connect"}, "silent": {"timeout"}, "nonsense": {"protocol"}
    }  # fmt: skip
    assert silent.asked == ["udp"]


async def test_answers_to_others_are_not_ours(endpoints: Endpoints) -> None:
    """A packet with another id is passed over, and the answer after it taken."""
    server = NameServer(lambda wire: [bytes([wire[0] ^ 1]) + wire[1:], b"", wire])
    async with serving(server) as url:
        assert (await endpoints.poll({"url": f"{url}/www.example"})).reasons() == set()


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"url": "dns://127.0.0.1/"}, "write dns://SERVER/NAME"),
        ({"url": "dns://127.0.0.1/a..b"}, "empty"),
        ({"url": "dns://127.0.0.1/a?type=NOPE"}, "type is unknown"),
        ({"url": "dns://127.0.0.1/a?type=AXFR"}, "a type that a record can have"),
        ({"url": "dns://127.0.0.1/a?kind=A"}, "not kind"),
        ({"url": "dns://127.0.0.1/a?transport=quic"}, "udp or tcp"),
        ({"url": "dns://127.0.0.1/a", "expect": {"status": 200}}, "remove expect.status"),
        ({"url": "dns://127.0.0.1/a", "tls": {"verify": False}}, "speaks no TLS"),
        ({"url": "http://127.0.0.1/", "expect": {"rcode": "NXDOMAIN"}}, "only a name server's answer"),
        ({"url": "http://127.0.0.1/", "http": 2}, "is not https://"),
    ],
)
def test_what_makes_no_sense_is_refused(target: dict[str, Any], why: str) -> None:
    """At the start, by name."""
    with pytest.raises(ValidationError, match=why):
        SPEC.settings.model_validate({"kind": "endpoint", "name": "web", "targets": [target]})


@pytest.mark.parametrize(
    ("text", "as_compared"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("10 Mail.Example.", "10 mail.example"),
        ('"a b" "c"', "a bc"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_records_are_compared_as_people_write_them(text: str, as_compared: str) -> None:
    """Without last dots, quotes and capitals."""
    assert plain(text) == as_compared
