"""Sessions of the console: an opaque cookie here, the tokens of Supabase encrypted in the store.

    cookie, session = await sessions.open(via="password", email=…, grant=grant, now=now)   # a new id at each sign-in
    await sessions.by_cookie(cookie, now)       # Person | Refusal
    await sessions.close(cookie, now)           # sign out: here, and of Supabase this session only

The cookie's value is 256 random bits; the store has its SHA-256. A session ends after `lifetime` whatever happens,
after `idle` without a request, at sign-out, when it is revoked, and when Supabase says it has ended. Who is banned
there or has no role on the allowlist is refused meanwhile. The role is the list's of this moment, never the session's.

The access token is renewed when it is about to end: by one request at a time here (the others wait for it), and of two
daemons on one store one result is kept (Supabase gives both the same within its reuse interval of 10 s).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol
from weakref import WeakValueDictionary

import structlog

from tocsin.access.allowlist import Role
from tocsin.access.door import Admitted
from tocsin.access.grant import Grant
from tocsin.access.sealing import Seal, Unsealable
from tocsin.access.verdicts import NotAllowed, Reason, Refusal, Unavailable, Unproven
from tocsin.errors import StateError
from tocsin.state.sessions import SessionTable, StoredSession
from tocsin.web.people import Person

SEEN_EVERY: Final = timedelta(minutes=1)
RENEW_BEFORE: Final = timedelta(seconds=60)
LINK_LIFE: Final = timedelta(hours=1)
HALF_WAY: Final = timedelta(minutes=10)
"""How long a second factor may take."""
PRUNE_EVERY: Final = timedelta(minutes=10)
LOCAL_NAME: Final = "console on this host"
_MOST_COOKIE: Final = 128
_OVER: Final = Unproven(reason=Reason.SIGNED_OUT, because="the session has ended")

log = structlog.get_logger(__name__)


class Upstream(Protocol):
    """Supabase, as sessions need it."""

    async def known(self, token: str, now: datetime) -> Admitted | Refusal:
        """Who the access token speaks for, by token, live session and allowlist."""

    async def renew(self, refresh_token: str, now: datetime) -> Grant | Refusal:
        """The next tokens."""

    async def sign_out(self, access_token: str) -> None:
        """End the session there, if it can be reached."""


class Sessions:
    """The sessions of one store. Raises StateError where the store does not answer."""

    def __init__(
        self, table: SessionTable, seal: Seal, *, lifetime: timedelta, idle: timedelta, upstream: Upstream | None
    ) -> None:
        self._table = table
        self._seal = seal
        self._lifetime, self._idle = lifetime, idle
        self.upstream = upstream
        """None: no Supabase is configured, and only one-time links open a session."""
        self._renewing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._pruned: datetime | None = None

    def limit(self, lifetime: timedelta, idle: timedelta) -> None:
        """From now on: new sessions live that long, and all end after so long without a request."""
        self._lifetime, self._idle = lifetime, idle

    # Open and close ------------------------------------------------------------------------------------------------

    async def open(
        self, *, via: str, now: datetime, email: str = "", auth_session: str = "", grant: Grant | None = None,
        stage: str = "open", client: str = "", instead_of: Iterable[str] = (),
    ) -> tuple[str, StoredSession]:  # fmt: skip
        """(the cookie's value, the session). `instead_of`: the cookies that the browser came with, which end."""
        await self._prune(now)
        cookie = secrets.token_urlsafe(32)
        digest = digest_of(cookie)
        session = StoredSession(
            digest=digest, id=secrets.token_hex(6), stage=stage, via=via, email=email, auth_session=auth_session,
            sealed=b"" if grant is None else self._seal.close(grant.sealed_text(), digest.encode()),
            created_at=now, seen_at=now, expires_at=now + (self._lifetime if stage == "open" else HALF_WAY),
            client="".join(sign for sign in client if sign.isprintable())[:200],
        )  # fmt: skip
        await self._table.put(session, instead_of=[digest_of(old) for old in instead_of if old])
        return cookie, session

    async def close(self, cookie: str) -> None:
        """Sign out. Here first: it is over even where Supabase can't be reached."""
        session = await self._table.get(digest_of(cookie))
        if session is None:
            return
        await self._table.end(session.digest)
        grant = self._grant(session)
        if grant is not None and self.upstream is not None:
            await self.upstream.sign_out(grant.access_token)

    async def list(self, now: datetime) -> tuple[StoredSession, ...]:
        """Those that are open, the newest first."""
        return tuple(
            each for each in await self._table.list(now) if each.stage == "open" and now < each.seen_at + self._idle
        )

    async def revoke(self, id: str) -> bool:
        """End the session of that id → False when there is none."""
        return await self._table.revoke(id)

    # One-time links --------------------------------------------------------------------------------------------------

    async def link(self, now: datetime) -> str:
        """The code of a new one-time link, good for an hour. It is shown once and stored as its digest."""
        code = secrets.token_urlsafe(32)
        await self._table.put_link(digest_of(code), now + LINK_LIFE)
        return code

    async def use_link(self, code: str, now: datetime) -> bool:
        """True once for each code."""
        return 0 < len(code) <= _MOST_COOKIE and await self._table.use_link(digest_of(code), now)

    # Who is it -------------------------------------------------------------------------------------------------------

    def csrf(self, cookie: str) -> str:
        """The token for the forms of this session."""
        return self._seal.code("csrf", cookie)

    async def by_cookie(self, cookie: str, now: datetime, *, seen: bool = True) -> Person | Refusal:
        """Whose browser this is; with `seen` the session begins to be idle anew."""
        session = await self.stored(cookie, now)
        if session is None or session.stage != "open":
            return _OVER
        admitted = await self._admitted(session, now)
        if isinstance(admitted, Refusal):
            return await self._refused(session, admitted)
        name, email, role = admitted
        if seen:
            await self._saw(session, now)
        return Person(
            name=name, email=email, role=role, via=session.via, session=session.id, since=session.created_at,
            csrf=self.csrf(cookie),
        )  # fmt: skip

    async def stored(self, cookie: str, now: datetime) -> StoredSession | None:
        """The session of a cookie, at whatever stage, that has not ended by time."""
        if not cookie or len(cookie) > _MOST_COOKIE:
            return None
        session = await self._table.get(digest_of(cookie))
        if session is None:
            return None
        if now >= session.expires_at or now >= session.seen_at + self._idle:
            await self._table.end(session.digest)
            return None
        return session

    def half_way(self, session: StoredSession) -> Grant | None:
        """The tokens of a sign-in whose second factor is asked for."""
        return self._grant(session) if session.stage == "mfa" else None

    async def _admitted(self, session: StoredSession, now: datetime) -> tuple[str, str, Role] | Refusal:
        if session.via == "link":
            # Links are of a console without Supabase: once that is configured they are no way in.
            return _OVER if self.upstream is not None else (LOCAL_NAME, "", Role.ADMIN)
        if self.upstream is None:
            return _OVER
        grant = await self._fresh(session, now)
        if isinstance(grant, Refusal):
            return grant
        found = await self.upstream.known(grant.access_token, now)
        if isinstance(found, Refusal):
            return found
        if found.role is None:
            return NotAllowed(reason=Reason.ROLE_TOO_LOW, because="the allowlist gives no role in the console")
        return found.principal.email, found.principal.email, found.role

    async def _refused(self, session: StoredSession, refusal: Refusal) -> Refusal:
        log.info("console.session_refused", session=session.id, reason=refusal.reason.value, because=refusal.because)
        # Not for "can't be known", nor for what an admin may put right: the list, a factor.
        if isinstance(refusal, Unproven):
            await self._table.end(session.digest)
        return refusal

    async def _fresh(self, session: StoredSession, now: datetime) -> Grant | Refusal:
        """Tokens that are good for now, renewed where they are about to end."""
        grant = self._grant(session)
        if grant is None:
            return _OVER
        if now < grant.expires_at - RENEW_BEFORE:
            return grant
        lock = self._renewing.setdefault(session.digest, asyncio.Lock())
        async with lock:
            current = await self._table.get(session.digest)
            if current is None or (grant := self._grant(current)) is None:
                return _OVER
            if now < grant.expires_at - RENEW_BEFORE:
                return grant  # somebody was first
            return await self._renewed(current, grant, now)

    async def _renewed(self, session: StoredSession, grant: Grant, now: datetime) -> Grant | Refusal:
        assert self.upstream is not None
        renewed = await self.upstream.renew(grant.refresh_token, now)
        if isinstance(renewed, Unavailable):
            return grant if now < grant.expires_at else renewed
        if isinstance(renewed, Refusal):
            # Another daemon on this store may have used the refresh token a moment ago: its result counts.
            later = await self._table.get(session.digest)
            theirs = self._grant(later) if later is not None and later.revision != session.revision else None
            return theirs if theirs is not None and now < theirs.expires_at else renewed
        sealed = self._seal.close(renewed.sealed_text(), session.digest.encode())
        if await self._table.reseal(session, sealed) is None and await self._table.get(session.digest) is None:
            return _OVER  # it was ended meanwhile, and stays so
        return renewed

    def _grant(self, session: StoredSession) -> Grant | None:
        if not session.sealed:
            return None
        try:
            return Grant.of_sealed(self._seal.open(session.sealed, session.digest.encode()))
        except Unsealable:
            log.warning("console.session_unreadable", session=session.id, mend="the session key changed: sign in again")
            return None

    async def _saw(self, session: StoredSession, now: datetime) -> None:
        if now - session.seen_at < SEEN_EVERY:
            return
        try:
            await self._table.seen(session.digest, now)
        except StateError as error:
            log.warning("console.last_seen_not_noted", why=str(error))

    async def _prune(self, now: datetime) -> None:
        if self._pruned is None or now - self._pruned >= PRUNE_EVERY:
            self._pruned = now
            await self._table.prune(now, now - self._idle)


def digest_of(secret: str) -> str:
    """What is stored of a cookie's value or a link's code: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
