"""What Supabase gives who signed in: an access token, and a refresh token for the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """The tokens of a sign-in. Never shown to the browser, and never logged."""

    access_token: str
    refresh_token: str
    expires_at: datetime
    email: str = ""
    """The user's, as the answer says it; not kept when it is sealed."""
    factors: tuple[str, ...] = ()
    """Ids of the user's verified TOTP factors: with one, the password alone is half a sign-in."""

    def __repr__(self) -> str:
        return f"Grant(expires_at={self.expires_at.isoformat()})"

    def sealed_text(self) -> bytes:
        """What is sealed and stored."""
        return orjson.dumps([self.access_token, self.refresh_token, self.expires_at.timestamp(), list(self.factors)])

    @classmethod
    def of_sealed(cls, text: bytes) -> Grant:
        """What was stored."""
        access, refresh, expires, factors = orjson.loads(text)
        return cls(
            access_token=access,
            refresh_token=refresh,
            expires_at=datetime.fromtimestamp(expires, UTC),
            factors=tuple(factors),
        )

    @classmethod
    def of_answer(cls, body: Any, now: datetime) -> Grant | None:
        """From the answer of /token or /verify; None where it is not one."""
        if not isinstance(body, dict):
            return None
        access, refresh, life = body.get("access_token"), body.get("refresh_token"), body.get("expires_in")
        if not isinstance(access, str) or not isinstance(refresh, str) or not access or not refresh:
            return None
        if isinstance(life, bool) or not isinstance(life, (int, float)) or not 0 < life <= 10_000_000:
            return None
        user = body.get("user")
        user = user if isinstance(user, dict) else {}
        listed, email = user.get("factors"), user.get("email")
        factors = tuple(
            factor["id"]
            for factor in (listed if isinstance(listed, list) else ())
            if isinstance(factor, dict)
            and factor.get("status") == "verified"
            and factor.get("factor_type") == "totp"
            and isinstance(factor.get("id"), str)
        )
        expires = datetime.fromtimestamp(now.timestamp() + life, UTC)
        return cls(access_token=access, refresh_token=refresh, expires_at=expires, factors=factors,
                   email=email if isinstance(email, str) else "")  # fmt: skip
