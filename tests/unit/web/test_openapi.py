"""/openapi.json tells of every route, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from starlette.routing import Route

from tocsin.access.tokens import Scope

from .conftest import Port


async def test_every_route_is_told_with_its_methods(port: Port) -> None:
    """Written from the routes, so none is left out."""
    told = await port.get("/openapi.json", scope=Scope.METRICS_READ)
    found = {(path, method.upper()) for path, each in told["paths"].items() for method in each}
    # The same path may be several routes, one per method.
    routes = [route for route in port.app._app.routes if isinstance(route, Route)]
    assert found == {(route.path, method) for route in routes for method in (route.methods or ()) if method != "HEAD"}


async def test_the_paths_that_runbooks_send_people_to_are_there(port: Port, root: Path) -> None:
    """On the pages our own address is HOST:9475."""
    pages = [path.read_text() for path in sorted((root / "runbooks").glob("*.md"))]
    named = {path for page in pages for path in re.findall(r"HOST:9475(/[\w/.-]*)", page)}
    assert named >= {"/readyz", "/ingest/auth-logs", "/silences/new"}
    assert sorted(named - set((await port.get("/openapi.json"))["paths"])) == []


async def test_references_lead_somewhere_and_ids_are_unique(port: Port) -> None:
    """A generator of clients must be able to read it."""
    told = await port.get("/openapi.json")

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [each for part in value.values() for each in references(part)]
        return [each for part in value for each in references(part)] if isinstance(value, list) else []

    known = {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
    ids = [each["operationId"] for path in told["paths"].values() for each in path.values()]
    assert (set(references(told)) <= known, len(ids)) == (True, len(set(ids)))


async def test_each_route_says_which_scope_it_wants(port: Port) -> None:
    """So that a token can be made with no more than it needs."""
    told = (await port.get("/openapi.json"))["paths"]
    assert told["/api/v1/rules"]["get"]["description"] == "Wants a token with the scope alerts:read or query:read."
    assert told["/healthz"]["get"]["security"] == []
    assert told["/api/v1/query"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"][
        "required"
    ] == ["query"]
