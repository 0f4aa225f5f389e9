"""The database helper in an application: N+1 is found, and a full pool is answered."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.asgi.frameworks import Kept, served
from tocsin.asgi import Database, Lines, protect, queries
from tocsin.asgi.database import NPlusOne
from tocsin.testing.postgres import EmbeddedPostgres


class App:
    """Two routes behind all layers: a list with N+1, and the same with one statement; and one that finds no place."""

    def __init__(self, dsn: str) -> None:
        self.registry, self.kept = CollectorRegistry(), Kept()
        self.database = Database(dsn, size=1, wait=20.0)
        routes = [Route("/loop/{count:int}", self.loop), Route("/once", self.once), Route("/busy", self.busy)]
        self.protected = protect(
            Starlette(routes=routes), database=self.database, supabase_url="off", environment={}, slow_seconds=1e-5,
            registry=self.registry, lines=Lines(self.kept),
        )  # fmt: skip

    async def loop(self, request: Request) -> JSONResponse:
        numbers = range(request.path_params["count"])
        found = [await self.database.row(f"select name from items where id = {number}") for number in numbers]
        return JSONResponse(len(found))

    async def once(self, _: Request) -> JSONResponse:
        return JSONResponse(len(await self.database.rows("select name from items where id = any(%s)", [[1, 2, 3]])))

    async def busy(self, _: Request) -> JSONResponse:
        async with self.database.connection():
            self.database._pool.timeout = 0.02
            try:
                return JSONResponse(await self.database.rows("select 1"))
            finally:
                self.database._pool.timeout = 20.0


@pytest.fixture(scope="module")
def app(postgres: EmbeddedPostgres) -> App:
    return App(postgres.dsn())


@pytest.fixture(scope="module")
def port(app: App) -> Iterator[int]:
    with served(app.protected) as port:
        yield port


def get(port: int, path: str) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def test_a_request_that_asks_in_a_loop_is_found(port: int) -> None:
    """With the statement, how often, the route, and the place in the code."""
    with queries() as asked:
        get(port, "/once")
        get(port, "/once")
        get(port, "/once")
    asked.assert_no_n_plus_one()
    with queries() as asked:
        get(port, "/loop/12")
    with pytest.raises(NPlusOne) as found:
        asked.assert_no_n_plus_one()
    told = str(found.value)
    assert "12 times in one request (GET /loop/{count:int}):\n  select name from items where id = ?\n" in told
    assert "tests/asgi/test_database_behind_layers.py:" in told
    assert " in loop" in told
    asked.assert_no_n_plus_one(allow=["select name from items where id = 1"])
    asked.assert_no_n_plus_one(most=12)


def test_two_requests_at_once_are_told_apart(port: int) -> None:
    """Two of each is nobody's loop, though it is many in all."""
    with queries() as asked:
        threads = [threading.Thread(target=get, args=(port, "/loop/2")) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(asked) == 12
    asked.assert_no_n_plus_one()


def test_no_connection_in_time_is_a_503_that_says_when_to_come_back(app: App, port: int) -> None:
    """Logged once, as the database's matter."""
    status, headers, problem = get(port, "/busy")
    assert (status, headers["retry-after"], problem["title"]) == (503, "1", "Service Unavailable")
    (line,) = app.kept.of("request.failed")
    assert (line["category"], line["status"], line["route"]) == ("database", 503, "/busy")
    labels = {"category": "database", "route": "/busy"}
    assert app.registry.get_sample_value("tocsin_http_errors_total", labels) == 1


def test_a_slow_statement_bears_the_ids_of_its_request(app: App, port: int) -> None:
    """The log line of the statement and that of the request are found by each other."""
    app.kept.lines.clear()
    _, headers, _ = get(port, "/once")
    (line,) = app.kept.of("database.slow")
    assert (line["request_id"], line["route"]) == (headers["x-request-id"], "/once")
    labels = {"database": "app", "route": "/once"}
    assert (app.registry.get_sample_value("tocsin_database_statement_seconds_count", labels) or 0) >= 1


def test_the_pool_is_gone_when_the_application_has_stopped(postgres: EmbeddedPostgres) -> None:
    """`protect` opens it and closes it."""
    app = App(postgres.dsn())
    with served(app.protected) as port:
        get(port, "/once")
    assert app.database._pool.closed
