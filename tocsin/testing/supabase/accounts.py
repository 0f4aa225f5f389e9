"""Users, their sessions and refresh tokens, in memory. `now` is an argument: seconds since the epoch."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tocsin.testing.supabase.refusals import AuthRefusal, invalid_credentials, weak_password

LEAST_PASSWORD: Final = 6
MOST_PASSWORD: Final = 72
REUSE_INTERVAL: Final = 10.0
"""Seconds in which a refresh token may be used again: tabs of one browser race for it."""
_TOKEN_LETTERS: Final = string.ascii_lowercase + string.digits


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A user that is there from the start."""

    email: str
    password: str
    confirmed: bool = True
    banned: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    totp: str = ""
    """Base32 secret of a second factor; empty: none."""


@dataclass(kw_only=True)
class User:
    id: str
    email: str
    password: bytes
    created_at: float
    confirmed_at: float | None
    last_sign_in_at: float | None = None
    banned: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    totp: str = ""
    factor_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    factor_verified: bool = True
    challenged_at: float | None = None
    """When the second factor was asked for last."""
    identities: dict[str, str] = field(default_factory=lambda: {"email": str(uuid.uuid4())})
    """By provider, with the identity's id."""

    def document(self) -> dict[str, Any]:
        """The user as the API shows it."""
        created, confirmed = _stamp(self.created_at), _stamp(self.confirmed_at)
        found: dict[str, Any] = {
            "id": self.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": self.email,
            "email_confirmed_at": confirmed,
            "phone": "",
            "confirmed_at": confirmed,
            "last_sign_in_at": _stamp(self.last_sign_in_at),
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": self.metadata,
            "identities": [],
            "created_at": created,
            "updated_at": _stamp(self.last_sign_in_at) or created,
            "is_anonymous": False,
            "factors": [self._factor()] if self.totp else None,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _factor(self) -> dict[str, str]:
        status = "verified" if self.factor_verified else "unverified"
        return {"id": self.factor_id, "status": status, "factor_type": "totp"}


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a request came from."""

    address: str = ""
    agent: str = ""


NOWHERE: Final = Device()


@dataclass(kw_only=True)
class Session:
    id: str
    user: User
    created_at: float
    method: str = "password"
    factor_at: float | None = None
    """When the second factor was shown."""
    device: Device = NOWHERE
    """Of the sign-in, or of the last refresh."""
    refreshed_at: float | None = None


@dataclass(kw_only=True)
class RefreshToken:
    number: int
    text: str
    session: Session
    parent: str
    created_at: float
    revoked_at: float | None = None


class Accounts:
    """Who may sign in, and who is signed in."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._sessions: dict[str, Session] = {}
        self._tokens: dict[str, RefreshToken] = {}
        self._number = 0

    # Users

    def add(self, seed: Seed, now: float) -> User:
        """A new user. Raises ValueError where the address is taken."""
        email = seed.email.lower()
        if email in self._users:
            raise ValueError(f"{email} is a user already")
        user = User(
            id=str(uuid.uuid4()),
            email=email,
            password=_digest(seed.password),
            created_at=now,
            confirmed_at=now if seed.confirmed else None,
            banned=seed.banned,
            metadata=dict(seed.metadata),
            totp=seed.totp,
        )
        self._users[email] = user
        return user

    def __iter__(self) -> Iterator[User]:
        """Every user."""
        return iter(self._users.values())

    def sessions(self) -> Iterator[Session]:
        """Every session."""
        return iter(self._sessions.values())

    def tokens(self) -> Iterator[RefreshToken]:
        """Every refresh token of them, used ones too."""
        return iter(self._tokens.values())

    def remove(self, id: str) -> User:
        """The user is gone, and every session. Raises AuthRefusal."""
        user = next((user for user in self if user.id == id), None)
        if user is None:
            raise AuthRefusal(404, "user_not_found", "User not found")
        self.end_all(user)
        return self._users.pop(user.email)

    def by_email(self, email: str) -> User | None:
        return self._users.get(email.lower())

    def check_strength(self, password: str) -> None:
        """Raises AuthRefusal for one that is too short or too long."""
        if len(password.encode()) > MOST_PASSWORD:
            raise AuthRefusal(400, "validation_failed", f"Password cannot be longer than {MOST_PASSWORD} characters")
        if len(password) < LEAST_PASSWORD:
            raise weak_password(LEAST_PASSWORD)

    def tried(self, email: str, password: str) -> tuple[User, bool]:
        """Whose password was tried, and whether it was right. Raises AuthRefusal for an address that is nobody's, and
        for one that is banned, which is told before the password is looked at."""
        user = self.by_email(email)
        if user is None:
            raise invalid_credentials()
        if user.banned:
            raise AuthRefusal(400, "user_banned", "User is banned")
        return user, _matches(password, user.password)

    # Sessions

    def start_session(
        self, user: User, now: float, *, method: str = "password", device: Device = NOWHERE
    ) -> RefreshToken:
        session = Session(id=str(uuid.uuid4()), user=user, created_at=now, method=method, device=device)
        self._sessions[session.id] = session
        user.last_sign_in_at = now
        return self._issue(session, now, parent="")

    def session(self, session_id: str) -> Session:
        """Raises AuthRefusal where it has ended."""
        found = self._sessions.get(session_id)
        if found is None:
            raise AuthRefusal(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return found

    def end_all(self, user: User) -> None:
        """Every session of the user's ends."""
        for session in [session for session in self._sessions.values() if session.user is user]:
            self._forget(session)

    def end(self, session: Session, scope: str) -> None:
        """`local` ends this one, `others` all but this one, `global` all of the user's."""
        for other in list(self._sessions.values()):
            same = other.id == session.id
            if other.user is session.user and (scope == "global" or same is (scope == "local")):
                self._forget(other)

    def refresh(self, text: str, now: float, device: Device = NOWHERE) -> RefreshToken:
        """The next refresh token; its session is that device's from now on. Raises AuthRefusal; a token used twice too
        late ends its session's whole family."""
        token = self._next(text, now)
        token.session.refreshed_at, token.session.device = now, device
        return token

    def _next(self, text: str, now: float) -> RefreshToken:
        token = self._tokens.get(text)
        if token is None:
            raise AuthRefusal(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        if token.session.user.banned:
            raise AuthRefusal(400, "user_banned", "Invalid Refresh Token: User Banned")
        if token.session.id not in self._sessions:
            raise AuthRefusal(400, "session_not_found", "Invalid Refresh Token: No Valid Session Found")
        if token.revoked_at is None:
            token.revoked_at = now
            return self._issue(token.session, now, parent=token.text)
        active = self._active(token.session)
        if active is not None and active.parent == token.text:
            return active  # the client never stored our last answer
        if now > token.revoked_at + REUSE_INTERVAL:
            for other in self._tokens.values():
                if other.session is token.session and other.revoked_at is None:
                    other.revoked_at = now
            raise AuthRefusal(
                400,
                "refresh_token_already_used",
                "Invalid Refresh Token: Already Used",
                internal=f"Possible abuse attempt: {token.number}",
            )
        return self._issue(token.session, now, parent=token.text)

    def raise_level(self, session: Session, now: float) -> RefreshToken:
        """A second factor was shown: the session is aal2 from now on."""
        session.factor_at = now
        for token in self._tokens.values():
            if token.session is session and token.revoked_at is None:
                token.revoked_at = now
        return self._issue(session, now, parent="")

    def _active(self, session: Session) -> RefreshToken | None:
        for token in reversed(self._tokens.values()):
            if token.session is session and token.revoked_at is None:
                return token
        return None

    def _issue(self, session: Session, now: float, *, parent: str) -> RefreshToken:
        self._number += 1
        text = "".join(secrets.choice(_TOKEN_LETTERS) for _ in range(12))
        token = RefreshToken(number=self._number, text=text, session=session, parent=parent, created_at=now)
        self._tokens[text] = token
        return token

    def _forget(self, session: Session) -> None:
        del self._sessions[session.id]
        for text in [text for text, token in self._tokens.items() if token.session is session]:
            del self._tokens[text]


def _digest(password: str) -> bytes:
    """Salt and scrypt, at a cost that suits a stand-in."""
    salt = os.urandom(16)
    return salt + _scrypt(password, salt)


def _matches(password: str, stored: bytes) -> bool:
    return hmac.compare_digest(_scrypt(password, stored[:16]), stored[16:])


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1024, r=8, p=1)


def _stamp(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
