"""The door: a route is public by name or says which scopes it wants; a path that is no route wants a credential too.

A service token comes as `Authorization: Bearer …`, or as the password of Basic for clients that know no other way
(Grafana, amtool). 401 = who you are is unproven; 403 = known, but not allowed. Bodies are RFC 9457 problems that say
how to get in and nothing about what is inside.

A person comes with a session cookie (tocsin.web.sessions), or with a Supabase access token as Bearer; the allowlist
says their role, and the role which scopes they have (tocsin.web.people). An unsafe request that came by cookie must be
from a page of ours (Origin, Sec-Fetch-Site) and show the session's CSRF token, in the header X-CSRF-Token or in a form.
A browser that asks for a page and is nobody is sent to /login, whatever the path; everybody else is told 401.

For pages and handlers behind the door:
    person_of(request)       # tocsin.web.people: name, role, csrf, can(scope); None for a service token
    shown_token(request)     # the service token, or for a person one of as much: for what doesn't care

The door builds the application from the routes itself, and asks the very routes which of them a request is for: it
can't be of another opinion than the router behind it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope

from tocsin.access.tokens import Scope, ServiceToken, allows, is_valid, token_id
from tocsin.access.verdicts import Refusal
from tocsin.errors import StateError
from tocsin.ports import Clock
from tocsin.web import browser
from tocsin.web.credentials import clear_token
from tocsin.web.form import FORM_BYTES, bounded_body
from tocsin.web.people import PERSON, People, Person, person_of
from tocsin.web.problems import (
    not_so,
    not_there,
    problem,
    refused,
    refused_by,
    shown_to,
    store_is_down,
    unproven,
    way_in,
)

Endpoint = Callable[[Request], Awaitable[Response]]
Proof = Callable[[Request], Awaitable[bool]]

LIVE_HEADER: Final = "x-tocsin-live"
"""On what a page asks by itself, again and again: it keeps no session from ending by idleness."""
_SHOWN: Final = "tocsin.token"
"""Where the door leaves the token that was shown, in the ASGI scope."""
_BODY: Final = "tocsin.body"
"""Where the door leaves a body that it had to read."""
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


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
        proof: Proof | None = None,
        answers_with: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.proof = proof
        """Another way in than a token, of this route alone: a secret that the request shows. There is no
        `shown_token` then."""
        self.scopes = scopes
        """Any of these lets in; none named: any valid token; None: the route is public."""
        self.asked_by = tuple(methods)
        """The methods as declared, without the HEAD that comes with GET."""
        self.answers_with = answers_with or {}
        """Headers of whatever these methods are answered, at the door too."""
        self.operation = operation

    def admits(self, token: ServiceToken) -> bool:
        """True when the token's scopes let it in."""
        return not self.scopes or any(allows(token, scope) for scope in self.scopes)


def public(path: str, endpoint: Endpoint, operation: Operation, *, methods: Sequence[str] = ("GET",)) -> GuardedRoute:
    """A route that anyone may ask."""
    return GuardedRoute(path, endpoint, scopes=None, methods=methods, operation=operation)


def protected(
    path: str, endpoint: Endpoint, *scopes: Scope, operation: Operation, methods: Sequence[str] = ("GET",),
    proof: Proof | None = None, answers_with: Mapping[str, str] | None = None,
) -> GuardedRoute:  # fmt: skip
    """A route that wants a token with one of `scopes`; with none named, any valid token; or `proof`."""
    return GuardedRoute(
        path, endpoint, scopes=frozenset(scopes), methods=methods, operation=operation, proof=proof,
        answers_with=answers_with,
    )  # fmt: skip


def shown_token(request: Request) -> ServiceToken:
    """The token that a protected route's request came with; for a person, one of as much."""
    token = request.scope[_SHOWN]
    assert isinstance(token, ServiceToken)
    return token


def actor_of(request: Request) -> str:
    """Who does this, as the audit and the incidents call them. A token by its id: its note could be anybody's name."""
    person = person_of(request)
    return f"token {shown_token(request).id}" if person is None else person.email or person.name


