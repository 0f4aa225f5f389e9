"""How often an address may ask the stand-in for a token: as Auth's own limiter behind GOTRUE_RATE_LIMIT_HEADER.

Source: supabase/auth, internal/api/options.go.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Final

from tocsin.testing.supabase.refusals import AuthRefusal

WINDOW: Final = 300.0


class Limit:
    """At most `most` calls of an address in five minutes; 0: no limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def check(self, address: str, now: float) -> None:
        """Raises AuthRefusal for one call too many; that one does not count."""
        if not self._most:
            return
        calls = self._calls[address]
        while calls and now - calls[0] >= WINDOW:
            calls.popleft()
        if len(calls) >= self._most:
            raise AuthRefusal(429, "over_request_rate_limit", "Request rate limit reached")
        calls.append(now)
