"""How a route is cached, what tells its questions apart, and how long an answer may be kept. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from tocsin.asgi.call import Scope
from tocsin.model import Seconds

KEPT: Final = frozenset({200, 203, 204, 301})
_MISSING: Final = frozenset({404, 410})
_VARY: Final = (b"accept", b"accept-encoding", b"accept-language", b"origin")
"""The request's headers that are part of the key."""
_WHO: Final = frozenset({b"authorization", b"cookie"})


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
        if name in headers and name in (*_VARY, b"host"):
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
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        query = tuple(sorted(pair for pair in pairs if pair[0] in rule.query))
    where = (scope.get("scheme"), headers.get(b"host"), scope.get("root_path", ""), scope["path"])
    return (owned, who, where, query, tuple(headers.get(name) for name in _VARY)), owned


def lasts_of(rule: Rule, status: int, headers: Iterable[tuple[bytes, bytes]], *, owned: bool) -> Seconds:
    """How long an answer may be kept; 0: not at all."""
    lasts = rule.ttl if status in KEPT else rule.missing if status in _MISSING else 0.0
    for name, value in headers:
        lowered = bytes(name).lower()
        if lowered == b"set-cookie":
            return 0.0
        if lowered == b"cache-control":
            lasts = min(lasts, _allowed(bytes(value).decode("latin-1").lower(), owned=owned))
        if lowered == b"vary":
            names = {part.strip().lower() for part in bytes(value).split(b",")}
            if not names <= ({*_VARY, *_WHO} if owned else {*_VARY}):
                return 0.0
    return lasts


def _allowed(control: str, *, owned: bool) -> Seconds:
    directives: dict[str, Any] = {}
    for part in control.split(","):
        name, _, value = part.strip().partition("=")
        directives[name] = value.strip('"')
    if "no-store" in directives or "no-cache" in directives or ("private" in directives and not owned):
        return 0.0
    ages = [
        directives[name] for name in ("s-maxage", "max-age") if name in directives and not (owned and name[0] == "s")
    ]
    return float(ages[0]) if ages and ages[0].isdigit() else float("inf")
