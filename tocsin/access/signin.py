"""Signing in with Supabase Auth for somebody's browser: password, code by e-mail, OAuth (PKCE), a second factor.

    auth = SupabaseAuth(f"{base}/auth/v1", api_key, session)
    await auth.password(email, password, client, now)       # Grant | SignInRefused | Unavailable | SlowDown

What Supabase says of an unknown address, a wrong password, a wrong code and a ban is one SignInRefused: whoever tries
addresses learns nothing. All sign-ins come from this host's address; with a secret key (sb_secret_…) the browser's own
is sent along (Sb-Forwarded-For), so that Supabase's limits and logs are about the right one.

Endpoints: supabase/auth, openapi.yaml. Errors: X-Supabase-Api-Version 2024-01-01.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

import aiohttp
import orjson
import structlog

from tocsin.access.fetch import HttpAnswer, NoAnswer, post
from tocsin.access.grant import Grant
from tocsin.access.verdicts import Reason, Refusal, Unavailable, Unproven
from tocsin.model import Seconds

MOST_BYTES: Final = 262_144
_LIMITED: Final = "over_"
"""Codes of Supabase's limits begin so: over_request_rate_limit, over_email_send_rate_limit."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignInRefused(Unproven):
    """Supabase said no. The reason is for the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlowDown(Refusal):
    """Supabase's own limit is reached."""

    status: ClassVar[int] = 429


Outcome = Grant | Refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class Verifier:
    """PKCE (RFC 7636): what the browser's way back must be answered with."""

    text: str

    @classmethod
    def fresh(cls) -> Verifier:
        """A new one, of 256 bits."""
        return cls(text=secrets.token_urlsafe(32))

    @property
    def challenge(self) -> str:
        """Its SHA-256, as it is sent ahead."""
        return urlsafe_b64encode(hashlib.sha256(self.text.encode()).digest()).rstrip(b"=").decode()


class SupabaseAuth:
    """The Auth API of one project. `session` is the caller's to close."""

    def __init__(
        self, auth_url: str, api_key: str, session: aiohttp.ClientSession, *, deadline: Seconds = 10.0
    ) -> None:
        self._url = auth_url.rstrip("/")
        self._api_key = api_key
        self._session = session
        self._deadline = deadline

    async def password(self, email: str, password: str, client: str, now: datetime) -> Outcome:
        """Sign in with a password."""
        return await self._grant("/token?grant_type=password", {"email": email, "password": password}, now, client)

    async def send_code(self, email: str, client: str) -> Refusal | None:
        """Send a code by e-mail to somebody who is a user; None whether or not they are one."""
        got = await self._post("/otp", {"email": email, "create_user": False}, client)
        if isinstance(got, Unavailable):
            return got
        refusal = _refusal(got) if got.status != 200 else None
        # An unknown address is 422 otp_disabled: told apart, it would say who is a user.
        return refusal if isinstance(refusal, (Unavailable, SlowDown)) else None

    async def code(self, email: str, code: str, client: str, now: datetime) -> Outcome:
        """Sign in with the code that was sent."""
        return await self._grant("/verify", {"type": "email", "email": email, "token": code}, now, client)

    def authorize_url(self, provider: str, redirect_to: str, verifier: Verifier) -> str:
        """Where a browser goes to sign in with `provider`."""
        query = {
            "provider": provider,
            "redirect_to": redirect_to,
            "code_challenge": verifier.challenge,
            "code_challenge_method": "s256",
        }
        return f"{self._url}/authorize?{urlencode(query)}"

    async def exchange(self, code: str, verifier: Verifier, client: str, now: datetime) -> Outcome:
        """Sign in with the code that a browser came back with."""
        body = {"auth_code": code, "code_verifier": verifier.text}
        return await self._grant("/token?grant_type=pkce", body, now, client)

    async def second_factor(self, grant: Grant, factor: str, code: str, client: str, now: datetime) -> Outcome:
        """Raise a sign-in to aal2 with a TOTP code. Supabase wants challenge and answer from one address."""
        if factor not in grant.factors:
            return SignInRefused(reason=Reason.WEAK_SIGN_IN, because="no such factor")
        got = await self._post(f"/factors/{factor}/challenge", {}, client, bearer=grant.access_token)
        challenge = _object(got).get("id") if isinstance(got, HttpAnswer) and got.status == 200 else None
        if isinstance(got, Unavailable):
            return got
        if not isinstance(challenge, str):
            return _refusal(got)
        body = {"challenge_id": challenge, "code": code}
        return await self._grant(f"/factors/{factor}/verify", body, now, client, bearer=grant.access_token)

    async def renew(self, refresh_token: str, now: datetime) -> Outcome:
        """The next tokens."""
        return await self._grant("/token?grant_type=refresh_token", {"refresh_token": refresh_token}, now, "")

    async def sign_out(self, access_token: str) -> None:
        """End this session and no other. Where Supabase can't be reached it ends when its token does."""
        got = await self._post("/logout?scope=local", {}, "", bearer=access_token)
        if isinstance(got, Unavailable) or got.status not in (204, 401, 403, 404):
            log.warning("console.not_signed_out_upstream", why=getattr(got, "because", "") or "an odd answer")

    async def _grant(self, path: str, body: Mapping[str, Any], now: datetime, client: str, bearer: str = "") -> Outcome:
        got = await self._post(path, body, client, bearer=bearer)
        if isinstance(got, Unavailable):
            return got
        if got.status != 200:
            return _refusal(got)
        found = Grant.of_answer(_object(got), now)
        if found is None:
            return Unavailable(reason=Reason.NO_LIVE_ANSWER, because=f"{path} answered 200 without tokens")
        return found

    async def _post(
        self, path: str, body: Mapping[str, Any], client: str, bearer: str = ""
    ) -> HttpAnswer | Unavailable:
        headers = {"apikey": self._api_key, "X-Supabase-Api-Version": "2024-01-01"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        if client and self._api_key.startswith("sb_secret_"):
            headers["Sb-Forwarded-For"] = client
        try:
            return await post(
                self._session, self._url + path, orjson.dumps(body), headers=headers, deadline=self._deadline,
                most_bytes=MOST_BYTES,
            )  # fmt: skip
        except NoAnswer as error:
            log.warning("console.sign_in_not_answered", why=str(error))
            return Unavailable(reason=Reason.NO_LIVE_ANSWER, because=str(error))


def _object(got: HttpAnswer) -> dict[str, Any]:
    try:
        body = orjson.loads(got.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(got: HttpAnswer) -> Refusal:
    body = _object(got)
    code = body.get("error_code") or body.get("code")
    because = f"Supabase answered {got.status} {code if isinstance(code, str) else ''}".strip()
    if got.status == 429 or (isinstance(code, str) and code.startswith(_LIMITED)):
        return SlowDown(reason=Reason.NO_LIVE_ANSWER, because=because)
    if got.status >= 500:
        return Unavailable(reason=Reason.NO_LIVE_ANSWER, because=because)
    if not isinstance(code, str):
        # Of the gateway, about our key: not a word about who signs in.
        mend = "is web.supabase.api_key right?"
        log.error("console.sign_in_misconfigured", why=because, mend=mend)
        return Unavailable(reason=Reason.NO_LIVE_ANSWER, because=f"{because}: {mend}")
    return SignInRefused(reason=Reason.NO_CREDENTIAL, because=because)
