"""The routes of the login: see the package for the list, and tocsin.web.sessions for what they open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tocsin.access.grant import Grant
from tocsin.access.signin import Outcome, SlowDown, SupabaseAuth
from tocsin.access.verdicts import NotAllowed, Reason, Refusal, Unavailable
from tocsin.web import browser
from tocsin.web.entrance import Entrance, Project
from tocsin.web.gate import GuardedRoute, Operation, protected, public
from tocsin.web.login.oauth import OAuth
from tocsin.web.login.reception import MFA_COOKIE, MOST, NO, STALE, TOO_OFTEN, Reception, typed_email
from tocsin.web.login.tries import client_of
from tocsin.web.people import person_of

_STATIC: Final = Path(__file__).parents[1] / "console" / "static"
_KINDS: Final = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
    ".png": "image/png", ".woff2": "font/woff2", ".ico": "image/x-icon", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Login:
    """The endpoints, but for those of OAuth."""

    reception: Reception

    # Pages ---------------------------------------------------------------------------------------------------------

    async def show(self, request: Request) -> Response:
        """The login."""
        return self.reception.page(request, "login", next=browser.safe_next(request.query_params.get("next", "/")))

    # Password and code ---------------------------------------------------------------------------------------------

    async def password(self, request: Request) -> Response:
        """Address and password."""
        form = await self.reception.form(request)
        if form is None:
            return self.reception.page(request, "login", 403, STALE)
        project, auth = self.reception.project()
        email, where = typed_email(form.one("email")), browser.safe_next(form.one("next", "/"))
        if (slow := self.reception.tries.sign_in(request, email, self.reception.now())) is not None:
            return self.reception.told(request, slow, "login", email=email, next=where)
        secret = form.one("password")
        if not email or not 0 < len(secret) <= MOST:
            return self.reception.page(request, "login", 401, NO, email=email, next=where)
        outcome = await auth.password(email, secret, client_of(request), self.reception.now())
        return await self.reception.signed_in(request, project, outcome, "password", where, "login", email=email)

    async def code(self, request: Request) -> Response:
        """Address alone: send a code. Address and code: sign in."""
        form = await self.reception.form(request)
        if form is None:
            return self.reception.page(request, "login", 403, STALE)
        project, auth = self.reception.project()
        email, where = typed_email(form.one("email")), browser.safe_next(form.one("next", "/"))
        if not email:
            return self.reception.page(request, "login", 401, NO, next=where)
        if "code" in form:
            return await self._code(request, project, auth, email, form.one("code").strip(), where)
        slow: Refusal | None = self.reception.tries.send_code(request, email, self.reception.now())
        if slow is None:
            slow = await auth.send_code(email, client_of(request))
        if slow is not None:
            return self.reception.told(request, slow, "login", email=email, next=where)
        return self.reception.page(request, "login_code", email=email, next=where)

    async def _code(
        self, request: Request, project: Project, auth: SupabaseAuth, email: str, code: str, where: str
    ) -> Response:
        if (slow := self.reception.tries.sign_in(request, email, self.reception.now())) is not None:
            return self.reception.told(request, slow, "login_code", email=email, next=where)
        if not 0 < len(code) <= MOST:
            return self.reception.page(request, "login_code", 401, NO, email=email, next=where)
        outcome = await auth.code(email, code, client_of(request), self.reception.now())
        return await self.reception.signed_in(request, project, outcome, "otp", where, "login_code", email=email)

    # Second factor -------------------------------------------------------------------------------------------------

    async def mfa(self, request: Request) -> Response:
        """The page, and what it sends."""
        now = self.reception.now()
        cookie = browser.cookie_of(request, MFA_COOKIE)
        session = await self.reception.entrance.sessions.stored(cookie, now)
        grant = self.reception.entrance.sessions.half_way(session) if session is not None else None
        if session is None or grant is None:
            return RedirectResponse("/login", 303)
        if request.method != "POST":
            where = browser.safe_next(request.query_params.get("next", "/"))
            return self.reception.page(request, "login_mfa", next=where)
        form = await self.reception.form(request)
        if form is None:
            return self.reception.page(request, "login_mfa", 403, STALE)
        project, auth = self.reception.project()
        where, code = browser.safe_next(form.one("next", "/")), form.one("code").replace(" ", "")
        # Who has no address is counted alone: one count for all of them would be anybody's to use up.
        if (slow := self.reception.tries.sign_in(request, session.email or session.id, now)) is not None:
            return self.reception.told(request, slow, "login_mfa", next=where)
        outcome: Outcome = NotAllowed(reason=Reason.WEAK_SIGN_IN)
        for factor in grant.factors[:10] if 0 < len(code) <= 16 else ():
            outcome = await auth.second_factor(grant, factor, code, client_of(request), now)
            if isinstance(outcome, (Grant, Unavailable, SlowDown)):
                break
        response = await self.reception.signed_in(
            request, project, outcome, session.via, where, "login_mfa", email=session.email, instead_of=cookie,
            is_whole=True,
        )  # fmt: skip
        if isinstance(outcome, Grant):
            browser.drop_cookie(response, MFA_COOKIE)
        return response

    # The link, and out ---------------------------------------------------------------------------------------------

    async def link(self, request: Request) -> Response:
        """A one-time link. It is a form's button that uses it up: browsers fetch links ahead on their own."""
        code = request.query_params.get("code", "")[:128]
        if not self._may_use_links(request):
            error = "One-time links work on the daemon's own machine."
            return self.reception.page(request, "login_link", 403, error, code="")
        if request.method != "POST":
            return self.reception.page(request, "login_link", code=code)
        form = await self.reception.form(request)
        if form is None:
            return self.reception.page(request, "login_link", 403, STALE, code=code)
        if self.reception.tries.anonymous(request, self.reception.now()) is not None:
            return self.reception.page(request, "login_link", 429, TOO_OFTEN, code="")
        now = self.reception.now()
        if not await self.reception.entrance.sessions.use_link(form.one("code"), now):
            error = "This link was used, or is older than an hour. Start the daemon again for a new one."
            return self.reception.page(request, "login_link", 401, error, code="")
        cookie, session = await self.reception.entrance.sessions.open(
            via="link", now=now, client=request.headers.get("user-agent", ""),
            instead_of=(browser.cookie_of(request, browser.SESSION_COOKIE),),
        )  # fmt: skip
        log.info("console.signed_in", session=session.id, via="link")
        return self.reception.let_in(cookie, session.expires_at - now, "/")

    def _may_use_links(self, request: Request) -> bool:
        # What came through a proxy came from elsewhere, whatever the last hop's address is.
        forwarded = "forwarded" in request.headers or "x-forwarded-for" in request.headers
        entrance = self.reception.entrance
        return entrance.project is None and entrance.is_loopback and not forwarded

    async def logout(self, request: Request) -> Response:
        """The end of the session: here, and of this one at Supabase."""
        cookie = browser.cookie_of(request, browser.SESSION_COOKIE)
        person = person_of(request)
        if person is None or person.via == "bearer":
            raise HTTPException(400, "This request came without a session; a token is ended by tocsin token revoke.")
        await self.reception.entrance.sessions.close(cookie)
        log.info("console.signed_out", session=person.session)
        response = RedirectResponse("/login", 303)
        browser.drop_cookie(response, browser.SESSION_COOKIE)
        return response


def login_routes(entrance: Entrance) -> list[GuardedRoute]:
    """All of them."""
    reception = Reception(entrance)
    login, oauth = Login(reception), OAuth(reception)
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
        public("/login/oauth", oauth.leave, told("Off to a provider", "provider", "next")),
        public("/login/callback", oauth.come_back, told("Back from a provider", "code")),
        public("/login/mfa", login.mfa, told("Second factor", "code", "next", "csrf"), methods=both),
        public("/login/link", login.link, told("One-time link", "code", "csrf"), methods=both),
        public("/static/{name}", static, told("Style and script of the pages", media="text/css")),
        protected("/logout", login.logout, methods=post, operation=told("Sign out")),
    ]
