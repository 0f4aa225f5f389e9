"""How a route is cached, what tells its questions apart, and how long an answer may be kept. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl
from zlib import crc32

from tocsin.asgi.cache.conditions import date_of
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
_PATHS: Final = 4096
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
        """The tags of a request's answer, and that of its path."""
        return (*(self.tags(scope) if callable(self.tags) else self.tags), path_tag(scope["path"]))


def path_tag(path: str) -> str:
    """What a change of `path` makes void: https://www.rfc-editor.org/rfc/rfc9111#section-4.4
    One of so many: paths are without end, and what is void without need is made anew."""
    return f"path:{crc32(path.encode('utf-8', 'surrogatepass')) % _PATHS}"


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
    age: int = 0
    """Seconds it had already: the application had it of another cache."""


def keeping_of(
    rule: Rule, status: int, headers: Iterable[tuple[bytes, bytes]], *, owned: bool, wall: Callable[[], Seconds]
) -> Keeping:
    """What the rule and the answer itself allow; `wall` is asked where the answer bears no Date."""
    lasts = rule.ttl if status in KEPT else rule.missing if status in _MISSING else 0.0
    if lasts <= 0:
        return Keeping()
    said: dict[bytes, bytes] = {}
    for name, value in headers:
        lowered, value = bytes(name).lower(), bytes(value)
        if lowered == b"set-cookie":
            return Keeping()
        # Several lines are one list: https://www.rfc-editor.org/rfc/rfc9110#section-5.3
        said[lowered] = b"%s,%s" % (said[lowered], value) if lowered in _LISTS and lowered in said else value
    varies: set[bytes] = set()
    if b"vary" in said:
        varies = {part.strip().lower() for part in said[b"vary"].split(b",")} - {b""}
        if not varies <= ({*_VARY, *_WHO} if owned else {*_VARY}):
            return Keeping()
    directives = _directives(said[b"cache-control"]) if b"cache-control" in said else {}
    age = age_of(said[b"age"]) if b"age" in said else 0
    return Keeping(
        lasts=min(lasts, _allowed(directives, said, owned=owned, wall=wall) - age),
        stale=min(rule.stale, _stale(directives, owned=owned)) if status in KEPT else 0.0,
        by_cookie=b"cookie" in varies,
        age=age,
    )


_LISTS: Final = frozenset({b"cache-control", b"vary"})
_EXACT: Final = frozenset({"must-revalidate", "proxy-revalidate"})
"""Never stale: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.2"""


def age_of(value: bytes) -> int:
    """Of an `Age` header, in seconds; nonsense is none."""
    return int(value) if value.isdigit() and len(value) < 12 else 0


def asked_with(scope: Scope) -> Container[str]:
    """The directives of a request's Cache-Control."""
    lines = [value for name, value in scope["headers"] if name == b"cache-control"]
    return _directives(b",".join(lines)) if lines else ()


def _directives(control: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in control.decode("latin-1").lower().split(","):
        name, _, value = part.strip().partition("=")
        # Said twice, the first counts: https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
        found.setdefault(name, value.strip('"'))
    return found


def _allowed(
    directives: Mapping[str, str], said: Mapping[bytes, bytes], *, owned: bool, wall: Callable[[], Seconds]
) -> Seconds:
    """How long from when it was made at first: https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1"""
    if "no-store" in directives or "no-cache" in directives or ("private" in directives and not owned):
        return 0.0
    if not owned and "s-maxage" in directives:
        return _seconds(directives["s-maxage"])
    if "max-age" in directives:
        return _seconds(directives["max-age"])
    if b"expires" not in said:
        return float("inf")
    expires, made = date_of(said[b"expires"]), date_of(said.get(b"date", b""))
    return expires - (wall() if made is None else made) if expires is not None else 0.0


def _stale(directives: Mapping[str, str], *, owned: bool) -> Seconds:
    """How much longer: https://www.rfc-editor.org/rfc/rfc5861#section-3"""
    if not _EXACT.isdisjoint(directives) or (not owned and "s-maxage" in directives):
        return 0.0
    said = directives.get("stale-while-revalidate")
    return float("inf") if said is None else _seconds(said)


def _seconds(value: str) -> Seconds:
    return float(value) if value.isascii() and value.isdigit() else 0.0  # nonsense is not kept
