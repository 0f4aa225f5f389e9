"""Targets that speak no HTTP: a port that is open, a certificate that is good, a greeting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.endpoint import SPEC

# Types of this folder's conftest, which a test can't import.
Endpoints = Any
Certificate = Any


async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()


def tcp(url: str) -> str:
    return url.replace("http://", "tcp://")


async def test_a_port_that_takes_connections_is_up(endpoints: Endpoints) -> None:
    """With how long it took to connect, and no status."""
    url = tcp(await endpoints.serve_raw(greets))
    seen = await endpoints.poll({"url": url})
    assert (seen.value("tocsin_endpoint_up", instance=url), seen.phases()) == (1, {"connect", "total"})
    assert seen.value("tocsin_endpoint_status_code") is None
    assert seen.value("tocsin_endpoint_duration_seconds_count") == 1


@pytest.mark.parametrize(("wanted", "reasons"), [("^220 ", set()), ("^554 ", {"body"})])
async def test_a_greeting_is_looked_at(endpoints: Endpoints, wanted: str, reasons: set[str]) -> None:
    """What a mail server says first."""
    url = tcp(await endpoints.serve_raw(greets))
    seen = await endpoints.poll({"url": url, "expect": {"body_matches": wanted}})
    assert (seen.reasons(), seen.phases()) == (reasons, {"connect", "first_byte", "total"})


async def test_a_closed_port_a_wrong_name_and_a_silent_one_are_told_apart(endpoints: Endpoints) -> None:
    """As for HTTP."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    hush = {"url": tcp(await endpoints.serve_raw(silent)), "name": "silent", "expect": {"body_contains": "220"}}
    seen = await endpoints.poll(
        {"url": f"tcp://127.0.0.1:{port}", "name": "closed"},
        {"url": "tcp://no-such-name.invalid:25", "name": "nameless"},
        {**hush, "deadline": "200ms"},
    )
    assert {name: seen.reasons(name) for name in ("closed", "nameless", "silent")} == {
        "closed": {"connect"}, "nameless": {"dns"}, "silent": {"timeout"}
    }  # fmt: skip


async def test_a_certificate_without_http_is_checked_and_its_end_told(
    endpoints: Endpoints, certificate: Callable[..., Certificate]
) -> None:
    """Trusted or not."""
    made = certificate()
    server = await asyncio.start_server(greets, "127.0.0.1", 0, ssl=made.server())
    url = f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        seen = await endpoints.poll(
            {"url": url, "name": "trusted", "tls": {"ca_file": made.pem.name}}, {"url": url, "name": "untrusted"}
        )
    finally:
        server.close()
    assert (seen.reasons("trusted"), seen.reasons("untrusted")) == (set(), {"certificate_untrusted"})
    for name in ("trusted", "untrusted"):
        told = seen.value("tocsin_endpoint_certificate_expiry_timestamp_seconds", instance=name)
        assert told == made.expires_at.timestamp()


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"url": "tcp://127.0.0.1"}, "tcp://HOST:PORT and no more"),
        ({"url": "tls://127.0.0.1:443/path"}, "tls://HOST:PORT and no more"),
        ({"url": "tcp://127.0.0.1:25", "method": "POST"}, "speaks no HTTP: remove method"),
        ({"url": "tcp://127.0.0.1:25", "expect": {"status": 200}}, "remove expect.status"),
        ({"url": "udp://127.0.0.1:53"}, "is not an http://, https://, tcp://, tls:// or dns:// address"),
    ],
)
def test_what_makes_no_sense_without_http_is_refused(target: dict[str, Any], why: str) -> None:
    """At the start, by name."""
    with pytest.raises(ValidationError, match=why):
        SPEC.settings.model_validate({"kind": "endpoint", "name": "web", "targets": [target]})
