"""Service tokens for the door: how a request shows one; looked up in the state store once in a while, from memory in
between."""

from __future__ import annotations

import base64
import binascii
import contextlib
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request

from tocsin.access.tokens import ServiceToken
from tocsin.errors import StateError
from tocsin.ports import Clock
from tocsin.state.tokens import Tokens

TOKEN_CACHE: Final = timedelta(seconds=2)
"""A revoked token is refused after this long at the latest."""
STALE_FOR: Final = timedelta(seconds=60)
"""While the store does not answer a token is believed for so long, as the allowlist is."""
USED_EVERY: Final = timedelta(minutes=1)
_KNOWN: Final = 1000
"""Ids that are remembered: guesses must not fill the memory."""


class CachedTokens:
    """gate.TokenStore over the state store: asked once in a while, and for a minute from memory while it is down."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: dict[str, tuple[datetime, ServiceToken | None]] = {}
        self._used: dict[str, datetime] = {}

    async def service_token(self, id: str) -> ServiceToken | None:
        """The token of this id, at most TOKEN_CACHE old; while the store does not answer at most STALE_FOR.

        Raises StateError where it can't be known: nobody is told then that their token is wrong.
        """
        now = self._clock.now()
        cached = self._known.get(id)
        if cached is not None and _within(cached[0], now, TOKEN_CACHE):
            return cached[1]
        try:
            row = await self._tokens.get(id)
        except StateError:
            if cached is not None and cached[1] is not None and _within(cached[0], now, STALE_FOR):
                return cached[1]
            raise
        if len(self._known) > _KNOWN:
            self._known.clear()
        self._known[id] = (now, row)
        return row

    async def token_used(self, id: str) -> None:
        """Remember that it was used, once a minute."""
        now = self._clock.now()
        if id not in self._used or now - self._used[id] >= USED_EVERY:
            self._used[id] = now
            with contextlib.suppress(StateError):
                await self._tokens.used(id, now)


def _within(then: datetime, now: datetime, life: timedelta) -> bool:
    # A clock that was set back must not keep a revoked token alive until it has caught up.
    return timedelta(0) <= now - then < life


def clear_token(request: Request) -> tuple[str | None, str]:
    """(the clear token, why there is none)."""
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        return None, "Send one Authorization header with a service token (tocsin token create --scope …)."
    kind, _, value = given[0].partition(" ")
    if kind.lower() == "bearer":
        return value.strip(), ""
    if kind.lower() == "basic":
        try:
            _, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, "The Basic credential is not base64 of user:password; the password is a service token."
        return password, ""
    return None, "Use Bearer with a service token, or Basic with the token as password."
