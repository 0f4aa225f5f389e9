"""The door: every route is public by name or asks for a scope, and a path that isn't there asks for a credential too.

A service token comes as `Authorization: Bearer …`, or as the password of Basic for clients that know no other way
(Grafana). 401 = who you are is unproven; 403 = known, but not allowed. Bodies are RFC 9457 problems that say how to get
in and nothing about what is inside.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from tocsin.access.tokens import Scope, ServiceToken, allows, is_valid, token_id
from tocsin.ports import Clock

Endpoint = Callable[[Request], Awaitable[Response]]

_SCOPE_ATTRIBUTE: Final = "tocsin_scope"


class TokenStore(Protocol):
    """Where service tokens are kept."""

    async def service_token(self, id: str) -> ServiceToken | None:
        """The token of this id."""

    async def token_used(self, id: str) -> None:
        """Remember that it was used now; may be coarse."""


def problem(status: int, title: str, detail: str, **headers: str) -> JSONResponse:
    """An RFC 9457 answer."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json", headers=headers)


def unproven(detail: str) -> JSONResponse:
    """401, with both ways a client may prove itself."""
    answer = problem(401, "Unauthorized", detail)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="tocsin"'
    answer.headers.append("WWW-Authenticate", 'Basic realm="tocsin", charset="UTF-8"')
    return answer


def public(path: str, endpoint: Endpoint) -> Route:
    """A route that anyone may ask."""
    return Route(path, endpoint, methods=["GET"])


def protected(path: str, endpoint: Endpoint, scope: Scope, methods: tuple[str, ...] = ("GET",)) -> Route:
    """A route that wants a token with `scope`."""
    route = Route(path, endpoint, methods=list(methods))
    setattr(route, _SCOPE_ATTRIBUTE, scope)
    return route


def scope_of(route: Route) -> Scope | None:
    """The scope a route wants; None when it is public."""
    return getattr(route, _SCOPE_ATTRIBUTE, None)


class Gate:
    """ASGI middleware in front of the whole app: what isn't public is refused without a credential."""

    def __init__(self, app: ASGIApp, *, routes: list[Route], tokens: TokenStore, clock: Clock) -> None:
        self._app = app
        self._tokens = tokens
        self._clock = clock
        self._public = {route.path for route in routes if scope_of(route) is None}
        self._routes = [route for route in routes if scope_of(route) is not None]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in self._public):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket is served: close it unanswered
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = await self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        clear, why = _credential(request)
        if clear is None:
            return unproven(why)
        ident = token_id(clear)
        row = await self._tokens.service_token(ident) if ident else None
        if row is None or not is_valid(clear, row, self._clock.now()):
            return unproven("This token is unknown, expired or revoked. Make one: tocsin token create --scope …")
        wanted = next((scope_of(route) for route in self._routes if route.path == request.scope["path"]), None)
        if wanted is not None and not allows(row, wanted):
            return problem(403, "Forbidden", f"This token lacks the scope {wanted.value}.")
        await self._tokens.token_used(row.id)
        return None


def _credential(request: Request) -> tuple[str | None, str]:
    """(the clear token, why there is none)."""
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        return None, "Send one Authorization header with a service token (tocsin token create --scope …)."
    kind, _, value = given[0].partition(" ")
    if kind.lower() == "bearer":
        return value.strip(), ""
    if kind.lower() == "basic":
        try:
            _, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, "The Basic credential is not base64 of user:password; the password is a service token."
        return password, ""
    return None, "Use Bearer with a service token, or Basic with the token as password."
