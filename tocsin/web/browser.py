"""What makes a browser safe to serve: headers, cookies, where a request comes from, where one may be sent next.

Cookies are `__Host-`: Secure, for this host only, the whole path. Browsers hold http://127.0.0.1 and http://localhost
to be secure and keep them there (Chromium and Firefox do, Safari doesn't); from another machine the port is reached by
https, behind a proxy, or no cookie is kept and nobody signs in. Cookies don't know ports: another program that serves
HTTP on this very host is sent them too, if somebody's browser goes there.

The policy allows no inline script and no inline style: scripts are files under /static/.

Sources: https://fetch.spec.whatwg.org/#sec-fetch-site-header, RFC 6265bis §4.1.3.2 (`__Host-`), CSP Level 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

SESSION_COOKIE: Final = "__Host-tocsin"
LOGIN_COOKIE: Final = "__Host-tocsin-login"
"""Binds the steps of one sign-in to one browser; gives access to nothing."""
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MOST_COOKIE: Final = 4096

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # `no-referrer` would make a form's Origin `null`, and Origin is looked at.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)
"""On every answer, unless the answer has its own."""
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


def hardened(message: Message, *, https: bool, also: Mapping[str, str]) -> Message:
    """An answer's start with the headers it lacks, and those of `also`."""
    given = list(message.get("headers", ()))
    there = {name.lower() for name, _ in given}
    wanted = (*HEADERS, *((_HSTS,) if https else ()), *((name.lower().encode(), also[name].encode()) for name in also))
    return {**message, "headers": [*given, *((name, value) for name, value in wanted if name not in there)]}


def cookie_of(request: Request, name: str) -> str:
    """The value of a cookie; empty when there is none, or more than one of that name."""
    found = []
    for header in request.headers.getlist("cookie"):
        for part in header.split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                found.append(value)
    # A second one was put there by somebody else: neither is believed.
    return found[0] if len(found) == 1 and len(found[0]) <= _MOST_COOKIE else ""


def set_cookie(response: Response, name: str, value: str, *, lifetime: float | None = None) -> None:
    """Give the browser a cookie; without `lifetime`, until it is closed."""
    age = None if lifetime is None else max(0, int(lifetime))
    response.set_cookie(name, value, max_age=age, path="/", secure=True, httponly=True, samesite="lax")


def drop_cookie(response: Response, name: str) -> None:
    """Take it back."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def is_from_here(request: Request, origin: str) -> bool:
    """True when a page of this console made the request: by Origin, and by Sec-Fetch-Site where it is sent.

    `origin` is the console's own (external_url's); without one it is what the Host header says. Every browser of today
    sends Origin with an unsafe method, so a request without it is nobody's page.
    """
    site = request.headers.getlist("sec-fetch-site")
    if site and site != ["same-origin"]:
        return False
    given = request.headers.getlist("origin")
    if len(given) != 1:
        return False
    if origin and given[0] == origin:
        return True
    parts = urlsplit(given[0])
    return parts.scheme in ("http", "https") and parts.netloc != "" and parts.netloc == request.headers.get("host")


def origin_of(url: str) -> str:
    """scheme://host[:port] of an address; empty for an empty one."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def safe_next(target: str) -> str:
    """Where to go after signing in: a path of this console, else `/`."""
    # Browsers read `\` as `/`, drop tabs and line ends, and take `//host` for another host.
    plain = target.isascii() and target.isprintable() and "\\" not in target and len(target) <= 2000
    if not plain or not target.startswith("/") or target.startswith("//"):
        return "/"
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or parts.path.split("/")[1] in ("login", "logout"):
        return "/"
    return target


def is_persons(request: Request) -> bool:
    """True when what is answered is shown to a person as a page: a link that was followed, a form that was sent."""
    mode = request.headers.get("sec-fetch-mode", "navigate")
    return "text/html" in request.headers.get("accept", "") and mode == "navigate"


def is_navigation(request: Request) -> bool:
    """True when a person's browser asks for a page: it is shown the way in instead of a problem."""
    return request.method in ("GET", "HEAD") and is_persons(request)
