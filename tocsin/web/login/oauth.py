"""In by an OAuth provider: off to it with a verifier (PKCE), and back in the same browser."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tocsin.access.sealing import Unsealable
from tocsin.access.signin import Verifier
from tocsin.web import browser
from tocsin.web.login.reception import MOST, NO, Reception
from tocsin.web.login.tries import client_of

OAUTH_COOKIE: Final = "__Host-tocsin-oauth"
OAUTH_LIFE: Final = timedelta(minutes=5)
"""As long as Supabase keeps its side of it."""


@dataclass(frozen=True)
class OAuth:
    """The two endpoints."""

    reception: Reception

    async def leave(self, request: Request) -> Response:
        """Off to the provider. A link and no form: `form-action` would stop a form's redirect elsewhere."""
        project, auth = self.reception.project()
        provider = request.query_params.get("provider", "")
        if provider not in project.settings.providers:
            raise HTTPException(404, "That provider is not configured (web.supabase.providers).")
        if (slow := self.reception.tries.anonymous(request, self.reception.now())) is not None:
            return self.reception.told(request, slow, "login")
        verifier, now = Verifier.fresh(), self.reception.now()
        where = browser.safe_next(request.query_params.get("next", "/"))
        response = RedirectResponse(auth.authorize_url(provider, self._callback(request), verifier), 303)
        kept = orjson.dumps([verifier.text, provider, where, (now + OAUTH_LIFE).timestamp()])
        sealed = urlsafe_b64encode(self.reception.entrance.seal.close(kept, b"oauth")).decode()
        browser.set_cookie(response, OAUTH_COOKIE, sealed, lifetime=OAUTH_LIFE.total_seconds())
        return response

    def _callback(self, request: Request) -> str:
        # Supabase sends browsers only to addresses on its own list, whatever a Host header says.
        entrance = self.reception.entrance
        base = entrance.base_url if entrance.origin else f"http://{request.headers.get('host', '')}"
        return f"{base}/login/callback"

    async def come_back(self, request: Request) -> Response:
        """Back from the provider, in the browser that went: only it has the verifier."""
        project, auth = self.reception.project()
        kept = self._kept(request)
        code = request.query_params.get("code", "")
        if kept is None or not 0 < len(code) <= MOST:
            response = self.reception.page(request, "login", 401, NO)
        elif (slow := self.reception.tries.anonymous(request, self.reception.now())) is not None:
            return self.reception.told(request, slow, "login")
        else:
            verifier, provider, where = kept
            outcome = await auth.exchange(code, Verifier(text=verifier), client_of(request), self.reception.now())
            response = await self.reception.signed_in(request, project, outcome, f"oauth:{provider}", where, "login")
        browser.drop_cookie(response, OAUTH_COOKIE)
        return response

    def _kept(self, request: Request) -> tuple[str, str, str] | None:
        """(verifier, provider, next) of a way to a provider that this browser began lately."""
        try:
            box = urlsafe_b64decode(browser.cookie_of(request, OAUTH_COOKIE))
            verifier, provider, where, until = orjson.loads(self.reception.entrance.seal.open(box, b"oauth"))
        except (ValueError, Unsealable):
            return None
        return (verifier, provider, where) if self.reception.now().timestamp() < until else None
