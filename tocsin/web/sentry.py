"""POST /api/N/envelope/: what Sentry's SDKs report, for the sentry collector whose project is N. Older ones post the
event alone to /api/N/store/.

The key of the DSN proves the sender: `sentry_key` in the header X-Sentry-Auth, in `Authorization: Sentry …`, or in the
query, which browsers use. Where none of them shows a key, the envelope's own header may hold the DSN: so it is with
what a page sends by way of its own server (`tunnel`), which hands it on as it is. A service token with the scope
ingest:write is as good. gzip, deflate and brotli are unpacked, to a bound; so is, on /store/, the base64 of zlib that
Raven's clients sent without a word of it. Pages of any origin may post and read what they are answered, refusals too,
as Sentry allows it: the key opens these routes alone, the answer tells nothing, and a preflight is answered the same
whatever the project.

Source: https://develop.sentry.dev/sdk/foundations/transport/authentication/
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tocsin.access.tokens import Scope
from tocsin.ports import Inlet
from tocsin.web.gate import GuardedRoute, Operation, protected, public, read_at_the_door
from tocsin.web.inside import Inside
from tocsin.web.packed import first_bytes, unpacked, unpacked_text

ENVELOPE: Final = "/api/{project}/envelope/"
STORE: Final = "/api/{project}/store/"
UNPROVEN_BYTES: Final = 1 << 20
"""Of an envelope that only its own header vouches for, as it is sent."""
_HEAD_BYTES: Final = 16 << 10
_KEY: Final = re.compile(r"(?:^|[\s,])sentry_key=([^\s,]+)")
_ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT: Final = {
    **_ANY_ORIGIN,
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "X-Sentry-Auth, Authorization, Content-Type, Content-Encoding, X-Requested-With",
    "Access-Control-Max-Age": "86400",
}

log = structlog.get_logger(__name__)


def sentry_routes(inside: Inside) -> list[GuardedRoute]:
    """The routes."""

    def meant(request: Request) -> Inlet | None:
        address = f"sentry/{_project(request)}"
        return next((inlet for inlet in inside.inlets().values() if inlet.address == address), None)

    async def proof(request: Request) -> bool:
        if (inlet := meant(request)) is None:
            return False
        shown = _shown(request)
        if not shown and "authorization" not in request.headers and request.url.path.endswith("/envelope/"):
            shown = await _in_envelope(request)
        return len(shown) == 1 and inlet.admits(shown.pop())

    async def take(request: Request) -> Response:
        inlet = meant(request)
        if inlet is None:
            raise HTTPException(404, "no collector is of this project; add one: {kind: sentry, project: N, …}")
        body = await unpacked(request)
        if request.url.path.endswith("/store/"):
            body = await unpacked_text(body)
            body = b'{}\n{"type":"event","length":%d}\n%b' % (len(body), body)
        try:
            told = await inside.errands.push(inlet, body)
        except ValueError as error:
            log.warning("sentry.refused", collector=inlet.name, why=str(error))
            raise HTTPException(400, str(error)) from None
        return JSONResponse(dict(told))

    def posted(path: str, summary: str, source: str) -> GuardedRoute:
        operation = Operation(
            summary=f"{summary} (with the DSN's key instead of a token); only events are counted",
            tag="Ingest",
            body={"type": "string", "description": source},
            answer={"type": "object", "properties": {"id": {"type": "string"}}},
        )
        return protected(
            path, take, Scope.INGEST_WRITE, operation=operation, methods=("POST",), proof=proof,
            answers_with=_ANY_ORIGIN,
        )  # fmt: skip

    asked = Operation(summary="Whether a page of any origin may post an envelope: it may", tag="Ingest")
    return [
        posted(ENVELOPE, "An envelope of a Sentry SDK", "https://develop.sentry.dev/sdk/data-model/envelopes/"),
        posted(STORE, "An event of an older Sentry SDK", "https://develop.sentry.dev/sdk/data-model/event-payloads/"),
        public(ENVELOPE, _preflight, asked, methods=("OPTIONS",)),
    ]


async def _preflight(request: Request) -> Response:
    return Response(status_code=204, headers=_PREFLIGHT)


def _project(request: Request) -> str:
    """At the door the path is not taken apart yet."""
    return request.url.path.split("/")[2]


def _shown(request: Request) -> set[str]:
    """The keys that headers and query show."""
    by_scheme = [header for header in request.headers.getlist("authorization") if header[:7].lower() == "sentry "]
    headers = [*request.headers.getlist("x-sentry-auth"), *by_scheme]
    keys = {found.group(1) for header in headers if (found := _KEY.search(header))}
    return keys | set(request.query_params.getlist("sentry_key"))


async def _in_envelope(request: Request) -> set[str]:
    """The key of the DSN in the envelope's header, where that is of this project. Raises HTTPException 413."""
    body = await read_at_the_door(request, UNPROVEN_BYTES)
    head = first_bytes(request, body, _HEAD_BYTES).partition(b"\n")[0]
    try:
        header = orjson.loads(head)
        dsn = urlsplit(header["dsn"])
        key, project = dsn.username, dsn.path.rpartition("/")[2]
    except (ValueError, TypeError, KeyError, AttributeError):
        return set()
    return {key} if type(key) is str and key and project == _project(request) else set()
