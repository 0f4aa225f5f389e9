"""Who is signed in: to be listed, and ended, by admins.

GET  /api/tocsin/v1/sessions
POST /api/tocsin/v1/sessions/ID/revoke
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.tokens import Scope
from tocsin.state.sessions import StoredSession
from tocsin.web.entrance import Entrance
from tocsin.web.gate import GuardedRoute, Operation, protected
from tocsin.web.people import person_of
from tocsin.web.streaming import Body, respond


def session_routes(entrance: Entrance) -> list[GuardedRoute]:
    """The two routes."""

    def answer(request: Request, value: Any) -> Response:
        return respond(request, Body.begun(iter((orjson.dumps(value, option=orjson.OPT_UTC_Z),))))

    async def listed(request: Request) -> Response:
        person = person_of(request)
        own = person.session if person is not None else ""
        found = await entrance.sessions.list(entrance.clock.now())
        return answer(request, {"sessions": [session_json(each, own=each.id == own) for each in found]})

    async def revoke(request: Request) -> Response:
        id = request.path_params["id"]
        if not await entrance.sessions.revoke(id):
            raise HTTPException(404, f"there is no session {id}")
        return answer(request, {"revoked": id})

    one: Mapping[str, Any] = {"type": "object"}
    many = {"type": "object", "properties": {"sessions": {"type": "array", "items": one}}}
    base = "/api/tocsin/v1/sessions"
    return [
        protected(
            base, listed, Scope.ADMIN, operation=Operation(summary="Who is signed in", tag="Tocsin", answer=many)
        ),
        protected(
            f"{base}/{{id}}/revoke", revoke, Scope.ADMIN, methods=("POST",),
            operation=Operation(summary="End a session", tag="Tocsin", answer=one),
        ),
    ]  # fmt: skip


def session_json(session: StoredSession, *, own: bool) -> dict[str, Any]:
    """A session, for programs; nothing in it lets anybody in."""
    return {
        "id": session.id, "email": session.email, "via": session.via, "created_at": session.created_at,
        "seen_at": session.seen_at, "expires_at": session.expires_at, "client": session.client, "own": own,
    }  # fmt: skip
