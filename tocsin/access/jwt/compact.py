"""What is looked at before any key is: the size, the shape and the header of a token.

PyJWT is lenient where a stranger's token should cost nothing: it parses megabytes, takes `==` at the end of a segment,
any `typ`, and headers that name a key of the sender's own (jku, jwk, x5u). All of those end here.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Any, Final

import orjson

from tocsin.access.verdicts import Reason, Unproven

_BASE64URL: Final = (ascii_letters + digits + "-_").encode()
_UNWANTED: Final = frozenset({"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc", "cty"})
"""Each changes where the key comes from or what the bytes mean; Supabase sends none."""
_MOST_KID: Final = 256


@dataclass(frozen=True, slots=True)
class Header:
    """What chooses the key."""

    alg: str
    kid: str
    """Empty where the token names none."""


def read_header(token: str, most_bytes: int, algorithms: frozenset[str]) -> Header | Unproven:
    """The header of a compact token whose `alg` is one of `algorithms`; nothing of it is proven yet."""
    if len(token) > most_bytes:
        return Unproven(reason=Reason.TOO_LONG, because=f"{len(token)} characters; at most {most_bytes} are read")
    parts = token.split(".", 3)
    # What is left without the alphabet: exactly the two dots between three parts.
    rest = token.encode("ascii").translate(None, _BASE64URL) if token.isascii() else b""
    if rest != b".." or not all(parts):
        return Unproven(reason=Reason.MALFORMED, because="not three base64url parts")
    header = _object(parts[0])
    if header is None:
        return Unproven(reason=Reason.MALFORMED, because="the header is not a JSON object")
    return _checked(header, algorithms)


def _checked(header: dict[str, Any], algorithms: frozenset[str]) -> Header | Unproven:
    if unwanted := _UNWANTED & header.keys():
        return Unproven(reason=Reason.UNWANTED_HEADER, because=f"the header has {', '.join(sorted(unwanted))}")
    if header.get("typ", "JWT") != "JWT":
        return Unproven(reason=Reason.ODD_TYPE, because="the header's typ is not JWT")
    alg, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(alg, str) or alg not in algorithms:
        wanted = ", ".join(sorted(algorithms))
        return Unproven(reason=Reason.WRONG_ALGORITHM, because=f"the token's alg is not {wanted}")
    if not isinstance(kid, str) or len(kid) > _MOST_KID:
        return Unproven(reason=Reason.MALFORMED, because="the header's kid is not a short text")
    return Header(alg, kid)


def _object(segment: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, ValueError):
        return None
    return found if isinstance(found, dict) else None
