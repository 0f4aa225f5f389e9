"""The routes of the login: see the package for the list, and tocsin.web.sessions for what they open.

A form is taken from our own pages only (Origin, Sec-Fetch-Site), with the code of the browser's login cookie in it, so
nobody is signed in as somebody else by another site. What Supabase answers is told in one sentence for unknown address,
wrong password, wrong code and ban. At each sign-in the session's id is a new one and the one before ends.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tocsin.access.allowlist.address import BadAddress, parse_typed
from tocsin.access.grant import Grant
from tocsin.access.sealing import Unsealable
from tocsin.access.signin import Outcome, SlowDown, SupabaseAuth, Verifier
from tocsin.access.verdicts import NotAllowed, Reason, Refusal, Unavailable
from tocsin.web import browser
from tocsin.web.entrance import Entrance, Project
from tocsin.web.form import Form, form_of
from tocsin.web.gate import GuardedRoute, Operation, protected, public
from tocsin.web.login.pages import page
from tocsin.web.login.tries import Tries, client_of
from tocsin.web.people import person_of

MFA_COOKIE: Final = "__Host-tocsin-mfa"
OAUTH_COOKIE: Final = "__Host-tocsin-oauth"
OAUTH_LIFE: Final = timedelta(minutes=5)
"""As long as Supabase keeps its side of it."""
_MOST: Final = 1024
"""Characters of a password or a code."""
_STATIC: Final = Path(__file__).parents[1] / "console" / "static"
_KINDS: Final = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
    ".png": "image/png", ".woff2": "font/woff2", ".ico": "image/x-icon", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip

NO: Final = "That did not work. Check the address and the password or code; or this account may not sign in."
TOO_OFTEN: Final = "Too many tries. Wait a little, then try again."
NOT_NOW: Final = "Signing in can't be checked at the moment. Try again soon."
NOT_YOU: Final = "You are signed in, but this account has no role in this console. Ask an admin to add you."
NEEDS_FACTOR: Final = "This console asks for a second factor, and your account has none yet. Set one up first."
STALE: Final = "This page was out of date. Try again."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Login:
    """The endpoints."""

    entrance: Entrance

    @cached_property
    def tries(self) -> Tries:
        """What is counted."""
        return Tries(lambda purpose, of: self.entrance.seal.code(purpose, of))

    # Pages ---------------------------------------------------------------------------------------------------------

    async def show(self, request: Request) -> Response:
        """The login."""
        return self._page(request, "login", next=browser.safe_next(request.query_params.get("next", "/")))

    def _page(self, request: Request, name: str, status: int = 200, error: str = "", **context: Any) -> Response:
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

    # Password and code ---------------------------------------------------------------------------------------------

    async def password(self, request: Request) -> Response:
        """Address and password."""
        form = await self._form(request)
        if form is None:
            return self._page(request, "login", 403, STALE)
        project, auth = self._project()
        email, where = _email(form.one("email")), browser.safe_next(form.one("next", "/"))
        if (slow := self.tries.sign_in(request, email, self._now())) is not None:
            return self._told(request, slow, "login", email=email, next=where)
        secret = form.one("password")
        if not email or not 0 < len(secret) <= _MOST:
            return self._page(request, "login", 401, NO, email=email, next=where)
        outcome = await auth.password(email, secret, client_of(request), self._now())
        return await self._signed_in(request, project, outcome, "password", where, "login", email=email)

    async def code(self, request: Request) -> Response:
        """Address alone: send a code. Address and code: sign in."""
        form = await self._form(request)
        if form is None:
            return self._page(request, "login", 403, STALE)
        project, auth = self._project()
        email, where = _email(form.one("email")), browser.safe_next(form.one("next", "/"))
        if not email:
            return self._page(request, "login", 401, NO, next=where)
        if "code" in form:
            return await self._code(request, project, auth, email, form.one("code").strip(), where)
        slow: Refusal | None = self.tries.send_code(request, email, self._now())
        if slow is None:
            slow = await auth.send_code(email, client_of(request))
        if slow is not None:
            return self._told(request, slow, "login", email=email, next=where)
        return self._page(request, "login_code", email=email, next=where)

    async def _code(
        self, request: Request, project: Project, auth: SupabaseAuth, email: str, code: str, where: str
    ) -> Response:
        if (slow := self.tries.sign_in(request, email, self._now())) is not None:
            return self._told(request, slow, "login_code", email=email, next=where)
        if not 0 < len(code) <= _MOST:
            return self._page(request, "login_code", 401, NO, email=email, next=where)
        outcome = await auth.code(email, code, client_of(request), self._now())
        return await self._signed_in(request, project, outcome, "otp", where, "login_code", email=email)

    # OAuth ---------------------------------------------------------------------------------------------------------

    async def oauth(self, request: Request) -> Response:
        """Off to the provider. A link and no form: `form-action` would stop a form's redirect elsewhere."""
        project, auth = self._project()
        provider = request.query_params.get("provider", "")
        if provider not in project.settings.providers:
            raise HTTPException(404, "That provider is not configured (web.supabase.providers).")
        if (slow := self.tries.anonymous(request, self._now())) is not None:
            return self._told(request, slow, "login")
        verifier, now = Verifier.fresh(), self._now()
        where = browser.safe_next(request.query_params.get("next", "/"))
        response = RedirectResponse(auth.authorize_url(provider, self._callback(request), verifier), 303)
        kept = orjson.dumps([verifier.text, provider, where, (now + OAUTH_LIFE).timestamp()])
        sealed = urlsafe_b64encode(self.entrance.seal.close(kept, b"oauth")).decode()
        browser.set_cookie(response, OAUTH_COOKIE, sealed, lifetime=OAUTH_LIFE.total_seconds())
        return response

    def _callback(self, request: Request) -> str:
        # Supabase sends browsers only to addresses on its own list, whatever a Host header says.
        base = self.entrance.base_url if self.entrance.origin else f"http://{request.headers.get('host', '')}"
        return f"{base}/login/callback"

    async def callback(self, request: Request) -> Response:
        """Back from the provider, in the browser that went: only it has the verifier."""
        project, auth = self._project()
        kept = self._kept(request)
        code = request.query_params.get("code", "")
        if kept is None or not 0 < len(code) <= _MOST:
            response = self._page(request, "login", 401, NO)
        elif (slow := self.tries.anonymous(request, self._now())) is not None:
            return self._told(request, slow, "login")
        else:
            verifier, provider, where = kept
            outcome = await auth.exchange(code, Verifier(text=verifier), client_of(request), self._now())
            response = await self._signed_in(request, project, outcome, f"oauth:{provider}", where, "login")
        browser.drop_cookie(response, OAUTH_COOKIE)
        return response

    def _kept(self, request: Request) -> tuple[str, str, str] | None:
        """(verifier, provider, next) of a way to a provider that this browser began lately."""
        try:
            box = urlsafe_b64decode(browser.cookie_of(request, OAUTH_COOKIE))
            verifier, provider, where, until = orjson.loads(self.entrance.seal.open(box, b"oauth"))
        except (ValueError, Unsealable):
            return None
        return (verifier, provider, where) if self._now().timestamp() < until else None

    # Second factor -------------------------------------------------------------------------------------------------

    async def mfa(self, request: Request) -> Response:
        """The page, and what it sends."""
        now = self._now()
        cookie = browser.cookie_of(request, MFA_COOKIE)
        session = await self.entrance.sessions.stored(cookie, now)
        grant = self.entrance.sessions.half_way(session) if session is not None else None
        if session is None or grant is None:
            return RedirectResponse("/login", 303)
        if request.method != "POST":
            where = browser.safe_next(request.query_params.get("next", "/"))
            return self._page(request, "login_mfa", next=where)
        form = await self._form(request)
        if form is None:
            return self._page(request, "login_mfa", 403, STALE)
        project, auth = self._project()
        where, code = browser.safe_next(form.one("next", "/")), form.one("code").replace(" ", "")
        # Who has no address is counted alone: one count for all of them would be anybody's to use up.
        if (slow := self.tries.sign_in(request, session.email or session.id, now)) is not None:
            return self._told(request, slow, "login_mfa", next=where)
        outcome: Outcome = NotAllowed(reason=Reason.WEAK_SIGN_IN)
        for factor in grant.factors[:10] if 0 < len(code) <= 16 else ():
            outcome = await auth.second_factor(grant, factor, code, client_of(request), now)
            if isinstance(outcome, (Grant, Unavailable, SlowDown)):
                break
        response = await self._signed_in(
            request, project, outcome, session.via, where, "login_mfa", email=session.email, instead_of=cookie,
            is_whole=True,
        )  # fmt: skip
        if isinstance(outcome, Grant):
            browser.drop_cookie(response, MFA_COOKIE)
        return response

    # In and out ----------------------------------------------------------------------------------------------------

    async def _signed_in(
        self, request: Request, project: Project, outcome: Outcome, via: str, where: str, again: str, *,
        email: str = "", instead_of: str = "", is_whole: bool = False,
    ) -> Response:  # fmt: skip
        """What Supabase's answer leads to; `again` is the page that asked."""
        if isinstance(outcome, Refusal):
            return self._told(request, outcome, again, email=email, next=where)
        now = self._now()
        if outcome.factors and not is_whole:
            return await self._half_way(request, outcome, via, where, email or _email(outcome.email))
        found = await project.known(outcome.access_token, now)
        if isinstance(found, Refusal) or found.role is None:
            await project.sign_out(outcome.access_token)
            why = found if isinstance(found, Refusal) else NotAllowed(reason=Reason.ROLE_TOO_LOW, because="no role")
            return self._told(request, why, "login", email=email, next=where)
        who = found.principal
        cookie, session = await self.entrance.sessions.open(
            via=via, now=now, email=who.email, auth_session=who.session_id, grant=outcome,
            client=request.headers.get("user-agent", ""),
            instead_of=(instead_of, browser.cookie_of(request, browser.SESSION_COOKIE)),
        )  # fmt: skip
        log.info("console.signed_in", session=session.id, via=via, sub=who.sub)
        response = self._let_in(cookie, session.expires_at - now, where)
        self.tries.came_in(request, response, email, _email(who.email))
        return response

    async def _half_way(self, request: Request, grant: Grant, via: str, where: str, email: str) -> Response:
        cookie, session = await self.entrance.sessions.open(
            via=via, now=self._now(), email=email, grant=grant, stage="mfa",
            client=request.headers.get("user-agent", ""),
            instead_of=(browser.cookie_of(request, MFA_COOKIE),),
        )  # fmt: skip
        response = RedirectResponse(f"/login/mfa?{urlencode({'next': where})}", 303)
        life = (session.expires_at - session.created_at).total_seconds()
        browser.set_cookie(response, MFA_COOKIE, cookie, lifetime=life)
        return response

    def _let_in(self, cookie: str, life: timedelta, where: str) -> Response:
        response = RedirectResponse(where, 303)
        browser.set_cookie(response, browser.SESSION_COOKIE, cookie, lifetime=life.total_seconds())
        browser.drop_cookie(response, browser.LOGIN_COOKIE)
        return response

    def _told(self, request: Request, refusal: Refusal, name: str, **context: Any) -> Response:
        """A refusal, for people: one sentence per thing to do next."""
        log.info("console.sign_in_refused", reason=refusal.reason.value, because=refusal.because)
        match refusal:
            case SlowDown():
                response = self._page(request, name, 429, TOO_OFTEN, **context)
                response.headers["Retry-After"] = refusal.because if refusal.because.isdigit() else "30"
            case Unavailable():
                response = self._page(request, name, 503, NOT_NOW, **context)
                response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
            case NotAllowed(reason=Reason.WEAK_SIGN_IN) if name != "login_mfa":
                response = self._page(request, name, 403, NEEDS_FACTOR, **context)
            case NotAllowed(reason=Reason.ROLE_TOO_LOW | Reason.NOT_LISTED | Reason.DENIED):
                response = self._page(request, name, 403, NOT_YOU, **context)
            case _:
                response = self._page(request, name, 401, NO, **context)
        return response

    async def link(self, request: Request) -> Response:
        """A one-time link. It is a form's button that uses it up: browsers fetch links ahead on their own."""
        code = request.query_params.get("code", "")[:128]
        if not self._may_use_links(request):
            return self._page(request, "login_link", 403, "One-time links work on the daemon's own machine.", code="")
        if request.method != "POST":
            return self._page(request, "login_link", code=code)
        form = await self._form(request)
        if form is None:
            return self._page(request, "login_link", 403, STALE, code=code)
        if self.tries.anonymous(request, self._now()) is not None:
            return self._page(request, "login_link", 429, TOO_OFTEN, code="")
        now = self._now()
        if not await self.entrance.sessions.use_link(form.one("code"), now):
            error = "This link was used, or is older than an hour. Start the daemon again for a new one."
            return self._page(request, "login_link", 401, error, code="")
        cookie, session = await self.entrance.sessions.open(
            via="link", now=now, client=request.headers.get("user-agent", ""),
            instead_of=(browser.cookie_of(request, browser.SESSION_COOKIE),),
        )  # fmt: skip
        log.info("console.signed_in", session=session.id, via="link")
        return self._let_in(cookie, session.expires_at - now, "/")

    def _may_use_links(self, request: Request) -> bool:
        # What came through a proxy came from elsewhere, whatever the last hop's address is.
        forwarded = "forwarded" in request.headers or "x-forwarded-for" in request.headers
        return self.entrance.project is None and self.entrance.is_loopback and not forwarded

    async def logout(self, request: Request) -> Response:
        """The end of the session: here, and of this one at Supabase."""
        cookie = browser.cookie_of(request, browser.SESSION_COOKIE)
        person = person_of(request)
        if person is None or person.via == "bearer":
            raise HTTPException(400, "This request came without a session; a token is ended by tocsin token revoke.")
        await self.entrance.sessions.close(cookie)
        log.info("console.signed_out", session=person.session)
        response = RedirectResponse("/login", 303)
        browser.drop_cookie(response, browser.SESSION_COOKIE)
        return response

    # Around every form ---------------------------------------------------------------------------------------------

    async def _form(self, request: Request) -> Form | None:
        """What a page of ours sent; None when it was not one of this browser's."""
        if not browser.is_from_here(request, self.entrance.origin):
            return None
        form = await form_of(request)
        cookie = browser.cookie_of(request, browser.LOGIN_COOKIE)
        expected = self.entrance.seal.code("login", cookie)
        if not cookie or not compare_digest(form.one("csrf").encode(), expected.encode()):
            return None
        return form

    def _project(self) -> tuple[Project, SupabaseAuth]:
        project = self.entrance.project
        if project is None or project.auth is None:
            raise HTTPException(404, "Nobody signs in here: web.supabase with its api_key is not configured.")
        return project, project.auth

    def _now(self) -> datetime:
        return self.entrance.clock.now()


