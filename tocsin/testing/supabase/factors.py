"""Second factors of the stand-in: enrolled, asked for, answered, removed. One TOTP factor a user.

Source: supabase/auth, internal/api/mfa.go.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import TYPE_CHECKING

from aiohttp import web

from tocsin.testing.supabase.refusals import AuthRefusal

if TYPE_CHECKING:
    from tocsin.testing.supabase.exchange import Exchange, Handler
    from tocsin.testing.supabase.server import FakeAuth


class Factors:
    """The handlers. `auth` is whose users they are."""

    def __init__(self, auth: FakeAuth) -> None:
        self._auth = auth

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        """(method, path, handler)."""
        return (
            ("POST", "/factors", self._enrol),
            ("DELETE", "/factors/{factor}", self._remove),
            ("POST", "/factors/{factor}/challenge", self._challenge),
            ("POST", "/factors/{factor}/verify", self._verify),
        )

    async def _enrol(self, exchange: Exchange) -> web.Response:
        user = self._auth.bearer(exchange).user
        asked = await exchange.body()
        if exchange.text(asked, "factor_type") != "totp":
            raise AuthRefusal(400, "validation_failed", "factor_type needs to be totp, phone, or webauthn")
        if user.totp and user.factor_verified:
            raise AuthRefusal(422, "too_many_enrolled_mfa_factors", "Maximum number of verified factors reached")
        user.totp = base64.b32encode(secrets.token_bytes(20)).decode()
        user.factor_id, user.factor_verified, user.challenged_at = str(uuid.uuid4()), False, None
        self._auth.audit(
            exchange, "factor_in_progress", user, address=exchange.about["remote_addr"], factor_id=user.factor_id,
            factor_type="totp",
        )  # fmt: skip
        return web.json_response({"id": user.factor_id, "type": "totp", "totp": {"secret": user.totp}})

    async def _remove(self, exchange: Exchange) -> web.Response:
        session, factor = self._auth.bearer(exchange), exchange.request.match_info["factor"]
        user = session.user
        if not user.totp or factor != user.factor_id:
            raise AuthRefusal(404, "mfa_factor_not_found", "Factor not found")
        if user.factor_verified and session.factor_at is None:
            raise AuthRefusal(422, "insufficient_aal", "AAL2 required to unenroll verified factor")
        user.totp, user.factor_verified = "", False
        self._auth.audit(exchange, "factor_unenrolled", user, address=exchange.about["remote_addr"], factor_id=factor)
        return web.json_response({"id": factor})

    async def _challenge(self, exchange: Exchange) -> web.Response:
        user, factor = self._auth.bearer(exchange).user, exchange.request.match_info["factor"]
        address, now = exchange.about["remote_addr"], self._auth.now()
        id = self._auth.ways.challenge(user, factor, now, address)
        self._auth.audit(exchange, "challenge_created", user, address=address, factor_id=factor)
        return web.json_response({"id": id, "type": "totp", "expires_at": int(now) + 300})

    async def _verify(self, exchange: Exchange) -> web.Response:
        session, asked = self._auth.bearer(exchange), await exchange.body()
        factor, now = exchange.request.match_info["factor"], self._auth.now()
        user = session.user
        self._auth.ways.answer(user, factor, exchange.text(asked, "challenge_id"), exchange.text(asked, "code"), now)
        user.factor_verified = True
        self._auth.audit(
            exchange, "verification_attempted", user, address=exchange.about["remote_addr"], factor_id=factor
        )
        self._auth.journal.login(user.id, "mfa", provider="totp", now=now)
        return await self._auth.granted(self._auth.accounts.raise_level(session, now))
