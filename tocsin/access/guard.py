"""The guard: ASGI middleware in front of a whole application. Nothing passes unproven but what is public by name.

    app = Guard(app, door, clock, public=[Public("/healthz"), Public("/static/", under=True)])
    admitted(scope)        # inside: the Admitted, or None on a public path

A path that isn't there is refused like one that is, so a stranger learns no routes. A WebSocket is refused before it is
accepted. Answers are RFC 9457 problems of one text per status: why somebody was refused is for the log
(`access.refused`), because each detail would help whoever tries tokens.

CORS preflights carry no credential by design: answer them in front of the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from tocsin.access.allowlist import Role
from tocsin.access.allowlist.entry import rank
from tocsin.access.door import Admits, Admitted
from tocsin.access.verdicts import NotAllowed, Reason, Refusal, Unavailable, Unproven
from tocsin.ports import Clock

SCOPE_KEY: Final = "tocsin.admitted"
_READING: Final = frozenset({"GET", "HEAD"})
_DETAILS: Final = {
    401: ("Unauthorized", "Sign in, and send the access token as one Authorization: Bearer header."),
    403: ("Forbidden", "You are not allowed to do this."),
    503: ("Service Unavailable", "Access can't be checked at the moment. Try again soon."),
}
_REASONS_WITHOUT_TOKEN: Final = frozenset({Reason.NO_CREDENTIAL, Reason.SEVERAL_CREDENTIALS, Reason.NOT_BEARER})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Public:
    """What anybody may ask for."""

    path: str
    """Exactly this path, as the application sees it."""
    methods: frozenset[str] = _READING
    under: bool = False
    """Everything below `path`, which ends with `/`; for static files."""

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or (self.under and (not self.path.endswith("/") or self.path == "/")):
            raise ValueError(f"{self.path!r}: a public path begins with /, and a folder ends with / and is not all")

    def covers(self, method: str, path: str) -> bool:
        """True for a request that needs no credential."""
        if method not in self.methods or not path.startswith(self.path):
            return False
        if not self.under:
            return path == self.path
        # What a file server might read as another folder is not below this one.
        parts = path.split("/")[1:]
        plain = not any(part in ("", ".", "..") for part in parts[:-1]) and parts[-1] not in (".", "..")
        return plain and not any(sign in path for sign in "\\%\0")


def admitted(scope: Scope) -> Admitted | None:
    """Who the request is from; None on a public path."""
    found: Any = scope.get(SCOPE_KEY)
    return found if isinstance(found, Admitted) else None


class Guard:
    """Asks the door for each request."""

    def __init__(
        self,
        app: ASGIApp,
        door: Admits,
        clock: Clock,
        *,
        public: Iterable[Public] = (),
        needs: Callable[[str, str], Role | None] = lambda method, path: None,
        realm: str = "tocsin",
        refused: Callable[[Refusal, Scope], None] | None = None,
    ) -> None:
        """`needs` gives the least role for a method and path, None where being on the list is enough. `refused` is
        told of each refusal before it is answered, instead of a log line for each."""
        if not realm.isascii() or not realm.isprintable() or '"' in realm or "\\" in realm:
            raise ValueError("the realm is printable ASCII without quotes")
        self._app = app
        self._door = door
        self._clock = clock
        self._public = tuple(public)
        self._needs = needs
        self._realm = realm
        self._refused = refused or _log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server's caller must not be able to bring its own answer.
        scope.pop(SCOPE_KEY, None)
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        method = _method(scope)
        if self._public and any(public.covers(method, scope["path"]) for public in self._public):
            await self._app(scope, receive, send)
            return
        verdict = await self._door.admit(scope["headers"], self._clock.now())
        if isinstance(verdict, Admitted) and (needed := self._needs(method, scope["path"])) is not None:
            verdict = _with_role(verdict, needed)
        if isinstance(verdict, Admitted):
            scope[SCOPE_KEY] = verdict
            await self._app(scope, receive, send)
        else:
            self._refused(verdict, scope)
            await self._refuse(verdict, scope, send)

    async def _refuse(self, refusal: Refusal, scope: Scope, send: Send) -> None:
        title, detail = _DETAILS[refusal.status]
        body = orjson.dumps({"type": "about:blank", "title": title, "status": refusal.status, "detail": detail})
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if isinstance(refusal, Unproven):
            headers.append((b"www-authenticate", self._challenge(refusal)))
        if isinstance(refusal, Unavailable):
            headers.append((b"retry-after", str(max(1, round(refusal.retry_after))).encode()))
        kind = "http.response"
        if scope["type"] == "websocket":
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: servers answer 403
                return
            kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
        if scope.get("method") == "HEAD":
            body = b""
        await send({"type": f"{kind}.body", "body": body})

    def _challenge(self, refusal: Unproven) -> bytes:
        """RFC 6750 §3: `invalid_token` when there was one, whatever is wrong with it."""
        error = "" if refusal.reason in _REASONS_WITHOUT_TOKEN else ', error="invalid_token"'
        return f'Bearer realm="{self._realm}"{error}'.encode("ascii")


def _with_role(verdict: Admitted, needed: Role) -> Admitted | NotAllowed:
    if rank(verdict.role) >= rank(needed):
        return verdict
    because = f"{verdict.role or 'no role'}, and {needed.value} is asked"
    return NotAllowed(reason=Reason.ROLE_TOO_LOW, because=because, sub=verdict.principal.sub)


def _method(scope: Scope) -> str:
    return str(scope["method"]) if scope["type"] == "http" else "WEBSOCKET"


def _log(refusal: Refusal, scope: Scope) -> None:
    # Neither token nor address nor path: the line is written by whoever asks.
    log.info(
        "access.refused",
        status=refusal.status,
        reason=refusal.reason.value,
        because=refusal.because,
        sub=refusal.sub,
        method=_method(scope),
    )