class Gate:
    """The ASGI application: what isn't public is refused without a credential."""

    def __init__(
        self, *, routes: Sequence[GuardedRoute], tokens: TokenStore, clock: Clock, people: People | None = None,
        origin: Callable[[], str] = lambda: "",
    ) -> None:  # fmt: skip
        """`people`: who comes by cookie or access token; `origin`: scheme://host of external_url, or empty."""
        self._app = Starlette(
            routes=list(routes),
            exception_handlers={StateError: store_is_down, 404: not_there, 405: not_so, HTTPException: refused},
        )
        # A redirect would answer for a path that is no route.
        self._app.router.redirect_slashes = False
        self.routes = tuple(routes)
        self._tokens = tokens
        self._clock = clock
        self._people = people
        self._origin = origin

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        scope.pop(PERSON, None)
        scope.pop(_SHOWN, None)
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSocket is served: close it unanswered
            await send({"type": "websocket.close", "code": 1008})
            return

        route = self._route(scope)
        also = route.answers_with if route is not None and scope["method"] in route.asked_by else {}

        async def harden(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = browser.hardened(message, https=self._origin().startswith("https:"), also=also)
            await send(message)

        if route is None or route.scopes is not None:
            request = Request(scope, receive)
            try:
                refusal = await self._refusal(request, route)
            except HTTPException as error:
                refusal = await refused(request, error)
            except StateError as error:
                refusal = await store_is_down(request, error)
            if refusal is not None:
                await shown_to(request, refusal)(scope, receive, harden)
                return
            receive = _again(request, receive)
        await self._app(scope, receive, harden)

    def _route(self, scope: AsgiScope) -> GuardedRoute | None:
        """The route that will answer; where only the method is wrong, the one that will say so."""
        partial: GuardedRoute | None = None
        for route in self.routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return route
            if match is Match.PARTIAL and partial is None:
                partial = route
        return partial

    async def _refusal(self, request: Request, route: GuardedRoute | None) -> Response | None:
        """What to answer to who may not pass; None for who may, and the scope says then who it is."""
        if route is not None and route.proof is not None and await route.proof(request):
            return None
        cookie = browser.cookie_of(request, browser.SESSION_COOKIE)
        by_cookie = bool(cookie) and "authorization" not in request.headers and self._people is not None
        found = await (self._by_cookie(request, cookie) if by_cookie else self._by_header(request))
        if isinstance(found, Response):
            return found
        token = found.as_token() if isinstance(found, Person) else found
        if route is not None and not route.admits(token):
            wanted = " or ".join(sorted(scope.value for scope in route.scopes or ()))
            what = f"Your role, {found.role.value}," if isinstance(found, Person) else "This token"
            return problem(403, "Forbidden", f"{what} lacks the scope {wanted}.")
        if isinstance(found, Person):
            request.scope[PERSON] = found
        else:
            await self._tokens.token_used(found.id)
        request.scope[_SHOWN] = token
        return None

    async def _by_header(self, request: Request) -> ServiceToken | Person | Response:
        clear, why = clear_token(request)
        if clear is None:
            return way_in(request) if "authorization" not in request.headers else unproven(why)
        if (ident := token_id(clear)) is not None:
            row = await self._tokens.service_token(ident)
            if row is not None and is_valid(clear, row, self._clock.now()):
                return row
        elif self._people is not None and clear.count(".") == 2:
            found = await self._people.by_bearer(clear, self._clock.now())
            return refused_by(found) if isinstance(found, Refusal) else found
        return unproven("This token is unknown, expired or revoked. Make one: tocsin token create --scope …")

    async def _by_cookie(self, request: Request, cookie: str) -> Person | Response:
        assert self._people is not None
        found = await self._people.by_cookie(cookie, self._clock.now(), seen=LIVE_HEADER not in request.headers)
        if isinstance(found, Refusal):
            answer = refused_by(found)
            if answer.status_code == 401:
                answer = way_in(request)
                browser.drop_cookie(answer, browser.SESSION_COOKIE)
            return answer
        if request.method in browser.UNSAFE and not await self._is_ours(request, found.csrf):
            detail = "This did not come from a page of this console, or from one that is out of date: reload the page."
            return problem(403, "Forbidden", detail)
        return found

    async def _is_ours(self, request: Request, csrf: str) -> bool:
        """True when a page of this session made the request: see `browser.is_from_here`, and the CSRF token."""
        if not browser.is_from_here(request, self._origin()):
            return False
        if browser.CSRF_HEADER in request.headers:
            return hmac.compare_digest(request.headers[browser.CSRF_HEADER].encode(), csrf.encode())
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _FORMS:
            return False
        # Its letters stand in either kind of form as they are, and nobody else can write them: wherever they are in the
        # body, who made it had read one of our pages.
        body = await read_at_the_door(request, FORM_BYTES)
        return bool(csrf) and csrf.encode() in body


async def read_at_the_door(request: Request, most: int) -> bytes:
    """The body, for who has to look at it to let its sender in: behind the door it is there again. As bounded_body."""
    body = await bounded_body(request, most)
    request.scope[_BODY] = body
    return body


def _again(request: Request, receive: Receive) -> Receive:
    """`receive`, with the body from its beginning where the door has read it."""
    body = request.scope.pop(_BODY, None)
    if body is None:
        return receive
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