def _email(text: str) -> str:
    """The address in its one spelling; empty for what is none, which is told like an unknown one."""
    try:
        return parse_typed(text).text
    except BadAddress:
        return ""


def login_routes(entrance: Entrance) -> list[GuardedRoute]:
    """All of them."""
    login = Login(entrance)
    files = {file.name: file for file in _STATIC.iterdir() if file.suffix in _KINDS}

    async def static(request: Request) -> Response:
        # Only what was there at start, by its name: no path is made of what is asked.
        file = files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return Response(
            file.read_bytes(), media_type=_KINDS[file.suffix], headers={"Cache-Control": "public, max-age=300"}
        )

    def told(summary: str, *fields: str, media: str = "text/html") -> Operation:
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in fields]
        return Operation(summary=summary, tag="Login", media=media, parameters=parameters)

    both, post = ("GET", "POST"), ("POST",)
    return [
        public("/login", login.show, told("The login", "next")),
        public("/login/password", login.password, told("Sign in", "email", "password", "next", "csrf"), methods=post),
        public("/login/code", login.code, told("Code by e-mail", "email", "code", "next", "csrf"), methods=post),
        public("/login/oauth", login.oauth, told("Off to a provider", "provider", "next")),
        public("/login/callback", login.callback, told("Back from a provider", "code")),
        public("/login/mfa", login.mfa, told("Second factor", "code", "next", "csrf"), methods=both),
        public("/login/link", login.link, told("One-time link", "code", "csrf"), methods=both),
        public("/static/{name}", static, told("Style and script of the pages", media="text/css")),
        protected("/logout", login.logout, methods=post, operation=told("Sign out")),
    ]
