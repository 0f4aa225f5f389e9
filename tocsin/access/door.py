"""The door: from the headers of a request to who may come in.

    door = Door(verifier, roster, live=live)
    await door.admit(headers, now)        # Admitted | Unproven | NotAllowed | Unavailable

In this order: exactly one Authorization header, the token, the session (where `live` is wanted), the allowlist. Each
step can only refuse; nothing later makes up for what an earlier one did not prove.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from tocsin.access.allowlist import Role, Roster
from tocsin.access.jwt import TokenVerifier
from tocsin.access.live import LiveSessions
from tocsin.access.verdicts import NotAllowed, Principal, Reason, Refusal, Unavailable, Unproven

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI gives them: names in lower case."""
_SCHEME: Final = b"bearer "
_PLAIN: Final = bytes(code for code in range(0x21, 0x7F) if code != ord(","))
"""What a credential may be written with; a comma would join two of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """Somebody who may come in."""

    principal: Principal
    role: Role | None
    """In the console; None: the application only."""
    because: str
    """Which entry of the allowlist let them in."""


class Admits(Protocol):
    """A door, or a test's."""

    async def admit(self, headers: Headers, now: datetime) -> Admitted | Refusal:
        """Who a request with these headers is from."""


def bearer(headers: Headers) -> str | Unproven:
    """The one bearer token among a request's headers."""
    given = [value for name, value in headers if name == b"authorization"]
    if not given:
        return Unproven(reason=Reason.NO_CREDENTIAL, because="no Authorization header")
    if len(given) > 1:
        # What stands before us may have looked at another one.
        return Unproven(reason=Reason.SEVERAL_CREDENTIALS, because=f"{len(given)} Authorization headers")
    token = given[0][len(_SCHEME) :]
    # One pass in C: a regular expression takes as long as hashing the token does.
    if given[0][: len(_SCHEME)].lower() != _SCHEME or not token or token.translate(None, _PLAIN):
        return Unproven(reason=Reason.NOT_BEARER, because="the Authorization header is not `Bearer TOKEN`")
    return token.decode("ascii")


class Door:
    """Token, session, allowlist."""

    def __init__(self, verifier: TokenVerifier, roster: Roster, *, live: LiveSessions | None = None) -> None:
        self._verifier = verifier
        self._roster = roster
        self._live = live
        self._purges = 0
        roster.on_purge = self.purge

    async def admit(self, headers: Headers, now: datetime) -> Admitted | Refusal:
        """Who a request with these headers is from."""
        token = bearer(headers)
        if isinstance(token, Refusal):
            return token
        return await self.known(token, now)

    async def known(self, token: str, now: datetime) -> Admitted | Refusal:
        """Who an access token speaks for, wherever it was kept."""
        purges = self._purges
        found = await self._known(token, now)
        # The look at the list that a ruling may begin is where a purge is heard of: what was proven is proven anew.
        return found if self._purges == purges else await self._known(token, now)

    async def _known(self, token: str, now: datetime) -> Admitted | Refusal:
        principal = await self._verifier.verify(token, now)
        if isinstance(principal, Refusal):
            return principal
        if self._live is not None:
            checked = await self._live.check(token, principal, now)
            if isinstance(checked, Refusal):
                return checked
            principal = checked
        return await self.ruled(principal, now)

    async def ruled(self, principal: Principal, now: datetime) -> Admitted | Refusal:
        """The allowlist's say on somebody whose token was proven: for sessions that hold tokens themselves too."""
        ruling = await self._roster.ruling(principal.email, now)
        if isinstance(ruling, Unavailable):
            return replace(ruling, sub=principal.sub)
        if not ruling.allowed:
            return NotAllowed(reason=ruling.reason or Reason.NOT_LISTED, because=ruling.because, sub=principal.sub)
        return Admitted(principal=principal, role=ruling.role, because=ruling.because)

    def sign_out(self, session_id: str) -> None:
        """Forget what is known of a session: its next request is proven and asked about anew."""
        self._verifier.purge(session_id=session_id)
        if self._live is not None:
            self._live.purge(session_id)

    def purge(self) -> None:
        """Forget everything that was proven, keys included."""
        self._purges += 1
        self._verifier.purge()
        if self._live is not None:
            self._live.purge()
