"""What every way in has in common: its pages, its forms, and what Supabase's answer leads to.

A form is taken from our own pages only (Origin, Sec-Fetch-Site), with the code of the browser's login cookie in it, so
nobody is signed in as somebody else by another site. What Supabase answers is told in one sentence for unknown address,
wrong password, wrong code and ban. At each sign-in the session's id is a new one and the one before ends.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tocsin.access.allowlist.address import BadAddress, parse_typed
from tocsin.access.grant import Grant
from tocsin.access.signin import Outcome, SlowDown, SupabaseAuth
from tocsin.access.verdicts import NotAllowed, Reason, Refusal, Unavailable
from tocsin.web import browser
from tocsin.web.entrance import Entrance, Project
from tocsin.web.form import Form, form_of
from tocsin.web.login.pages import page
from tocsin.web.login.tries import Tries

MFA_COOKIE: Final = "__Host-tocsin-mfa"
MOST: Final = 1024
"""Characters of a password or a code."""

NO: Final = "That did not work. Check the address and the password or code; or this account may not sign in."
TOO_OFTEN: Final = "Too many tries. Wait a little, then try again."
NOT_NOW: Final = "Signing in can't be checked at the moment. Try again soon."
NOT_YOU: Final = "You are signed in, but this account has no role in this console. Ask an admin to add you."
NEEDS_FACTOR: Final = "This console asks for a second factor, and your account has none yet. Set one up first."
STALE: Final = "This page was out of date. Try again."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reception:
    """What the endpoints of one console share."""

    entrance: Entrance

    @cached_property
    def tries(self) -> Tries:
        """Which go on at once, and which wait."""
        return Tries(lambda purpose, of: self.entrance.seal.code(purpose, of))

    # Pages and forms -------------------------------------------------------------------------------------------------

    def page(self, request: Request, name: str, status: int = 200, error: str = "", **context: Any) -> Response:
        """A page with the code for its forms; the browser gets a login cookie when it has none."""
        cookie = browser.cookie_of(request, browser.LOGIN_COOKIE)
        fresh = "" if len(cookie) == 43 else secrets.token_urlsafe(32)
        project = self.entrance.project
        known = {
            "supabase": project is not None and project.auth is not None,
            "providers": project.settings.providers if project is not None else (),
            "csrf": self.entrance.seal.code("login", fresh or cookie),
            "email": "",
            "next": "/",
        }
        response = page(name, status, error=error, **{**known, **context})
        if fresh:
            browser.set_cookie(response, browser.LOGIN_COOKIE, fresh)
        return response

    async def form(self, request: Request) -> Form | None:
        """What a page of ours sent; None when it was not one of this browser's."""
        if not browser.is_from_here(request, self.entrance.origin):
            return None
        form = await form_of(request)
        cookie = browser.cookie_of(request, browser.LOGIN_COOKIE)
        expected = self.entrance.seal.code("login", cookie)
        if not cookie or not compare_digest(form.one("csrf").encode(), expected.encode()):
            return None
        return form

    def project(self) -> tuple[Project, SupabaseAuth]:
        """Where people sign in. Raises HTTPException 404 where nobody does."""
        project = self.entrance.project
        if project is None or project.auth is None:
            raise HTTPException(404, "Nobody signs in here: web.supabase with its api_key is not configured.")
        return project, project.auth

    def now(self) -> datetime:
        """By the console's clock."""
        return self.entrance.clock.now()

    # In --------------------------------------------------------------------------------------------------------------

    async def signed_in(
        self, request: Request, project: Project, outcome: Outcome, via: str, where: str, again: str, *,
        email: str = "", instead_of: str = "", is_whole: bool = False,
    ) -> Response:  # fmt: skip
        """What Supabase's answer leads to; `again` is the page that asked."""
        if isinstance(outcome, Refusal):
            return self.told(request, outcome, again, email=email, next=where)
        now = self.now()
        if outcome.factors and not is_whole:
            return await self._half_way(request, outcome, via, where, email or typed_email(outcome.email))
        found = await project.known(outcome.access_token, now)
        if isinstance(found, Refusal) or found.role is None:
            await project.sign_out(outcome.access_token)
            why = found if isinstance(found, Refusal) else NotAllowed(reason=Reason.ROLE_TOO_LOW, because="no role")
            return self.told(request, why, "login", email=email, next=where)
        who = found.principal
        cookie, session = await self.entrance.sessions.open(
            via=via, now=now, email=who.email, auth_session=who.session_id, grant=outcome,
            client=request.headers.get("user-agent", ""),
            instead_of=(instead_of, browser.cookie_of(request, browser.SESSION_COOKIE)),
        )  # fmt: skip
        log.info("console.signed_in", session=session.id, via=via, sub=who.sub)
        response = self.let_in(cookie, session.expires_at - now, where)
        self.tries.came_in(request, response, email, typed_email(who.email))
        return response

    async def _half_way(self, request: Request, grant: Grant, via: str, where: str, email: str) -> Response:
        cookie, session = await self.entrance.sessions.open(
            via=via, now=self.now(), email=email, grant=grant, stage="mfa",
            client=request.headers.get("user-agent", ""),
            instead_of=(browser.cookie_of(request, MFA_COOKIE),),
        )  # fmt: skip
        response = RedirectResponse(f"/login/mfa?{urlencode({'next': where})}", 303)
        life = (session.expires_at - session.created_at).total_seconds()
        browser.set_cookie(response, MFA_COOKIE, cookie, lifetime=life)
        return response

    def let_in(self, cookie: str, life: timedelta, where: str) -> Response:
        """On to the page that was asked for, with the session's cookie."""
        response = RedirectResponse(where, 303)
        browser.set_cookie(response, browser.SESSION_COOKIE, cookie, lifetime=life.total_seconds())
        browser.drop_cookie(response, browser.LOGIN_COOKIE)
        return response

    def told(self, request: Request, refusal: Refusal, name: str, **context: Any) -> Response:
        """A refusal, for people: one sentence per thing to do next."""
        log.info("console.sign_in_refused", reason=refusal.reason.value, because=refusal.because)
        match refusal:
            case SlowDown():
                response = self.page(request, name, 429, TOO_OFTEN, **context)
                response.headers["Retry-After"] = refusal.because if refusal.because.isdigit() else "30"
            case Unavailable():
                response = self.page(request, name, 503, NOT_NOW, **context)
                response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
            case NotAllowed(reason=Reason.WEAK_SIGN_IN) if name != "login_mfa":
                response = self.page(request, name, 403, NEEDS_FACTOR, **context)
            case NotAllowed(reason=Reason.ROLE_TOO_LOW | Reason.NOT_LISTED | Reason.DENIED):
                response = self.page(request, name, 403, NOT_YOU, **context)
            case _:
                response = self.page(request, name, 401, NO, **context)
        return response


def typed_email(text: str) -> str:
    """The address in its one spelling; empty for what is none, which is told like an unknown one."""
    try:
        return parse_typed(text).text
    except BadAddress:
        return ""
