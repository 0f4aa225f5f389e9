"""Is this call really from Supabase Auth? Standard Webhooks, as GoTrue sends them.

    verify(headers, body, parse_secrets(text), now)      # None, or an Unproven with the reason

The signature is HMAC-SHA256 over `id.timestamp.body`, in base64, as `v1,…`. While a secret is rotated GoTrue signs with
each and joins the signatures with ", ", where the specification has a blank; both are read. A secret is
`v1,whsec_` and base64; several are joined with "|". A timestamp more than five minutes off is a replay.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from tocsin.access.verdicts import Reason, Unproven
from tocsin.model import Seconds

TOLERANCE: Final[Seconds] = 300.0
LEAST_SECRET_BYTES: Final = 24
MOST_SIGNATURES: Final = 20
_SECRET: Final = re.compile(r"(?:v1,)?whsec_([A-Za-z0-9+/]+={0,2})", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_V1: Final = re.compile(r"(?<![A-Za-z0-9+/=])v1,[A-Za-z0-9+/]+={0,2}", re.ASCII)
"""Each signature of a header, whatever stands between them."""
_ID: Final = re.compile(r"[!-~]{1,256}", re.ASCII)
_NEEDED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """The keys in `v1,whsec_…|v1,whsec_…`. Raises ValueError that does not quote them."""
    keys = []
    for number, part in enumerate(text.split("|"), 1):
        match = _SECRET.fullmatch(part.strip())
        try:
            key = b64decode(match[1], validate=True) if match else b""
        except binascii.Error:
            key = b""
        if len(key) < LEAST_SECRET_BYTES:
            raise ValueError(
                f"webhook secret {number} is not v1,whsec_ and base64 of {LEAST_SECRET_BYTES} bytes or more; copy it "
                "whole from the hook's settings"
            )
        keys.append(key)
    return tuple(keys)


def sign(id: str, at: datetime, body: bytes, key: bytes) -> str:
    """The signature of a call, `v1,…`."""
    return _signature(id, str(int(at.timestamp())), body, key)


def verify(headers: Iterable[tuple[str, str]], body: bytes, keys: Sequence[bytes], now: datetime) -> Unproven | None:
    """None when one of `keys` signed this body lately; each header must be there once."""
    found: dict[str, str] = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered in _NEEDED and lowered in found:
            return Unproven(reason=Reason.SEVERAL_CREDENTIALS, because=f"{lowered} is there twice")
        found[lowered] = value
    if missing := [name for name in _NEEDED if not found.get(name)]:
        return Unproven(reason=Reason.NO_CREDENTIAL, because=f"no {missing[0]}")
    id, sent, signatures = (found[name] for name in _NEEDED)
    if not _ID.fullmatch(id) or not _TIMESTAMP.fullmatch(sent):
        return Unproven(reason=Reason.MALFORMED, because="webhook-id or webhook-timestamp has no such form")
    age = now.timestamp() - int(sent)
    if age > TOLERANCE:
        return Unproven(reason=Reason.EXPIRED, because=f"sent {age:.0f} s ago: a replay, or a queue in between")
    if age < -TOLERANCE:
        return Unproven(reason=Reason.FROM_THE_FUTURE, because=f"sent {-age:.0f} s ahead: compare the clocks")
    expected = [_signature(id, sent, body, key).encode() for key in keys]
    # Every pair is compared, each in constant time: how long it takes says nothing of which key it was.
    hits = [
        hmac.compare_digest(given.encode(), other)
        for given in _V1.findall(signatures)[:MOST_SIGNATURES]
        for other in expected
    ]
    if any(hits):
        return None
    return Unproven(reason=Reason.BAD_SIGNATURE, because="no signature is of a configured secret")


def _signature(id: str, timestamp: str, body: bytes, key: bytes) -> str:
    digest = hmac.digest(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{b64encode(digest).decode()}"
