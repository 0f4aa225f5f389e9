"""The certificates above the peer's own: an intermediate that ends breaks the chain as well."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from collectors.endpoint import certificates

# Of this folder's conftest, which a test can't import.
Endpoints = Any
Chain = Callable[..., Any]
EXPIRY = "tocsin_endpoint_certificate_expiry_timestamp_seconds"


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def test_the_first_of_a_chain_to_end_is_the_end(endpoints: Endpoints, chain: Chain) -> None:
    """An intermediate of ten days above a certificate of eighty: ten; and the root's, which clients have."""
    made = chain(root=400, intermediate=10, leaf=80)
    short_root = chain(root=5, intermediate=10, leaf=80)
    targets = [
        {"url": await endpoints.serve(ok, tls=one.server()), "name": name, "tls": {"ca_file": str(one.root)}}
        for name, one in (("intermediate", made), ("root", short_root))
    ]
    seen = await endpoints.poll(*targets)
    told = {name: seen.value(EXPIRY, instance=name) for name in ("intermediate", "root")}
    assert (told, seen.reasons()) == (
        {"intermediate": made.ends["intermediate"], "root": short_root.ends["root"]},
        set(),
    )
    assert seen.value("probe_ssl_earliest_cert_expiry", instance="root") == short_root.ends["root"]


async def test_what_is_shown_and_not_needed_is_no_end(endpoints: Endpoints, chain: Chain) -> None:
    """A cross-signed certificate that has expired, which servers send along for old clients: others never look."""
    made = chain(root=400, intermediate=90, leaf=80, extra=-5)
    url = await endpoints.serve(ok, tls=made.server())
    seen = await endpoints.poll(
        {"url": url, "name": "trusted", "tls": {"ca_file": str(made.root)}},
        {"url": url, "name": "any", "tls": {"verify": False}},
    )
    # Where nothing is checked it is not known which are needed: the first of all that were shown.
    told = {name: seen.value(EXPIRY, instance=name) for name in ("trusted", "any")}
    assert told == {"trusted": made.ends["leaf"], "any": made.ends["extra"]}


async def test_a_chain_that_cannot_be_trusted_tells_its_first_end(endpoints: Endpoints, chain: Chain) -> None:
    """An intermediate that has expired is why the probe fails, and the end is its."""
    made = chain(root=400, intermediate=-1, leaf=80)
    url = await endpoints.serve(ok, tls=made.server())
    seen = await endpoints.poll({"url": url, "tls": {"ca_file": str(made.root)}})
    assert (seen.reasons(), seen.value(EXPIRY)) == ({"certificate_expired"}, made.ends["intermediate"])


@pytest.mark.parametrize("chains", [None, lambda: None, lambda: [object()]])
async def test_a_python_without_these_chains_tells_the_peers_own_end(chain: Chain, chains: Any) -> None:
    """They are private before 3.13."""
    made = chain(root=400, intermediate=10, leaf=80)
    below = SimpleNamespace(get_verified_chain=chains, get_unverified_chain=chains) if chains else SimpleNamespace()
    connection = SimpleNamespace(
        context=SimpleNamespace(verify_mode=ssl.CERT_REQUIRED), _sslobj=below, getpeercert=lambda binary_form: made.leaf
    )
    assert certificates.expiry_of(connection) == made.ends["leaf"]  # type: ignore[arg-type]
