"""POST /ingest/auth-logs: Supabase's log drain (a generic HTTP endpoint) pushes its batches here.

The drain signs nothing. Its header X-Tocsin-Secret holds the secret of the collector that the batch is for
(source.drain.secret); a service token with the scope ingest:write is as good, with `?collector=NAME` where several
collectors have a drain. A batch is answered 200 when it is on the disk, and what is wrong with one is answered 400:
the sender tries no batch twice. gzip, deflate and brotli are unpacked, to a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tocsin.access.tokens import Scope
from tocsin.ports import Inlet
from tocsin.web.gate import GuardedRoute, Operation, protected
from tocsin.web.inside import Inside
from tocsin.web.packed import unpacked
from tocsin.web.problems import problem

PATH: Final = "/ingest/auth-logs"
ADDRESS: Final = "auth-logs"
HEADER: Final = "x-tocsin-secret"

log = structlog.get_logger(__name__)


def ingest_route(inside: Inside) -> GuardedRoute:
    """The route."""

    def by_secret(request: Request) -> Inlet | None:
        given = request.headers.getlist(HEADER)
        if len(given) != 1:
            return None
        # All are asked, so that the time tells nothing of which.
        return next(iter([inlet for inlet in _drains(inside).values() if inlet.admits(given[0])]), None)

    async def proof(request: Request) -> bool:
        return by_secret(request) is not None

    async def ingest(request: Request) -> Response:
        inlet = by_secret(request) or _named(inside, request.query_params.get("collector", ""))
        body = await unpacked(request)
        try:
            told = await inside.errands.push(inlet, body)
        except ValueError as error:
            log.warning("ingest.refused", collector=inlet.name, why=str(error))
            raise HTTPException(400, str(error)) from None
        except OSError as error:
            log.error("ingest.not_kept", collector=inlet.name, why=str(error))
            return problem(503, "Service Unavailable", f"{error.strerror or error}", **{"Retry-After": "5"})
        return JSONResponse(dict(told))

    count = {"type": "integer"}
    told = Operation(
        summary="A Supabase log drain's batch of events (or with the header X-Tocsin-Secret instead of a token)",
        tag="Ingest",
        body={
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "event_message": {"type": "string"}, "id": {"type": "string"}, "timestamp": count,
                    "metadata": {},
                },
            },
        },
        answer={"type": "object", "properties": {"accepted": count, "duplicates": count, "ignored": count}},
    )  # fmt: skip
    return protected(PATH, ingest, Scope.INGEST_WRITE, operation=told, methods=("POST",), proof=proof)


def _drains(inside: Inside) -> Mapping[str, Inlet]:
    return {name: inlet for name, inlet in inside.inlets().items() if inlet.address == ADDRESS}


def _named(inside: Inside, name: str) -> Inlet:
    """Raises HTTPException where there is none, or several and none is named."""
    inlets = _drains(inside)
    if not inlets:
        raise HTTPException(404, "no collector has a drain; give an auth_logs collector source: {drain: …}")
    if not name and len(inlets) == 1:
        return next(iter(inlets.values()))
    if name not in inlets:
        raise HTTPException(400, f"say for which collector with ?collector=NAME: {', '.join(sorted(inlets))}")
    return inlets[name]
