"""What the claims of an access token must say, over and above a good signature.

Claims: https://supabase.com/docs/guides/auth/jwt-fields. What is checked here and not by PyJWT: the subject and the
session are UUIDs, the role is a person's, the token is neither anonymous nor a third party's, and it does not live
longer than is configured. There is no `email_verified` claim, and `user_metadata` is written by the user: neither is
read.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tocsin.access.verdicts import NotAllowed, Principal, Reason, Refusal, Unproven
from tocsin.model import Seconds

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_NIL: Final = "00000000-0000-0000-0000-000000000000"
_LATEST: Final = 253_402_300_799
"""The last second a datetime can hold."""
_LEVELS: Final = ("aal1", "aal2", "aal3")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPolicy:
    """What is asked of a token. The defaults are Supabase's own."""

    issuer: str | None
    """Exactly this `iss`, `https://REF.supabase.co/auth/v1`. None takes any, and is warned of: the keys alone say then
    which project a token is of."""
    audience: str = "authenticated"
    """Exactly this `aud`, as a string: clients influence it, so a list of several is refused."""
    roles: frozenset[str] = frozenset({"authenticated"})
    """Database roles of people. The API keys of a project are tokens too, with roles anon and service_role."""
    max_lifetime: Seconds = 3600.0
    """The longest `exp - iat`: a stolen token is worth something for no longer."""
    leeway: Seconds = 30.0
    """How far our clock and Supabase's may lie apart."""
    max_bytes: int = 8192
    """Longer tokens are not parsed."""
    least_aal: str = "aal1"
    """`aal2` asks for a second factor."""

    def __post_init__(self) -> None:
        if self.least_aal not in _LEVELS:
            raise ValueError(f"least_aal is one of {', '.join(_LEVELS)}, not {self.least_aal!r}")
        if self.roles & {"anon", "service_role"}:
            raise ValueError("anon and service_role are API keys, not people: whoever has the page has the first")
        if self.max_lifetime <= 0 or self.leeway < 0 or self.max_bytes < 512:
            raise ValueError("max_lifetime must be above 0, leeway not below 0, max_bytes 512 or more")

    def judge(self, claims: dict[str, Any], now: datetime) -> Principal | Refusal:
        """Who the claims of a token with a good signature speak for."""
        return (
            self._wrong_place(claims) or self._wrong_time(claims, now) or self._nobody(claims) or self._person(claims)
        )

    def _wrong_place(self, claims: dict[str, Any]) -> Refusal | None:
        if self.issuer is not None and claims.get("iss") != self.issuer:
            return Unproven(reason=Reason.WRONG_ISSUER, because=f"iss is not {self.issuer}")
        if claims.get("aud") != self.audience:
            return Unproven(reason=Reason.WRONG_AUDIENCE, because=f"aud is not the string {self.audience!r}")
        return None

    def _wrong_time(self, claims: dict[str, Any], now: datetime) -> Refusal | None:
        at = now.timestamp()
        issued, expires = _instant(claims.get("iat")), _instant(claims.get("exp"))
        if issued is None or expires is None:
            return Unproven(reason=Reason.MALFORMED, because="iat and exp are not both times")
        if at >= expires + self.leeway:
            return Unproven(reason=Reason.EXPIRED, because=f"expired {at - expires:.0f} s ago")
        begins = _instant(claims["nbf"]) if "nbf" in claims else issued
        if begins is None or max(issued, begins) > at + self.leeway:
            return Unproven(reason=Reason.FROM_THE_FUTURE, because="iat or nbf is ahead: compare the clocks")
        if expires - issued > self.max_lifetime:
            why = f"it lives {expires - issued:.0f} s, more than the {self.max_lifetime:.0f} s allowed (max_lifetime)"
            return Unproven(reason=Reason.LIVES_TOO_LONG, because=why)
        return None

    def _nobody(self, claims: dict[str, Any]) -> Refusal | None:
        """API keys, tokens of no session, and the like: signed, but nobody's."""
        role = claims.get("role")
        if not isinstance(role, str) or role not in self.roles:
            return Unproven(reason=Reason.WRONG_ROLE, because=f"the role is not {', '.join(sorted(self.roles))}")
        if not _is_uuid(claims.get("sub")):
            return Unproven(reason=Reason.NO_SUBJECT, because="sub is not a user's id")
        if not _is_uuid(claims.get("session_id")):
            return Unproven(reason=Reason.NO_SESSION, because="session_id is missing: the token is of no sign-in")
        return None

    def _person(self, claims: dict[str, Any]) -> Principal | Refusal:
        sub = claims["sub"].lower()
        if claims.get("is_anonymous", False) is not False:
            return NotAllowed(reason=Reason.ANONYMOUS, because="an anonymous sign-in", sub=sub)
        if claims.get("client_id") not in (None, ""):
            # Tokens that a user gave a third-party OAuth client have our audience too.
            return NotAllowed(reason=Reason.THIRD_PARTY, because="issued to an OAuth client (client_id)", sub=sub)
        email, aal = claims.get("email", ""), claims.get("aal")
        if not isinstance(email, str):
            return Unproven(reason=Reason.MALFORMED, because="email is not a text", sub=sub)
        level = aal if aal in _LEVELS else _LEVELS[0]
        if _LEVELS.index(level) < _LEVELS.index(self.least_aal):
            return NotAllowed(reason=Reason.WEAK_SIGN_IN, because=f"{level}, and {self.least_aal} is asked", sub=sub)
        return Principal(
            sub=sub,
            email=email,
            role=claims["role"],
            aal=level,
            session_id=claims["session_id"].lower(),
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            methods=_methods(claims.get("amr")),
        )


def _instant(value: Any) -> float | None:
    """Seconds since the epoch; None for what is no time. A bool is an int to Python, and no time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) and 0 <= value <= _LATEST else None


def _is_uuid(value: Any) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value.lower()) is not None and value != _NIL


def _methods(amr: Any) -> tuple[str, ...]:
    """`amr` is a list of {method, timestamp}, or by a hook's leave of plain texts."""
    found = (
        [entry.get("method") if isinstance(entry, dict) else entry for entry in amr] if isinstance(amr, list) else []
    )
    return tuple(method for method in found if isinstance(method, str))
