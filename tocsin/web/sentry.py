"""POST /api/N/envelope/: the envelopes of Sentry's SDKs, for the sentry collector whose project is N.

The key of the DSN proves the sender: `sentry_key` in the header X-Sentry-Auth, or in the query, which browsers use; a
service token with the scope ingest:write is as good. gzip is unpacked, to a bound. Pages of any origin may post, as
Sentry allows it: the key opens this route alone, and the answer tells nothing.

Source: https://develop.sentry.dev/sdk/foundations/transport/authentication/
"""

from __future__ import annotations

import re
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tocsin.access.tokens import Scope
from tocsin.ports import Inlet
from tocsin.web.gate import GuardedRoute, Operation, protected
from tocsin.web.ingest import unpacked
from tocsin.web.inside import Inside

PATH: Final = "/api/{project}/envelope/"
_KEY: Final = re.compile(r"(?:^|[\s,])sentry_key=([^\s,]+)")

log = structlog.get_logger(__name__)


def sentry_route(inside: Inside) -> GuardedRoute:
    """The route."""

    def meant(request: Request) -> Inlet | None:
        address = f"sentry/{_project(request)}"
        return next((inlet for inlet in inside.inlets().values() if inlet.address == address), None)

    def by_key(request: Request) -> bool:
        inlet, key = meant(request), _key(request)
        return inlet is not None and bool(key) and inlet.admits(key)

    async def envelope(request: Request) -> Response:
        inlet = meant(request)
        if inlet is None:
            raise HTTPException(404, "no collector is of this project; add one: {kind: sentry, project: N, …}")
        body = await unpacked(request)
        try:
            told = await inside.errands.push(inlet, body)
        except ValueError as error:
            log.warning("sentry.refused", collector=inlet.name, why=str(error))
            raise HTTPException(400, str(error)) from None
        return JSONResponse(dict(told), headers={"Access-Control-Allow-Origin": "*"})

    told = Operation(
        summary="An envelope of a Sentry SDK (with the DSN's key instead of a token); only its events are counted",
        tag="Ingest",
        body={"type": "string", "description": "https://develop.sentry.dev/sdk/data-model/envelopes/"},
        answer={"type": "object", "properties": {"id": {"type": "string"}}},
    )
    return protected(PATH, envelope, Scope.INGEST_WRITE, operation=told, methods=("POST",), proof=by_key)


def _project(request: Request) -> str:
    """At the door the path is not taken apart yet."""
    return request.url.path.split("/")[2]


def _key(request: Request) -> str:
    """The key that is shown; empty where there is none, or more than one."""
    headers = request.headers.getlist("x-sentry-auth")
    shown = [found.group(1) for header in headers if (found := _KEY.search(header))]
    shown += request.query_params.getlist("sentry_key")
    return shown[0] if len(set(shown)) == 1 else ""
