"""How users come to be in the stand-in: sign-up, a code by mail, invitation, the admin API. Hooks are asked as the real
server asks them: not for POST /admin/users, which is why a hook alone is no gate.

What an administrator does is audited as `service_role`'s; a recovery link that one makes, as the user's own request:
only the path of the request tells the two apart.

Source: supabase/auth, internal/api/signup.go, otp.go, invite.go, recover.go, admin.go, mail.go.
"""

from __future__ import annotations

import re
import secrets
import uuid
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from tocsin.testing.supabase.accounts import Seed, User
from tocsin.testing.supabase.refusals import AuthRefusal

if TYPE_CHECKING:
    from tocsin.testing.supabase.exchange import Exchange, Handler
    from tocsin.testing.supabase.server import FakeAuth

_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


class SignUps:
    """The handlers. `auth` is whose users they make."""

    def __init__(self, auth: FakeAuth, *, autoconfirm: bool, open: bool) -> None:
        self._auth = auth
        self._autoconfirm, self._open = autoconfirm, open

    def routes(self) -> tuple[tuple[str, str, Handler], ...]:
        """(method, path, handler)."""
        return (
            ("POST", "/signup", self._signup),
            ("POST", "/otp", self._otp),
            ("POST", "/recover", self._recover),
            ("POST", "/invite", self._invite),
            ("GET", "/admin/users", self._users),
            ("POST", "/admin/users", self._create),
            ("DELETE", "/admin/users/{id}", self._delete),
            ("POST", "/admin/generate_link", self._link),
            ("GET", "/admin/audit", self._audited),
        )

    async def _signup(self, exchange: Exchange) -> web.Response:
        if not self._open:
            raise AuthRefusal(422, "signup_disabled", "Signups not allowed for this instance")
        asked = await exchange.body()
        email, password = address_of(exchange, asked), exchange.text(asked, "password")
        if not password:
            raise AuthRefusal(400, "validation_failed", "Signup requires a valid password")
        self._auth.accounts.check_strength(password)
        if (known := self._auth.accounts.by_email(email)) is not None:
            return self._signup_again(exchange, known)
        user = await self._made(exchange, asked, email, password, confirmed=self._autoconfirm)
        if not self._autoconfirm:
            self._auth.audit(exchange, "user_confirmation_requested", user, provider="email")
            return web.json_response(user.document())
        self._auth.audit(exchange, "user_signedup", user, provider="email")
        return await self._auth.signed_in(exchange, user, immediate_login_after_signup=True)

    def _signup_again(self, exchange: Exchange, user: User) -> web.Response:
        if user.confirmed_at is None:
            self._auth.audit(exchange, "user_confirmation_requested", user, provider="email")
            return web.json_response(user.document())
        self._auth.audit(exchange, "user_repeated_signup", user, provider="email")
        if self._autoconfirm:
            raise AuthRefusal(422, "user_already_exists", "User already registered")
        # Somebody who tries addresses must not learn which are taken: an answer as for a new user, with a new id.
        now = self._auth.now()
        stranger = User(id=str(uuid.uuid4()), email=user.email, password=b"", created_at=now, confirmed_at=None)
        return web.json_response({**stranger.document(), "role": ""})

    async def _otp(self, exchange: Exchange) -> web.Response:
        asked = await exchange.body()
        email = exchange.text(asked, "email")
        if self._auth.accounts.by_email(email) is None and asked.get("create_user", True) is True and self._open:
            user = await self._made(
                exchange, asked, address_of(exchange, asked), secrets.token_hex(16), confirmed=False
            )
            self._auth.ways.mail_code(email, self._auth.now())
            self._auth.audit(exchange, "user_confirmation_requested", user, provider="email")
            return web.json_response({})
        user = self._auth.ways.mail_code(email, self._auth.now())
        self._auth.audit(exchange, "user_recovery_requested", user)
        return web.json_response({})

    async def _recover(self, exchange: Exchange) -> web.Response:
        user = self._auth.accounts.by_email(address_of(exchange, await exchange.body()))
        if user is not None:
            self._auth.ways.mail_code(user.email, self._auth.now())
            self._auth.audit(exchange, "user_recovery_requested", user)
        return web.json_response({})  # whether there is such a user is nobody's business

    # With the secret key -------------------------------------------------------------------------------------------

    async def _invite(self, exchange: Exchange) -> web.Response:
        self._auth.only_admin(exchange)
        asked = await exchange.body()
        user = await self._made(exchange, asked, address_of(exchange, asked), secrets.token_hex(16), confirmed=False)
        self._auth.audit_admin(exchange, "user_invited", user)
        return web.json_response(user.document())

    async def _users(self, exchange: Exchange) -> web.Response:
        self._auth.only_admin(exchange)
        return web.json_response({"users": [user.document() for user in self._auth.accounts], "aud": "authenticated"})

    async def _create(self, exchange: Exchange) -> web.Response:
        self._auth.only_admin(exchange)
        asked = await exchange.body()
        email, password = address_of(exchange, asked), exchange.text(asked, "password") or secrets.token_hex(16)
        if self._auth.accounts.by_email(email) is not None:
            message = "A user with this email address has already been registered"
            raise AuthRefusal(422, "email_exists", message)
        # No hook is asked here.
        seed = Seed(email=email, password=password, confirmed=asked.get("email_confirm") is True)
        user = self._auth.accounts.add(seed, self._auth.now())
        self._auth.audit_admin(exchange, "user_signedup", user, provider="email")
        return web.json_response(user.document())

    async def _delete(self, exchange: Exchange) -> web.Response:
        self._auth.only_admin(exchange)
        user = self._auth.accounts.remove(exchange.request.match_info["id"])
        self._auth.audit_admin(exchange, "user_deleted", user)
        return web.json_response({})

    async def _link(self, exchange: Exchange) -> web.Response:
        self._auth.only_admin(exchange)
        asked = await exchange.body()
        kind, email = exchange.text(asked, "type"), address_of(exchange, asked)
        user = self._auth.accounts.by_email(email)
        if kind in ("signup", "invite") and user is None:
            user = await self._made(exchange, asked, email, secrets.token_hex(16), confirmed=False)
            self._auth.audit_admin(
                exchange, "user_invited" if kind == "invite" else "user_confirmation_requested", user
            )
        elif user is None:
            raise AuthRefusal(404, "user_not_found", "User with this email not found")
        else:
            # The trap: it is written as if the user had asked for it.
            self._auth.audit(exchange, "user_recovery_requested", user)
        self._auth.ways.mail_code(email, self._auth.now())
        code = self._auth.ways.codes[user.email].text
        link = f"{self._auth.url}/verify?token={code}&type={kind}"
        return web.json_response({**user.document(), "action_link": link, "email_otp": code, "verification_type": kind})

    async def _audited(self, exchange: Exchange) -> web.Response:
        self._auth.only_admin(exchange)
        found = [line["auth_audit_event"] for line in self._auth.journal.lines if line["msg"] == "audit_event"]
        entries = [
            {"id": event["audit_log_id"], "payload": event, "created_at": event["created_at"], "ip_address": ""}
            for event in reversed(found)
        ]
        return web.json_response(entries)

    async def _made(
        self, exchange: Exchange, asked: dict[str, Any], email: str, password: str, *, confirmed: bool
    ) -> User:
        """A new user, if the hook lets it be. Raises AuthRefusal."""
        if self._auth.accounts.by_email(email) is not None:
            message = "A user with this email address has already been registered"
            raise AuthRefusal(422, "email_exists", message)
        data = asked.get("data")
        metadata = data if isinstance(data, dict) else {}
        await self._auth.hooks.before_user_created(
            {
                "id": str(uuid.uuid4()), "aud": "authenticated", "role": "", "email": email, "phone": "",
                "app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": metadata,
                "identities": [], "is_anonymous": False,
            },
            exchange.about["remote_addr"], self._auth.now(),
        )  # fmt: skip
        seed = Seed(email=email, password=password, confirmed=confirmed, metadata=metadata)
        return self._auth.accounts.add(seed, self._auth.now())


def address_of(exchange: Exchange, asked: dict[str, Any]) -> str:
    """The address that was sent, in lower case. Raises AuthRefusal."""
    email = exchange.text(asked, "email")
    if not _ADDRESS.fullmatch(email) or len(email) > 255:
        raise AuthRefusal(400, "validation_failed", "Unable to validate email address: invalid format")
    return email.lower()
