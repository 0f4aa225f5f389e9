"""Service tokens for the door: looked up in the state store once in a while, from memory in between."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Final

from tocsin.access.tokens import ServiceToken
from tocsin.errors import StateError
from tocsin.ports import Clock
from tocsin.state.tokens import Tokens

TOKEN_CACHE: Final = timedelta(seconds=2)
"""A revoked token is refused after this long at the latest."""
USED_EVERY: Final = timedelta(minutes=1)
_KNOWN: Final = 1000
"""Ids that are remembered: guesses must not fill the memory."""


class CachedTokens:
    """gate.TokenStore over the state store: asked once in a while, and from memory while the store is down."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: dict[str, tuple[datetime, ServiceToken | None]] = {}
        self._used: dict[str, datetime] = {}

    async def service_token(self, id: str) -> ServiceToken | None:
        """The token of this id, at most TOKEN_CACHE old; older only while the store does not answer."""
        now = self._clock.now()
        cached = self._known.get(id)
        if cached is not None and now - cached[0] < TOKEN_CACHE:
            return cached[1]
        try:
            row = await self._tokens.get(id)
        except StateError:
            return cached[1] if cached is not None else None
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
