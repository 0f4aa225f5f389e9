"""How often a kid that is not published may make us ask for the keys again.

Anybody can make up kids, so what they cost must be bounded; but a bound that strangers can use up must not keep out
whoever holds a token of a key that was published a moment ago. Therefore:

    a kid that was looked for in vain     is not looked for again for `again_after`: a client with the token of a
                                          withdrawn key costs one fetch, however often it tries
    any other kid                         costs one of `burst`, of which one comes back every `every`

Whoever uses all of them up makes us fetch once in `every`, and each of those fetches brings the new key, too: under
attack it is refused for `every` seconds at most, otherwise not at all. One per 30 s, as PyJWT has it, would be half a
minute. It costs Supabase's edge 12 small requests a minute. The keys are fetched anew beside the requests anyway, at
half of their age (see jwks), so a key that is published five minutes before it signs is never met as unknown.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from tocsin.model import Seconds

MOST_KIDS: Final = 1024


class Lookups:
    """What may be looked for at a time, for one key set."""

    def __init__(self, *, burst: int = 4, every: Seconds = 5.0, again_after: Seconds = 30.0) -> None:
        self._burst = burst
        self._every, self._again_after = timedelta(seconds=every), timedelta(seconds=again_after)
        self._left = float(burst)
        self._counted_at: datetime | None = None
        self._in_vain: OrderedDict[str, datetime] = OrderedDict()
        """By kid, when it was last looked for; the newest last, and bounded."""

    def may(self, kid: str, now: datetime) -> bool:
        """True when the keys may be fetched for `kid`; counts as done then."""
        looked = self._in_vain.get(kid)
        if looked is not None and timedelta(0) <= now - looked < self._again_after:
            return False
        # A clock that was set back gives nothing and takes nothing.
        passed = max(now - self._counted_at, timedelta(0)) if self._counted_at is not None else timedelta(0)
        self._left = min(float(self._burst), self._left + passed / self._every)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        self._in_vain[kid] = now
        self._in_vain.move_to_end(kid)
        while len(self._in_vain) > MOST_KIDS:
            self._in_vain.popitem(last=False)
        return True

    def forget(self) -> None:
        """The keys were thrown away: what was not among them may be among the next."""
        self._in_vain.clear()
