"""POST /hooks/before-user-created: Supabase Auth asks before it makes a user, and the allowlist answers.

For a project that can't run the Postgres function (see tocsin.access.allowlist.gate), which is the better way: there no
daemon stands between people and signing up. Auth waits 5 s, and without an answer nobody signs up.

The call is signed (Standard Webhooks); one that isn't is answered 401. A no is answered 200 with an error in the body:
Auth turns any other status into a 500, and a message that is empty into a yes.

Source: supabase/auth, internal/hooks.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tocsin.access.verdicts import Refusal
from tocsin.access.webhooks import verify
from tocsin.web.entrance import Entrance
from tocsin.web.form import bounded_body
from tocsin.web.gate import GuardedRoute, Operation, public
from tocsin.web.problems import problem

PATH: Final = "/hooks/before-user-created"
MOST_BYTES: Final = 1 << 20
_NOT_LISTED: Final = "This address is not on the access list."
_NOT_NOW: Final = "Who may sign up can't be checked at the moment. Try again soon."

log = structlog.get_logger(__name__)


def hook_route(entrance: Entrance) -> GuardedRoute:
    """The route."""

    async def before_user_created(request: Request) -> Response:
        body = await bounded_body(request, MOST_BYTES)
        project, now = entrance.project, entrance.clock.now()
        if project is None or not project.hook_keys:
            return problem(401, "Unauthorized", "No hook secret is configured (web.supabase.hook_secret).")
        refusal = verify(request.headers.items(), body, project.hook_keys, now)
        if refusal is not None:
            log.warning("hook.refused", reason=refusal.reason.value, because=refusal.because)
            return problem(401, "Unauthorized", "The signature is missing, wrong or old.")
        email = _email(body)
        if not email:
            return _no(403, _NOT_LISTED)  # anonymous, by phone, or no event at all
        ruling = await project.roster.ruling(email, now)
        if isinstance(ruling, Refusal):
            return _no(503, _NOT_NOW)
        if not ruling.allowed:
            log.info("hook.denied", because=ruling.because)
            return _no(403, _NOT_LISTED)
        return JSONResponse({})

    told = Operation(
        summary="Supabase's before-user-created hook (signed)", tag="Hooks", body={"type": "object"},
        answer={"type": "object"},
    )  # fmt: skip
    return public(PATH, before_user_created, told, methods=("POST",))


def _no(code: int, message: str) -> Response:
    return JSONResponse({"error": {"http_code": code, "message": message}})


def _email(body: bytes) -> str:
    """The new user's address; empty when there is none."""
    try:
        event: Any = orjson.loads(body)
    except ValueError:
        return ""
    user = event.get("user") if isinstance(event, dict) else None
    email = user.get("email") if isinstance(user, dict) else None
    return email if isinstance(email, str) else ""
