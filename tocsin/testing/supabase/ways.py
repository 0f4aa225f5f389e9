"""The other ways to sign in to the stand-in: a code by e-mail, OAuth with PKCE, a TOTP code as second factor.

No mail is sent and no provider is asked: `codes` holds what would have been mailed, and /authorize sends the browser
straight back, signed in as `oauth_user`. TOTP is RFC 6238 over HMAC-SHA1, 30 s, 6 digits, a step either way.

Source: supabase/auth, internal/api/otp.go, verify.go, external.go, pkce.go, mfa.go.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
import uuid
from dataclasses import dataclass, field
from typing import Final

from tocsin.testing.supabase.accounts import Accounts, User
from tocsin.testing.supabase.refusals import AuthRefusal

CODE_LIFE: Final = 3600.0
FLOW_LIFE: Final = 300.0
_STEP: Final = 30


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A browser on its way to a provider and back."""

    user: User
    challenge: str
    until: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(kw_only=True)
class Challenge:
    """A second factor that was asked for."""

    user: User
    factor: str
    until: float
    address: str = ""
    verified_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class MailedCode:
    """What would have been mailed."""

    user: User
    text: str
    until: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Ways:
    """What is under way."""

    accounts: Accounts
    codes: dict[str, MailedCode] = field(default_factory=dict)
    """By address."""
    flows: dict[str, Flow] = field(default_factory=dict)
    """By code."""
    challenges: dict[str, Challenge] = field(default_factory=dict)
    """By id; those that were answered too."""

    def mail_code(self, email: str, now: float) -> User:
        """Raises AuthRefusal for an unknown address: no user is made here."""
        user = self.accounts.by_email(email)
        if user is None:
            raise AuthRefusal(422, "otp_disabled", "Signups not allowed for otp")
        if user.banned:
            raise AuthRefusal(403, "user_banned", "User is banned")
        self.codes[user.email] = MailedCode(user=user, text=f"{secrets.randbelow(1_000_000):06}", until=now + CODE_LIFE)
        return user

    def by_code(self, email: str, code: str, now: float) -> User:
        """Raises AuthRefusal; a code is good once."""
        user = self.accounts.by_email(email)
        sent = self.codes.get(email.lower())
        right = sent is not None and now < sent.until and hmac.compare_digest(sent.text.encode(), code.encode())
        if user is None or not right:
            raise AuthRefusal(
                403, "otp_expired", "Token has expired or is invalid", internal="token has expired or is invalid"
            )
        del self.codes[user.email]
        return user

    def begin_flow(self, user: User, challenge: str, now: float) -> str:
        """The code with which the browser is sent back."""
        code = str(uuid.uuid4())
        self.flows[code] = Flow(user=user, challenge=challenge, until=now + FLOW_LIFE)
        return code

    def end_flow(self, code: str, verifier: str, now: float) -> User:
        """Raises AuthRefusal; a code is good once, and for who has the verifier."""
        flow = self.flows.pop(code, None)
        if flow is None or now >= flow.until:
            raise AuthRefusal(404, "flow_state_not_found", "invalid flow state, no valid flow state found")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if not hmac.compare_digest(digest, flow.challenge):
            raise AuthRefusal(400, "bad_code_verifier", "code challenge does not match previously saved code verifier")
        return flow.user

    def challenge(self, user: User, factor: str, now: float, address: str = "") -> str:
        """Raises AuthRefusal for a factor that isn't the user's."""
        if not user.totp or factor != user.factor_id:
            raise AuthRefusal(404, "mfa_factor_not_found", "Factor not found")
        id = str(uuid.uuid4())
        self.challenges[id] = Challenge(user=user, factor=factor, until=now + FLOW_LIFE, address=address)
        user.challenged_at = now
        return id

    def answer(self, user: User, factor: str, challenge: str, code: str, now: float) -> None:
        """Raises AuthRefusal."""
        known = self.challenges.get(challenge)
        good = known is not None and known.verified_at is None and now < known.until
        if known is None or not good or known.factor != factor or factor != user.factor_id:
            raise AuthRefusal(422, "mfa_challenge_expired", "MFA factor with the provided challenge ID not found")
        if not any(hmac.compare_digest(totp(user.totp, now + step * _STEP), code) for step in (-1, 0, 1)):
            raise AuthRefusal(422, "mfa_verification_failed", "Invalid TOTP code entered")
        known.verified_at = now


def totp(secret: str, at: float) -> str:
    """The code of a base32 secret at a time."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(at) // _STEP), hashlib.sha1)
    offset = digest[-1] & 15
    return f"{(struct.unpack_from('>I', digest, offset)[0] & 0x7FFFFFFF) % 1_000_000:06}"
