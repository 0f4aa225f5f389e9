"""Service tokens: what Grafana, Prometheus and scripts show to be let in.

A token reads `tocsin_<id>_<secret>`: the id finds the row, the secret (256 random bits) proves it. Only the SHA-256 of
the secret is stored. A slow hash would add nothing: nobody guesses 256 bits, and each request pays for it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

PREFIX: Final = "tocsin"


class Scope(StrEnum):
    """What a token may do; `admin` implies the others."""

    METRICS_READ = "metrics:read"
    QUERY_READ = "query:read"
    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    INCIDENTS_WRITE = "incidents:write"
    ALLOWLIST_READ = "allowlist:read"
    ALLOWLIST_WRITE = "allowlist:write"
    INGEST_WRITE = "ingest:write"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceToken:
    """What is stored of a token."""

    id: str
    digest: str
    """SHA-256 of the secret, hexadecimal."""
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    note: str = ""


def mint(
    scopes: Iterable[Scope], now: datetime, *, expires_at: datetime | None = None, note: str = ""
) -> tuple[str, ServiceToken]:
    """(the clear token, shown once; what to store)."""
    ident, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = ServiceToken(
        id=ident, digest=_digest(secret), scopes=frozenset(scopes), created_at=now, expires_at=expires_at, note=note
    )
    return f"{PREFIX}_{ident}_{secret}", row


def token_id(clear: str) -> str | None:
    """The id inside a clear token; None when it is not of our form (nothing need be looked up then)."""
    parts = clear.split("_", 2)
    if len(clear) > 128 or len(parts) != 3 or parts[0] != PREFIX or not parts[1] or not parts[2]:
        return None
    return parts[1]


def is_valid(clear: str, row: ServiceToken, now: datetime) -> bool:
    """True when `clear` is `row`'s token and it is neither expired nor revoked."""
    if token_id(clear) != row.id or not hmac.compare_digest(_digest(clear.split("_", 2)[2]), row.digest):
        return False
    return row.revoked_at is None and (row.expires_at is None or now < row.expires_at)


def allows(row: ServiceToken, scope: Scope) -> bool:
    """True when the token's scopes cover `scope`."""
    return scope in row.scopes or Scope.ADMIN in row.scopes


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
