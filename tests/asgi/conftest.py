"""Each framework's application behind all layers, served once a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.asgi.frameworks import BUILDERS, Site, protected, served
from tocsin.testing.peers import PeerMissing
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.redis import RedisServer, running_redis


@pytest.fixture(scope="session")
def sites() -> Iterator[dict[str, Site]]:
    """By framework."""
    found = {}
    with ExitStack() as stack:
        for name, build in BUILDERS.items():
            app, site = protected(name, build())
            site.port = stack.enter_context(served(site.counting(app)))
            # The first request loads what a framework loads late: longer than the time limit on a busy machine.
            site.ask("/healthz", headers={})
            found[name] = site
        yield found


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A real Redis; what a test keeps in it has a namespace of its own."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running_redis())
        except PeerMissing as missing:
            if os.environ.get("TOCSIN_PEERS") == "required":
                raise
            pytest.skip(f"redis-server: {missing}")
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A real Postgres with fifty items."""
    with EmbeddedPostgres.start() as running:
        running.execute(
            "create table items (id int primary key, name text)",
            "insert into items select n, 'item ' || n from generate_series(1, 50) as n",
        )
        yield running


@pytest.fixture(params=list(BUILDERS))
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """One of them, its lines forgotten."""
    found = sites[request.param]
    found.forget()
    return found


@pytest.fixture(params=["starlette", "fastapi", "litestar"])
def site_with_sockets(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """One that has WebSockets and background tasks: Django has neither."""
    found = sites[request.param]
    found.forget()
    return found
