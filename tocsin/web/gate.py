"""The door: a route is public by name or says which scopes it wants; a path that is no route wants a credential too.

A service token comes as `Authorization: Bearer …`, or as the password of Basic for clients that know no other way
(Grafana, amtool). 401 = who you are is unproven; 403 = known, but not allowed. Bodies are RFC 9457 problems that say
how to get in and nothing about what is inside.

The door builds the application from the routes itself, and asks the very routes which of them a request is for: it
can't be of another opinion than the router behind it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from tocsin.access.tokens import Scope, ServiceToken, allows, is_valid, token_id
from tocsin.errors import StateError
from tocsin.ports import Clock

Endpoint = Callable[[Request], Awaitable[Response]]

_SHOWN: Final = "tocsin.token"
"""Where the door leaves the token that was shown, in the ASGI scope."""


class TokenStore(Protocol):
    """Where service tokens are kept."""

    async def service_token(self, id: str) -> ServiceToken | None:
        """The token of this id."""

    async def token_used(self, id: str) -> None:
        """Remember that it was used now; may be coarse."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What /openapi.json says of a route, in OpenAPI's own terms."""

    summary: str
    tag: str = ""
    parameters: Sequence[Mapping[str, Any]] = ()
    """In the query string; of a POST without `body`, in a form."""
    body: Mapping[str, Any] | None = None
    """The schema of a body of JSON."""
    answer: Mapping[str, Any] = field(default_factory=dict)
    """The schema of the answer; empty: whatever `media` is."""
    media: str = "application/json"


class GuardedRoute(Route):
    """A route that says who may ask it."""

    def __init__(
        self,
        path: str,
        endpoint: Endpoint,
        *,
        scopes: frozenset[Scope] | None,
        methods: Sequence[str],
        operation: Operation,
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.scopes = scopes
        """Any of these lets in; none named: any valid token; None: the route is public."""
        self.asked_by = tuple(methods)
        """The methods as declared, without the HEAD that comes with GET."""
        self.operation = operation

    def admits(self, token: ServiceToken) -> bool:
        """True when the token's scopes let it in."""
        return not self.scopes or any(allows(token, scope) for scope in self.scopes)


def public(path: str, endpoint: Endpoint, operation: Operation) -> GuardedRoute:
    """A route that anyone may ask."""
    return GuardedRoute(path, endpoint, scopes=None, methods=("GET",), operation=operation)


def protected(
    path: str, endpoint: Endpoint, *scopes: Scope, operation: Operation, methods: Sequence[str] = ("GET",)
) -> GuardedRoute:
    """A route that wants a token with one of `scopes`; with none named, any valid token."""
    return GuardedRoute(path, endpoint, scopes=frozenset(scopes), methods=methods, operation=operation)


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


def shown_token(request: Request) -> ServiceToken:
    """The token that a protected route's request came with."""
    token = request.scope[_SHOWN]
    assert isinstance(token, ServiceToken)
    return token


class Gate:
    """The ASGI application: what isn't public is refused without a credential."""

    def __init__(self, *, routes: Sequence[GuardedRoute], tokens: TokenStore, clock: Clock) -> None:
        self._app = Starlette(
            routes=list(routes),
            exception_handlers={StateError: _store_is_down, 404: _not_there, 405: _not_so, HTTPException: _refused},
        )
        # A redirect would answer for a path that is no route.
        self._app.router.redirect_slashes = False
        self._routes = tuple(routes)
        self._tokens = tokens
        self._clock = clock

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket is served: close it unanswered
            await send({"type": "websocket.close", "code": 1008})
            return
        route = self._route(scope)
        if route is None or route.scopes is not None:
            refusal = await self._refusal(Request(scope), route)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _route(self, scope: AsgiScope) -> GuardedRoute | None:
        """The route that will answer; where only the method is wrong, the one that will say so."""
        partial: GuardedRoute | None = None
        for route in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return route
            if match is Match.PARTIAL and partial is None:
                partial = route
        return partial

    async def _refusal(self, request: Request, route: GuardedRoute | None) -> Response | None:
        clear, why = _credential(request)
        if clear is None:
            return unproven(why)
        ident = token_id(clear)
        row = await self._tokens.service_token(ident) if ident else None
        if row is None or not is_valid(clear, row, self._clock.now()):
            return unproven("This token is unknown, expired or revoked. Make one: tocsin token create --scope …")
        if route is not None and not route.admits(row):
            wanted = " or ".join(sorted(scope.value for scope in route.scopes or ()))
            return problem(403, "Forbidden", f"This token lacks the scope {wanted}.")
        await self._tokens.token_used(row.id)
        request.scope[_SHOWN] = row
        return None


async def _store_is_down(_: Request, error: Exception) -> Response:
    return problem(503, "Service Unavailable", str(error), **{"Retry-After": "5"})


async def _not_there(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.detail != "Not Found":
        return problem(404, "Not Found", error.detail)
    return problem(404, "Not Found", f"There is nothing at {request.url.path}; /openapi.json lists what there is.")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, HTTPStatus(error.status_code).phrase, error.detail)


async def _not_so(request: Request, error: Exception) -> Response:
    headers = dict(getattr(error, "headers", None) or {})
    return problem(405, "Method Not Allowed", f"{request.method} is not for {request.url.path}.", **headers)


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
