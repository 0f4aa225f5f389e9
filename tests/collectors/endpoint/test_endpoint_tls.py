"""What the endpoint collector says of TLS: phases, certificates that are not to be trusted, versions."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

# Types of this folder's conftest, which a test can't import.
Endpoints = Any
Certificate = Any


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="all is well")


async def test_phases_of_tls_add_up(endpoints: Endpoints, certificate: Callable[..., Certificate]) -> None:
    """connect, tls and first_byte are parts of total, and the certificate's end is told."""
    made = certificate()
    url = await endpoints.serve(ok, tls=made.server())
    seen = await endpoints.poll({"url": url, "tls": {"ca_file": made.pem.name}})
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (1, set())
    phases = {
        p: seen.value("tocsin_endpoint_phase_seconds", phase=p) for p in ("connect", "tls", "first_byte", "total")
    }
    assert all(phases.values()), phases
    assert phases["connect"] + phases["tls"] + phases["first_byte"] <= phases["total"]
    assert seen.value("tocsin_endpoint_certificate_expiry_timestamp_seconds") == made.expires_at.timestamp()
    assert seen.value("probe_ssl_earliest_cert_expiry") == made.expires_at.timestamp()


@pytest.mark.parametrize(
    ("days", "issuer_known", "reason"),
    [(30, False, "untrusted"), (-1, True, "expired"), (400, True, "not_yet_valid")],
)
async def test_a_certificate_that_cannot_be_trusted_still_tells_its_end(
    endpoints: Endpoints, certificate: Callable[..., Certificate], days: int, issuer_known: bool, reason: str
) -> None:
    """What is wrong with it is the reason of the failure, and its expiry is a figure all the same."""
    made = certificate(days)
    url = await endpoints.serve(ok, tls=made.server())
    seen = await endpoints.poll({"url": url, **({"tls": {"ca_file": made.pem.name}} if issuer_known else {})})
    assert (seen.value("tocsin_endpoint_up"), seen.reasons()) == (0, {f"certificate_{reason}"})
    assert seen.value("tocsin_endpoint_certificate_expiry_timestamp_seconds") == made.expires_at.timestamp()


async def test_an_unverified_certificate_may_be_allowed(
    endpoints: Endpoints, certificate: Callable[..., Certificate]
) -> None:
    """`verify: false` takes any certificate and still tells its expiry."""
    made = certificate(-1)
    url = await endpoints.serve(ok, tls=made.server())
    seen = await endpoints.poll({"url": url, "tls": {"verify": False}})
    assert seen.value("tocsin_endpoint_up") == 1
    assert seen.value("tocsin_endpoint_certificate_expiry_timestamp_seconds") == made.expires_at.timestamp()


async def test_tls_to_a_plain_port_is_a_tls_failure(endpoints: Endpoints) -> None:
    """A listener that speaks no TLS is `tls`, not `connect`: the port is open."""
    url = (await endpoints.serve(ok)).replace("http://", "https://")
    seen = await endpoints.poll({"url": url})
    assert (seen.reasons(), "connect" in seen.phases()) == ({"tls"}, True)


async def test_a_certificate_for_another_name_and_an_old_tls_are_told_apart(
    endpoints: Endpoints, certificate: Callable[..., Certificate]
) -> None:
    """Trusted is not enough: it must be this host's, and the protocol not older than wanted."""
    made = certificate()
    old = made.server()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    url, aged = await endpoints.serve(ok, tls=made.server()), await endpoints.serve(ok, tls=old)
    trusted = {"ca_file": made.pem.name}
    seen = await endpoints.poll(
        {"url": url.replace("127.0.0.1", "localhost"), "name": "name", "tls": trusted},
        {"url": aged, "name": "1.2 will do", "tls": trusted},
        {"url": aged, "name": "old", "tls": {**trusted, "min_version": "1.3"}},
        {"url": url, "name": "new", "tls": {**trusted, "min_version": "1.3"}},
    )
    assert {name: seen.reasons(name) for name in ("name", "1.2 will do", "old", "new")} == {
        "name": {"certificate_of_another_host"}, "1.2 will do": set(), "old": {"tls"}, "new": set()
    }  # fmt: skip
