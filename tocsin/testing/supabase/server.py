"""The stand-in Supabase Auth over HTTP, under /auth/v1 as the gateway serves it.

In a test:
    async with FakeAuth(users=[Seed(email="ana@example.com", password="secret")], log=folder / "auth.jsonl") as auth:
        …POST f"{auth.url}/token?grant_type=password" with the header apikey: auth.api_key

As behind the real gateway, a call without the `apikey` header is turned away before it is logged, /health and the key
set apart; `remote_addr` is the first valid address of X-Forwarded-For, else the peer.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psycopg
from aiohttp import web

from tocsin.testing.supabase.accounts import Accounts, RefreshToken, Seed, Session, User
from tocsin.testing.supabase.exchange import CURRENT, VERSION_HEADER, Exchange, Handler, refused, remote_address
from tocsin.testing.supabase.factors import Factors
from tocsin.testing.supabase.hooks import Hook, Hooks
from tocsin.testing.supabase.journal import NIL, Era, Journal, audit_event
from tocsin.testing.supabase.keys import SigningKey, SigningKeys
from tocsin.testing.supabase.refusals import AuthRefusal
from tocsin.testing.supabase.signins import SignIns
from tocsin.testing.supabase.signups import SignUps
from tocsin.testing.supabase.tables import Tables
from tocsin.testing.supabase.ways import Ways

PREFIX: Final = "/auth/v1"
DEFAULT_API_KEY: Final = "sb_publishable_stand-in"
DEFAULT_SERVICE_KEY: Final = "sb_secret_stand-in-service"
TOKEN_LIFE: Final = 3600
_OPEN_PATHS: Final = frozenset({"/health", "/.well-known/jwks.json", "/authorize"})
"""A browser on its way to a provider sends no key."""


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
        hooks: Mapping[str, Hook] | None = None,
        service_key: str = DEFAULT_SERVICE_KEY,
        database: str = "",
        token_limit: int = 0,
        signing_key: SigningKey | None = None,
    ) -> None:
        """`autoconfirm`: a sign-up needs no mail (mailer_autoconfirm). `signups` False: DISABLE_SIGNUP. `hooks` by name
        (hooks.BEFORE_USER_CREATED). `service_key`: what the admin endpoints want as apikey. `database`: where users,
        sessions and the rest are written as well (tables.py). `token_limit`: calls of /token from one address within
        five minutes; more are refused. 0: no limit. `signing_key`: one that others have too, or a fresh one."""
        self.address = ""
        self.api_key = api_key
        self.accounts = Accounts()
        self.keys = SigningKeys(signing_key)
        self.ways = Ways(self.accounts)
        self.oauth_user = ""
        """The address that every OAuth provider says it is."""
        self.journal = Journal(log, era=era)
        self.hooks = Hooks(hooks or {}, self._hook_called)
        self.now = now
        self._service_key, self._site_url = service_key, site_url
        self._autoconfirm, self._is_open = autoconfirm, signups
        self._signups = SignUps(self, autoconfirm=autoconfirm, open=signups)
        self._signins = SignIns(self, site_url=site_url, token_limit=token_limit)
        self._factors = Factors(self)
        self._database = database
        self._tables: Tables | None = None
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
        """Raises ValueError for a database that holds somebody's users, and psycopg.Error."""
        if self._database:
            self._tables = await Tables.open(self._database)
            await self._tables.write(self.accounts, self.ways)
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
        if self._tables is not None:
            await self._tables.close()
        self.journal.close()

    def _routes(self) -> tuple[tuple[str, str, Handler], ...]:
        return (
            ("GET", "/health", self._health),
            ("GET", "/settings", self._settings),
            ("GET", "/.well-known/jwks.json", self._key_set),
            ("GET", "/user", self._user),
            ("POST", "/logout", self._logout),
            *self._signins.routes(),
            *self._factors.routes(),
            *self._signups.routes(),
        )

    # Around every request

    def _served(self, path: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """`handler` with what the server does for all: gateway key, errors as JSON, the log line."""

        async def serve(request: web.Request) -> web.Response:
            if path not in _OPEN_PATHS and request.headers.get("apikey") not in (self.api_key, self._service_key):
                hint = "No `apikey` request header or url param was found."
                return web.json_response({"message": "No API key found in request", "hint": hint}, status=401)
            exchange = Exchange(request=request, id=str(uuid.uuid4()))
            CURRENT.set(exchange)
            exchange.about.update(self._known_at_arrival(exchange, path))
            began = time.perf_counter_ns()
            code = ""
            try:
                response = await self._answer(handler, exchange)
            except AuthRefusal as refusal:
                code = refusal.code
                exchange.about["error"] = refusal.logged
                response = refused(refusal, request.headers.get(VERSION_HEADER, ""))
            if path != "/health":
                self.journal.request(
                    exchange.about,
                    status=response.status,
                    nanoseconds=time.perf_counter_ns() - began,
                    code=code,
                    now=self.now(),
                )
            return response

        return serve

    async def _answer(self, handler: Handler, exchange: Exchange) -> web.Response:
        """What the handler says, once what it changed is in the database. Raises AuthRefusal."""
        if self._tables is None:
            return await handler(exchange)
        try:
            try:
                return await handler(exchange)
            finally:
                await self._tables.write(self.accounts, self.ways)  # a refusal may end a family of tokens
        except psycopg.Error as error:
            raise AuthRefusal(500, "unexpected_failure", "Database error", internal=f"ERROR: {error}") from None

    def _known_at_arrival(self, exchange: Exchange, path: str) -> dict[str, Any]:
        request = exchange.request
        about = {
            "method": request.method,
            "path": exchange.request.path.removeprefix(PREFIX),
            "referer": self._site_url,
            "remote_addr": remote_address(request),
            "request_id": exchange.id,
        }
        if path == "/token":
            about["grant_type"] = request.query.get("grant_type", "")
        return about

    def audit(self, exchange: Exchange, action: str, user: User, *, address: str = "", **traits: Any) -> None:
        """Something that `user` did. `address`: only for second factors is it written down."""
        self._audit(exchange, audit_event(action, user.id, user.email, traits), address)

    def audit_admin(self, exchange: Exchange, action: str, user: User, **traits: Any) -> None:
        """Something that was done to `user` with the secret key."""
        about = {"user_id": user.id, "user_email": user.email, "user_phone": ""}
        self._audit(exchange, audit_event(action, NIL, "service_role", {**traits, **about}), "")

    def _audit(self, exchange: Exchange, event: dict[str, Any], address: str) -> None:
        # The request's own line has the last event only, as the real one does.
        exchange.about["auth_event"] = event
        id, now = str(uuid.uuid4()), self.now()
        self.journal.audit(
            event, id=id, address=address, request_id=exchange.id, user_agent=exchange.user_agent, now=now
        )
        if self._tables is not None:
            self._tables.audit(id, event, address, now)

    def only_admin(self, exchange: Exchange) -> None:
        """Raises AuthRefusal for who has not shown the secret key."""
        if exchange.request.headers.get("apikey") != self._service_key:
            raise AuthRefusal(403, "not_admin", "User not allowed")

    def _hook_called(self, uri: str, nanoseconds: int, why: str) -> None:
        self.journal.hook(CURRENT.get().about, uri, nanoseconds, why, now=self.now())

    # Endpoints

    async def _health(self, _: Exchange) -> web.Response:
        description = "GoTrue is a user registration and authentication API"
        return web.json_response({"version": "v2.196.0", "name": "GoTrue", "description": description})

    async def _settings(self, _: Exchange) -> web.Response:
        return web.json_response(
            {
                "external": {"anonymous_users": False, "email": True, "phone": False},
                "disable_signup": not self._is_open,
                "mailer_autoconfirm": self._autoconfirm,
                "phone_autoconfirm": False,
                "sms_provider": "",
                "saml_enabled": False,
            }
        )

    async def _key_set(self, _: Exchange) -> web.Response:
        return web.json_response(self.keys.jwks(), headers={"Cache-Control": "public, max-age=600"})

    async def signed_in(
        self, exchange: Exchange, user: User, method: str = "password", provider: str = "email", **extra: Any
    ) -> web.Response:
        """A new session's tokens. Raises AuthRefusal."""
        self.audit(exchange, "login", user, provider=provider)
        user.identities.setdefault(provider, str(uuid.uuid4()))
        token = self.accounts.start_session(user, self.now(), method=method, device=exchange.device)
        self.journal.login(user.id, method, provider=provider, now=self.now(), **extra)
        return await self.granted(token)

    async def _user(self, exchange: Exchange) -> web.Response:
        return web.json_response(self.bearer(exchange).user.document())

    async def _logout(self, exchange: Exchange) -> web.Response:
        session = self.bearer(exchange)
        scope = exchange.request.query.get("scope") or "global"
        if scope not in {"global", "local", "others"}:
            raise AuthRefusal(400, "validation_failed", f'Unsupported logout scope "{scope}"')
        self.audit(exchange, "logout", session.user)
        self.accounts.end(session, scope)
        return web.Response(status=204)

    # Tokens

    async def granted(self, token: RefreshToken) -> web.Response:
        """An access token for it. Raises AuthRefusal."""
        now = int(self.now())
        claims = await self.hooks.claims(self.claims(token.session, now), token.session.method, self.now())
        return web.json_response(
            {
                "access_token": self.keys.sign(claims),
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

    def bearer(self, exchange: Exchange) -> Session:
        """The live session of the request's token. Raises AuthRefusal."""
        scheme, _, token = exchange.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthRefusal(401, "no_authorization", "This endpoint requires a valid Bearer token")
        claims = self.keys.verify(token.strip(), now=self.now())
        session = self.accounts.session(str(claims.get("session_id", "")))
        if session.user.banned:
            raise AuthRefusal(403, "user_banned", "User is banned")
        return session
