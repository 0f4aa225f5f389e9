"""How a route is cached, what tells its questions apart, and how long an answer may be kept. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from tocsin.asgi.call import Scope
from tocsin.model import Seconds

KEPT: Final = frozenset({200, 203, 204, 301})
_MISSING: Final = frozenset({404, 410})
_VARY: Final = (b"accept", b"accept-encoding", b"accept-language", b"origin")
"""The request's headers that are part of the key."""
_FORWARDED: Final = (
    b"forwarded",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
)
"""Part of the key too: an application may build its links of them, and a client may send them."""
_WHO: Final = frozenset({b"authorization", b"cookie"})
_ONCE: Final = frozenset({*_VARY, *_FORWARDED, b"host"})
_OTHERWISE: Final = frozenset(
    {
        b"range", b"if-range", b"if-match", b"if-unmodified-since",
        b"x-original-url", b"x-rewrite-url", b"x-http-method-override",
    }
)  # fmt: skip
"""What asks for a part, for a check, or for something else than path and method say: the application's to answer."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a route is cached."""

    ttl: Seconds
    stale: Seconds = 0.0
    missing: Seconds = 0.0
    shared: bool = False
    """One answer for everybody who may ask: true only where it says the same to all."""
    tags: Iterable[str] | Callable[[Scope], Iterable[str]] = ()
    query: frozenset[str] | None = None
    """The parameters that count; None: all do. Without it anybody can fill the cache with ?1, ?2, …"""

    def __post_init__(self) -> None:
        if self.ttl <= 0 or self.stale < 0 or self.missing < 0:
            raise ValueError("ttl is above 0 s, stale and missing are not below")

    def tags_of(self, scope: Scope) -> tuple[str, ...]:
        """The tags of a request's answer."""
        return tuple(self.tags(scope) if callable(self.tags) else self.tags)


def key_of(scope: Scope, rule: Rule) -> tuple[Hashable | None, bool]:
    """(the key, whether it is of one user); None: this request is neither answered from the cache nor kept."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _OTHERWISE or (name in headers and name in _ONCE):
            return None, False  # two hosts, two languages: not ours to guess
        headers[name] = value
    admitted = scope.get("tocsin.admitted")
    if admitted is None and not _WHO.isdisjoint(headers):
        return None, False
    owned = admitted is not None and not rule.shared
    who = str(admitted.principal.sub) if admitted is not None and owned else ""
    if owned and not who:
        return None, False
    query = scope.get("query_string", b"")
    if rule.query is not None:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="surrogateescape")
        # By name only: of two of one name, which comes first may be what counts.
        query = tuple(sorted((pair for pair in pairs if pair[0] in rule.query), key=lambda pair: pair[0]))
    # As it was sent too: %2F is no / for who looks.
    path = (scope.get("root_path", ""), scope["path"], scope.get("raw_path"))
    where = (scope.get("scheme"), headers.get(b"host"), path, tuple(headers.get(name) for name in _FORWARDED))
    return (owned, who, where, query, tuple(headers.get(name) for name in _VARY)), owned


def cookies_of(scope: Scope) -> str:
    """What stands for the request's cookies."""
    sent = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    return hashlib.sha256(sent).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeping:
    """What becomes of an answer."""

    lasts: Seconds = 0.0
    """How long it may be kept; 0: not at all."""
    stale: Seconds = 0.0
    """How much longer it may be given while a new one is made."""
    by_cookie: bool = False
    """To who sends the same cookies only."""


def keeping_of(rule: Rule, status: int, headers: Iterable[tuple[bytes, bytes]], *, owned: bool) -> Keeping:
    """What the rule and the answer itself allow."""
    stale, by_cookie = rule.stale if status in KEPT else 0.0, False
    lasts = rule.ttl if status in KEPT else rule.missing if status in _MISSING else 0.0
    for name, value in headers:
        lowered = bytes(name).lower()
        if lowered == b"set-cookie":
            return Keeping()
        if lowered == b"cache-control":
            directives = _directives(bytes(value).decode("latin-1").lower())
            lasts = min(lasts, _allowed(directives, owned=owned))
            if not _EXACT.isdisjoint(directives):
                stale = 0.0
        if lowered == b"vary":
            names = {part.strip().lower() for part in bytes(value).split(b",")}
            if not names <= ({*_VARY, *_WHO} if owned else {*_VARY}):
                return Keeping()
            by_cookie = by_cookie or b"cookie" in names
    return Keeping(lasts=lasts, stale=stale, by_cookie=by_cookie)


_EXACT: Final = frozenset({"must-revalidate", "proxy-revalidate"})
"""Never stale: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.2"""


def _directives(control: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in control.split(","):
        name, _, value = part.strip().partition("=")
        # Said twice, the first counts: https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
        found.setdefault(name, value.strip('"'))
    return found


def _allowed(directives: dict[str, str], *, owned: bool) -> Seconds:
    if "no-store" in directives or "no-cache" in directives or ("private" in directives and not owned):
        return 0.0
    ages = [
        directives[name] for name in ("s-maxage", "max-age") if name in directives and not (owned and name[0] == "s")
    ]
    if not ages:
        return float("inf")
    return float(ages[0]) if ages[0].isascii() and ages[0].isdigit() else 0.0  # nonsense is not kept
