"""Access: token and allowlist in front of every route that is not listed as public.

    app = Access(app, Gate.from_supabase(url, allowlist="sqlite:///tocsin.db"), public=["/healthz", "/static/*"])

A path that no route has is refused like one that is there; so is a WebSocket, before it is accepted (a 401 by the HTTP
response extension where the server has it, a close otherwise), a mount, and OPTIONS. Inside, `tocsin.asgi.principal(
scope)` says who asks.

Browsers send CORS preflights without credentials. `cors_origins` answers them in front of the guard, for these origins
only, by Starlette's CORSMiddleware, which also lets a page read a 401; `protect` does so where access is off too. An
application's own CORS middleware sees no preflight unless `pass_preflights` says so: then OPTIONS requests with Origin
and Access-Control-Request-Method and without a body reach the application from anybody. That is off by default, because
where no CORS middleware of its own answers them first they tell which routes there are, and run what handles OPTIONS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from tocsin.asgi.arguments import app_of, function, has, listed
from tocsin.asgi.call import CALL_KEY, App, Call, Receive, Scope, Send, Site
from tocsin.asgi.measures import METHODS, Measures, measures_of

if TYPE_CHECKING:
    from tocsin.access.allowlist import Role
    from tocsin.access.door import Admits
    from tocsin.access.guard import Public
    from tocsin.access.verdicts import Principal, Refusal
    from tocsin.asgi.gate import Gate

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class WallClock:
    """ports.Clock for requests: tokens end by the wall clock."""

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds, for durations."""
        return asyncio.get_running_loop().time()

    def skew(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Access:
    """ASGI middleware that asks the gate. `start` and `close` are the lifespan's (see `protect`)."""

    def __init__(
        self,
        app: App,
        gate: Gate | Admits,
        *,
        public: Iterable[str | Public] = (),
        needs: Callable[[str, str], Role | None] = lambda method, path: None,
        cors_origins: Iterable[str] = (),
        pass_preflights: bool = False,
        realm: str = "app",
        site: Site | None = None,
        measures: Measures | None = None,
        clock: Any = None,
    ) -> None:
        """`public` as `public_route` reads it. `needs` gives the least role of a method and path. Raises ValueError
        for a public route that is none, and for two that would answer preflights."""
        from tocsin.access.guard import Guard

        app_of("Access(app)", app)
        has("Access(gate=…)", gate, ("admit",), "a gate: Gate.from_supabase(url, allowlist=…)")
        function("Access(needs=…)", needs, "of method and path")
        public = listed("Access(public=…)", public, "a list of routes: ['/healthz']")
        cors_origins = listed("Access(cors_origins=…)", cors_origins, "a list of origins: ['https://app.example']")
        self._site = site or Site(app)
        self._gate = gate
        self._counter = (measures or measures_of()).refusals
        self._app, self._pass_preflights = app, pass_preflights
        self._guarded: Any = Guard(
            app, gate, clock or WallClock(), public=[public_route(route) for route in public], needs=needs, realm=realm,
            refused=self._refused,
        )  # fmt: skip
        origins = list(cors_origins)
        if "*" in origins:
            raise ValueError("CORS for every origin would let any page act for a user: list the origins")
        if origins and pass_preflights:
            raise ValueError("preflights are answered here, by cors_origins, or passed on: choose one")
        if origins:
            self._guarded = for_pages(self._guarded, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._pass_preflights and _is_preflight(scope):
            scope.pop("tocsin.admitted", None)
            await self._app(scope, receive, send)
            return
        await self._guarded(scope, receive, send)

    async def start(self) -> None:
        """Read the allowlist, so that the first request waits for nothing."""
        start = getattr(self._gate, "start", None)
        if start is not None:
            await start()

    async def close(self) -> None:
        """Stop the roster, close connections."""
        close = getattr(self._gate, "close", None)
        if close is not None:
            await close()

    def _refused(self, refusal: Refusal, scope: Scope) -> None:
        # Counted, and in the request log by its sampling: a line for each would be the attacker's to multiply.
        self._counter.labels(refusal.reason.value).inc()
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        call.stopped_by, call.refusal = "access", refusal.reason.value


def for_pages(app: App, origins: Iterable[str]) -> App:
    """`app`, which pages of these origins may call and read."""
    from starlette.middleware.cors import CORSMiddleware

    made: Any = CORSMiddleware(
        app, allow_origins=list(origins), allow_methods=_METHODS, allow_headers=["*"], max_age=600
    )  # fmt: skip
    return cast(App, made)


def _is_preflight(scope: Scope) -> bool:
    """https://fetch.spec.whatwg.org/#cors-preflight-request"""
    if scope.get("method") != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    asks = {b"origin", b"access-control-request-method"} <= names
    return asks and not names & {b"authorization", b"content-length", b"transfer-encoding"}


def principal(scope: Scope) -> Principal | None:
    """Who asks; None on a public route."""
    admitted = scope.get("tocsin.admitted")
    return admitted.principal if admitted is not None else None


def public_route(text: str | Public) -> Public:
    """`/healthz`, `/static/*` (all below), `POST /hooks/in`, `WEBSOCKET /feed`. Raises ValueError."""
    from tocsin.access.guard import Public

    if isinstance(text, Public):
        return text
    method, _, path = text.strip().rpartition(" ")
    under = path.endswith("/*")
    path = path[:-1] if under else path
    if "*" in path:
        raise ValueError(f"{text!r}: a * stands at the end, after a /")
    if "?" in path or "#" in path or "%" in path:
        raise ValueError(f"{text!r}: a path as the application sees it, decoded and without a query")
    if not method:
        return Public(path, under=under)
    if not method.isalpha() or not method.isupper():
        raise ValueError(f"{text!r}: write METHOD /path, the method in capitals")
    if method not in METHODS and method != "WEBSOCKET":
        raise ValueError(f"{text!r}: {method} is no method; {', '.join(sorted(METHODS))} or WEBSOCKET")
    methods = {method, "HEAD"} if method == "GET" else {method}
    return Public(path, frozenset(methods), under=under)
