"""/openapi.json: what the port answers, written from the routes themselves, so that it can't leave one out.

Source: OpenAPI Specification 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tocsin import __version__
from tocsin.web import allowlist, incidents, silences
from tocsin.web.alertmanager import routes as alertmanager
from tocsin.web.gate import GuardedRoute, Operation, protected
from tocsin.web.inside import Inside
from tocsin.web.prometheus import routes as prometheus
from tocsin.web.streaming import Body, respond

PATH: Final = "/openapi.json"
_FORM: Final = "application/x-www-form-urlencoded"
_PROBLEM: Final[Mapping[str, Any]] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    }
}  # fmt: skip
SCHEMAS: Final[Mapping[str, Any]] = {
    **_PROBLEM,
    **prometheus.SCHEMAS,
    **alertmanager.SCHEMAS,
    **incidents.SCHEMAS,
    **silences.SCHEMAS,
    **allowlist.SCHEMAS,
}


def document(routes: Sequence[GuardedRoute], address: str = "") -> dict[str, Any]:
    """The description of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in route.asked_by:
            paths.setdefault(route.path, {})[method.lower()] = _operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tocsin", "version": __version__},
        **({"servers": [{"url": address}]} if address else {}),
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "a service token"},
                "basic": {"type": "http", "scheme": "basic", "description": "a service token as the password"},
            },
        },
    }


def _operation(route: GuardedRoute, method: str) -> dict[str, Any]:
    told = route.operation
    name = re.sub(r"[^a-zA-Z0-9]+", "_", route.path).strip("_")
    scopes = sorted(scope.value for scope in route.scopes or ())
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}_{name}",
        "summary": told.summary,
        "tags": [told.tag],
        "parameters": _in_path(route.path) + ([] if method == "POST" else list(told.parameters)),
        "responses": _responses(told, is_open=route.scopes is None),
        "security": [] if route.scopes is None else [{"bearer": []}, {"basic": []}],
    }
    if scopes:
        found["description"] = f"Wants a token with the scope {' or '.join(scopes)}."
    if method == "POST" and (body := _body(told)) is not None:
        found["requestBody"] = body
    return found


def _in_path(path: str) -> list[Mapping[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _body(told: Operation) -> Mapping[str, Any] | None:
    """A route's own body; where it has none, its parameters as a form."""
    if told.body is not None:
        return {"content": {"application/json": {"schema": told.body}}}
    if not told.parameters:
        return None
    properties = {each["name"]: each["schema"] for each in told.parameters}
    required = [each["name"] for each in told.parameters if each.get("required")]
    schema = {"type": "object", "properties": properties, **({"required": required} if required else {})}
    return {"content": {_FORM: {"schema": schema}}}


def _responses(told: Operation, *, is_open: bool) -> Mapping[str, Any]:
    content = {told.media: {"schema": told.answer} if told.answer else {}}
    answers: dict[str, Any] = {"200": {"description": "as asked", "content": content}}
    if not is_open:
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answers["401"] = {"description": "no valid token", "content": problem}
        answers["403"] = {"description": "the token lacks the scope", "content": problem}
    return answers


def openapi_route(inside: Inside, others: Sequence[GuardedRoute]) -> GuardedRoute:
    """The route that tells of `others` and of itself."""

    async def openapi(request: Request) -> Response:
        raw = orjson.dumps(document([*others, route], inside.address()))
        return respond(request, Body.begun(iter((raw,))))

    told = Operation(summary="This document", tag="Status", answer={"type": "object"})
    route = protected(PATH, openapi, operation=told)
    return route
