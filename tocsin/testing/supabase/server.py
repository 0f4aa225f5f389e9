"""The stand-in Supabase Auth over HTTP, under /auth/v1 as the gateway serves it.

In a test:
    async with FakeAuth(users=[Seed(email="ana@example.com", password="secret")], log=folder / "auth.jsonl") as auth:
        …POST f"{auth.url}/token?grant_type=password" with the header apikey: auth.api_key

As behind the real gateway, a call without the `apikey` header is turned away before it is logged, /health and the key
set apart; `remote_addr` is the first valid address of X-Forwarded-For, else the peer.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from tocsin.testing.supabase.accounts import Accounts, RefreshToken, Seed, Session, User
from tocsin.testing.supabase.journal import Era, Journal, audit_event
from tocsin.testing.supabase.keys import SigningKeys
from tocsin.testing.supabase.refusals import AuthRefusal, OAuthRefusal
from tocsin.testing.supabase.ways import Ways

PREFIX: Final = "/auth/v1"
DEFAULT_API_KEY: Final = "sb_publishable_stand-in"
TOKEN_LIFE: Final = 3600
_OPEN_PATHS: Final = frozenset({"/health", "/.well-known/jwks.json", "/authorize"})
"""A browser on its way to a provider sends no key."""
_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_VERSION_HEADER: Final = "X-Supabase-Api-Version"
_CODE_HEADER: Final = "x-sb-error-code"

Handler = Callable[["Exchange"], Awaitable[web.Response]]


@dataclass(kw_only=True)
class Exchange:
    """One request on its way: what came in, and what its log line will say."""

    request: web.Request
    id: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    async def body(self) -> dict[str, Any]:
        """The JSON object sent. Raises AuthRefusal."""
        text = await self.request.text()
        try:
            found = json.loads(text or "{}")
        except ValueError as error:
            raise AuthRefusal(400, "bad_json", f"Could not parse request body as JSON: {error}") from None
        if not isinstance(found, dict):
            raise AuthRefusal(400, "bad_json", "Could not parse request body as JSON: not an object")
        return found


class FakeAuth:
    """A Supabase Auth server on a loopback port, running while its `async with` block does."""

    def __init__(
        self,
        *,
        users: Sequence[Seed] = (),
        log: Path | None = None,
        era: Era = Era.CURRENT,
        api_key: str = DEFAULT_API_KEY,
        autoconfirm: bool = False,
        signups: bool = True,
        site_url: str = "http://localhost:3000",
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`autoconfirm`: a sign-up needs no mail (mailer_autoconfirm). `signups` False: DISABLE_SIGNUP."""
        self.address = ""
        self.api_key = api_key
        self.accounts = Accounts()
        self.keys = SigningKeys()
        self.ways = Ways(self.accounts)
        self.oauth_user = ""
        """The address that every OAuth provider says it is."""
        self.journal = Journal(log, era=era)
        self._now = now
        self._autoconfirm, self._signups, self._site_url = autoconfirm, signups, site_url
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        for seed in users:
            self.accounts.add(seed, now())

    @property
    def url(self) -> str:
        """The base of every endpoint, and the `iss` of the tokens."""
        return self.address + PREFIX

    # Life

    async def __aenter__(self) -> Self:
        app = web.Application()
        for method, path, handler in self._routes():
            app.router.add_route(method, PREFIX + path, self._served(path, handler))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"http://{host}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self.journal.close()

    def _routes(self) -> tuple[tuple[str, str, Handler], ...]:
        return (
            ("GET", "/health", self._health),
            ("GET", "/settings", self._settings),
            ("GET", "/.well-known/jwks.json", self._key_set),
            ("POST", "/signup", self._signup),
            ("POST", "/token", self._token),
            ("GET", "/user", self._user),
            ("POST", "/logout", self._logout),
            ("POST", "/otp", self._otp),
            ("POST", "/verify", self._verify),
            ("GET", "/authorize", self._authorize),
            ("POST", "/factors/{factor}/challenge", self._challenge),
            ("POST", "/factors/{factor}/verify", self._factor),
        )

    # Around every request

    def _served(self, path: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """`handler` with what the server does for all: gateway key, errors as JSON, the log line."""

        async def serve(request: web.Request) -> web.Response:
            if path not in _OPEN_PATHS and request.headers.get("apikey") != self.api_key:
                hint = "No `apikey` request header or url param was found."
                return web.json_response({"message": "No API key found in request", "hint": hint}, status=401)
            exchange = Exchange(request=request, id=str(uuid.uuid4()))
            exchange.about.update(self._known_at_arrival(exchange, path))
            began = time.perf_counter_ns()
            code = ""
            try:
                response = await handler(exchange)
            except AuthRefusal as refusal:
                code = refusal.code
                exchange.about["error"] = refusal.logged
                response = _refused(refusal, request.headers.get(_VERSION_HEADER, ""))
            if path != "/health":
                self.journal.request(
                    exchange.about,
                    status=response.status,
                    nanoseconds=time.perf_counter_ns() - began,
                    code=code,
                    now=self._now(),
                )
            return response

        return serve

    def _known_at_arrival(self, exchange: Exchange, path: str) -> dict[str, Any]:
        request = exchange.request
        about = {
            "method": request.method,
            "path": path,
            "referer": self._site_url,
            "remote_addr": _remote_address(request),
            "request_id": exchange.id,
        }
        if path == "/token":
            about["grant_type"] = request.query.get("grant_type", "")
        return about

    def _audit(self, exchange: Exchange, action: str, user: User, **traits: Any) -> None:
        event = audit_event(action, user.id, user.email, traits)
        # The request's own line has the last event only, as the real one does.
        exchange.about["auth_event"] = event
        self.journal.audit(event, request_id=exchange.id, user_agent=exchange.user_agent, now=self._now())

    # Endpoints

    async def _health(self, _: Exchange) -> web.Response:
        description = "GoTrue is a user registration and authentication API"
        return web.json_response({"version": "v2.196.0", "name": "GoTrue", "description": description})

    async def _settings(self, _: Exchange) -> web.Response:
        return web.json_response(
            {
                "external": {"anonymous_users": False, "email": True, "phone": False},
                "disable_signup": not self._signups,
                "mailer_autoconfirm": self._autoconfirm,
                "phone_autoconfirm": False,
                "sms_provider": "",
                "saml_enabled": False,
            }
        )

    async def _key_set(self, _: Exchange) -> web.Response:
        return web.json_response(self.keys.jwks(), headers={"Cache-Control": "public, max-age=600"})

    async def _signup(self, exchange: Exchange) -> web.Response:
        if not self._signups:
            raise AuthRefusal(422, "signup_disabled", "Signups not allowed for this instance")
        asked = await exchange.body()
        email, password = _text(asked, "email").lower(), _text(asked, "password")
        if not password:
            raise AuthRefusal(400, "validation_failed", "Signup requires a valid password")
        self.accounts.check_strength(password)
        if not _ADDRESS.fullmatch(email) or len(email) > 255:
            raise AuthRefusal(400, "validation_failed", "Unable to validate email address: invalid format")
        if (known := self.accounts.by_email(email)) is not None:
            return self._signup_again(exchange, known)
        metadata = asked.get("data") if isinstance(asked.get("data"), dict) else {}
        seed = Seed(email=email, password=password, confirmed=self._autoconfirm, metadata=metadata or {})
        user = self.accounts.add(seed, self._now())
        if not self._autoconfirm:
            self._audit(exchange, "user_confirmation_requested", user, provider="email")
            return web.json_response(user.document())
        self._audit(exchange, "user_signedup", user, provider="email")
        return self._signed_in(exchange, user, immediate_login_after_signup=True)

    def _signup_again(self, exchange: Exchange, user: User) -> web.Response:
        if user.confirmed_at is None:
            self._audit(exchange, "user_confirmation_requested", user, provider="email")
            return web.json_response(user.document())
        self._audit(exchange, "user_repeated_signup", user, provider="email")
        if self._autoconfirm:
            raise AuthRefusal(422, "user_already_exists", "User already registered")
        # Somebody who tries addresses must not learn which are taken: an answer as for a new user, with a new id.
        now = self._now()
        stranger = User(id=str(uuid.uuid4()), email=user.email, password=b"", created_at=now, confirmed_at=None)
        return web.json_response({**stranger.document(), "role": ""})

    async def _token(self, exchange: Exchange) -> web.Response:
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
        email = _text(asked, "email")
        if not email:
            raise AuthRefusal(400, "validation_failed", "missing email or phone")
        return self._signed_in(exchange, self.accounts.authenticate(email, _text(asked, "password")))

    def _signed_in(
        self, exchange: Exchange, user: User, method: str = "password", provider: str = "email", **extra: Any
    ) -> web.Response:
        self._audit(exchange, "login", user, provider=provider)
        token = self.accounts.start_session(user, self._now(), method=method)
        self.journal.login(user.id, method, provider=provider, now=self._now(), **extra)
        return self._granted(token)

    async def _otp(self, exchange: Exchange) -> web.Response:
        asked = await exchange.body()
        user = self.ways.mail_code(_text(asked, "email"), self._now())
        self._audit(exchange, "user_recovery_requested", user)
        return web.json_response({})

    async def _verify(self, exchange: Exchange) -> web.Response:
        asked = await exchange.body()
        user = self.ways.by_code(_text(asked, "email"), _text(asked, "token"), self._now())
        return self._signed_in(exchange, user, "otp")

    async def _authorize(self, exchange: Exchange) -> web.Response:
        asked = exchange.request.query
        user = self.accounts.by_email(self.oauth_user)
        if user is None:
            raise AuthRefusal(400, "validation_failed", "Unsupported provider: provider is not enabled")
        code = self.ways.begin_flow(user, asked.get("code_challenge", ""), self._now())
        back = f"{asked.get('redirect_to', self._site_url)}?code={code}"
        return web.Response(status=302, headers={"Location": back})

    async def _pkce(self, exchange: Exchange) -> web.Response:
        asked = await exchange.body()
        user = self.ways.end_flow(_text(asked, "auth_code"), _text(asked, "code_verifier"), self._now())
        return self._signed_in(exchange, user, "oauth", "github")

    async def _challenge(self, exchange: Exchange) -> web.Response:
        user, factor = self._bearer(exchange).user, exchange.request.match_info["factor"]
        id = self.ways.challenge(user, factor, self._now())
        self._audit(exchange, "challenge_created", user, factor_id=factor)
        return web.json_response({"id": id, "type": "totp", "expires_at": int(self._now()) + 300})

    async def _factor(self, exchange: Exchange) -> web.Response:
        session, asked = self._bearer(exchange), await exchange.body()
        factor = exchange.request.match_info["factor"]
        self.ways.answer(session.user, factor, _text(asked, "challenge_id"), _text(asked, "code"), self._now())
        self._audit(exchange, "verification_attempted", session.user, factor_id=factor)
        self.journal.login(session.user.id, "mfa", provider="totp", now=self._now())
        return self._granted(self.accounts.raise_level(session, self._now()))

    async def _refresh(self, exchange: Exchange) -> web.Response:
        text = _text(await exchange.body(), "refresh_token")
        if not text:
            raise OAuthRefusal("invalid_request", "refresh_token required")
        token = self.accounts.refresh(text, self._now())
        self._audit(exchange, "token_refreshed", token.session.user)
        self._audit(exchange, "token_revoked", token.session.user)
        self.journal.login(token.session.user.id, "token", now=self._now())
        return self._granted(token)

    async def _user(self, exchange: Exchange) -> web.Response:
        return web.json_response(self._bearer(exchange).user.document())

    async def _logout(self, exchange: Exchange) -> web.Response:
        session = self._bearer(exchange)
        scope = exchange.request.query.get("scope") or "global"
        if scope not in {"global", "local", "others"}:
            raise AuthRefusal(400, "validation_failed", f'Unsupported logout scope "{scope}"')
        self._audit(exchange, "logout", session.user)
        self.accounts.end(session, scope)
        return web.Response(status=204)

    # Tokens

    def _granted(self, token: RefreshToken) -> web.Response:
        now = int(self._now())
        return web.json_response(
            {
                "access_token": self.keys.sign(self.claims(token.session, now)),
                "token_type": "bearer",
                "expires_in": TOKEN_LIFE,
                "expires_at": now + TOKEN_LIFE,
                "refresh_token": token.text,
                "user": token.session.user.document(),
            }
        )

    def claims(self, session: Session, now: int) -> dict[str, Any]:
        """The claims of an access token issued at `now`."""
        user = session.user
        amr = [{"method": session.method, "timestamp": int(session.created_at)}]
        if session.factor_at is not None:
            amr.insert(0, {"method": "totp", "timestamp": int(session.factor_at)})
        return {
            "iss": self.url,
            "sub": user.id,
            "aud": "authenticated",
            "iat": now,
            "exp": now + TOKEN_LIFE,
            "email": user.email,
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": user.metadata,
            "role": "authenticated",
            "aal": "aal1" if session.factor_at is None else "aal2",
            "amr": amr,
            "session_id": session.id,
            "is_anonymous": False,
        }

    def _bearer(self, exchange: Exchange) -> Session:
        """The live session of the request's token. Raises AuthRefusal."""
        scheme, _, token = exchange.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthRefusal(401, "no_authorization", "This endpoint requires a valid Bearer token")
        claims = self.keys.verify(token.strip(), now=self._now())
        session = self.accounts.session(str(claims.get("session_id", "")))
        if session.user.banned:
            raise AuthRefusal(403, "user_banned", "User is banned")
        return session


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name, "")
    if not isinstance(value, str):
        raise AuthRefusal(400, "bad_json", f"Could not parse request body as JSON: {name} is not a string")
    return value


def _refused(refusal: AuthRefusal, api_version: str) -> web.Response:
    headers = {_CODE_HEADER: refusal.code} if refusal.code else {}
    if api_version:
        headers[_VERSION_HEADER] = api_version
    return web.json_response(refusal.body(api_version), status=refusal.status, headers=headers)


def _remote_address(request: web.Request) -> str:
    for part in request.headers.get("X-Forwarded-For", "").split(","):
        try:
            address = ipaddress.ip_address(part.strip())
        except ValueError:
            continue
        # Go prints an IPv4 address that is wrapped in IPv6 as the IPv4 address.
        mapped = getattr(address, "ipv4_mapped", None)
        return str(mapped or address)
    return request.remote or ""
