"""How people sign in to the stand-in and stay so: a password, a code by mail, a provider by PKCE, a refresh token.

Source: supabase/auth, internal/api/token.go, token_refresh.go, verify.go, external.go, pkce.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from tocsin.testing.supabase.limits import Limit
from tocsin.testing.supabase.refusals import AuthRefusal, OAuthRefusal, invalid_credentials

if TYPE_CHECKING:
    from tocsin.testing.supabase.exchange import Exchange, Handler
    from tocsin.testing.supabase.server import FakeAuth


class SignIns:
    """The handlers. `auth` is whose users they are."""

    def __init__(self, auth: FakeAuth, *, site_url: str, token_limit: int) -> None:
        self._auth = auth
        self._site_url = site_url
        self._limit = Limit(token_limit)

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        """(method, path, handler)."""
        return (
            ("POST", "/token", self._token),
            ("POST", "/verify", self._verify),
            ("GET", "/authorize", self._authorize),
        )

    async def _token(self, exchange: Exchange) -> web.Response:
        self._limit.check(exchange.about["remote_addr"], self._auth.now())
        match exchange.request.query.get("grant_type"):
            case "password":
                return await self._password(exchange)
            case "refresh_token":
                return await self._refresh(exchange)
            case "pkce":
                return await self._pkce(exchange)
            case _:
                raise AuthRefusal(400, "invalid_credentials", "unsupported_grant_type")

    async def _password(self, exchange: Exchange) -> web.Response:
        asked = await exchange.body()
        email = exchange.text(asked, "email")
        if not email:
            raise AuthRefusal(400, "validation_failed", "missing email or phone")
        user, valid = self._auth.accounts.tried(email, exchange.text(asked, "password"))
        address, now = exchange.about["remote_addr"], self._auth.now()
        rejected, signs_out = await self._auth.hooks.password_tried(user.id, valid, address, now)
        if rejected:
            if signs_out:
                self._auth.accounts.end_all(user)
            raise AuthRefusal(400, "invalid_credentials", rejected)
        if not valid:
            raise invalid_credentials()
        if user.confirmed_at is None:
            raise AuthRefusal(400, "email_not_confirmed", "Email not confirmed")
        return await self._auth.signed_in(exchange, user)

    async def _verify(self, exchange: Exchange) -> web.Response:
        asked = await exchange.body()
        user = self._auth.ways.by_code(exchange.text(asked, "email"), exchange.text(asked, "token"), self._auth.now())
        if user.confirmed_at is None:
            user.confirmed_at = self._auth.now()
            self._auth.audit(exchange, "user_signedup", user, provider="email")
        return await self._auth.signed_in(exchange, user, "otp")

    async def _authorize(self, exchange: Exchange) -> web.Response:
        asked = exchange.request.query
        user = self._auth.accounts.by_email(self._auth.oauth_user)
        if user is None:
            raise AuthRefusal(400, "validation_failed", "Unsupported provider: provider is not enabled")
        code = self._auth.ways.begin_flow(user, asked.get("code_challenge", ""), self._auth.now())
        back = f"{asked.get('redirect_to', self._site_url)}?code={code}"
        return web.Response(status=302, headers={"Location": back})

    async def _pkce(self, exchange: Exchange) -> web.Response:
        asked = await exchange.body()
        user = self._auth.ways.end_flow(
            exchange.text(asked, "auth_code"), exchange.text(asked, "code_verifier"), self._auth.now()
        )
        return await self._auth.signed_in(exchange, user, "oauth", "github")

    async def _refresh(self, exchange: Exchange) -> web.Response:
        text = exchange.text(await exchange.body(), "refresh_token")
        if not text:
            raise OAuthRefusal("invalid_request", "refresh_token required")
        token = self._auth.accounts.refresh(text, self._auth.now(), exchange.device)
        self._auth.audit(exchange, "token_refreshed", token.session.user)
        self._auth.audit(exchange, "token_revoked", token.session.user)
        self._auth.journal.login(token.session.user.id, "token", now=self._auth.now())
        return await self._auth.granted(token)
