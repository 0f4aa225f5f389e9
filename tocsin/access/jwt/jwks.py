"""A project's public keys, fetched from the configured address alone and kept for at most ten minutes.

    younger than half of `ttl`     used
    younger than `ttl`             used, and fetched anew meanwhile
    older                          fetched anew first; where that fails, used for at most `stale_for` more, then 503
    a kid that is not there        fetched anew, as often as `lookups` lets it be

However many requests wait, one fetch is under way. A token can't name the address (see compact). After a failed fetch
the next one waits `retry_every`, so an outage of Supabase costs its callers one deadline and not each of them one.

Supabase's edge holds the key set for 10 minutes too (max-age=600), which is why it publishes the next key as standby
before it signs with it: https://supabase.com/docs/guides/auth/signing-keys
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

import aiohttp
import structlog

from tocsin.access.fetch import NoAnswer, get
from tocsin.access.jwt.compact import Header
from tocsin.access.jwt.keys import Key, KeySet, KeysUnreadable
from tocsin.access.jwt.lookups import Lookups
from tocsin.access.verdicts import Reason, Refusal, Unavailable, Unproven
from tocsin.model import Seconds
from tocsin.tasks import end_tasks

MOST_TTL: Final = 600.0
MOST_BYTES: Final = 65_536

log = structlog.get_logger(__name__)


class JwksKeys:
    """The KeySource of ES256 and RS256. `session` is the caller's to close."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        ttl: Seconds = MOST_TTL,
        stale_for: Seconds = 1800.0,
        lookups: Lookups | None = None,
        retry_every: Seconds = 5.0,
        deadline: Seconds = 5.0,
    ) -> None:
        """Raises ValueError for a `ttl` over ten minutes: a key that was withdrawn would live on."""
        if not 0 < ttl <= MOST_TTL:
            raise ValueError(f"the key set is kept for more than 0 and at most {MOST_TTL:g} s, not {ttl:g}")
        self._url = url
        self._session = session
        self._ttl, self._stale_for = timedelta(seconds=ttl), timedelta(seconds=stale_for)
        self._retry_every = timedelta(seconds=retry_every)
        self._lookups = lookups or Lookups()
        self._deadline = deadline
        self._known: tuple[KeySet, datetime] | None = None
        """The newest set, and when its fetch began."""
        self._failed: tuple[str, datetime] | None = None
        """Why the newest fetch failed, and when it began; None after a good one."""
        self._fetching: asyncio.Task[None] | None = None
        self._purges = 0
        self.fetches = 0
        """How often the address was asked."""

    async def key(self, header: Header, now: datetime) -> Key | Refusal:
        """The key that `header` names."""
        await self._see_to_age(now)
        if self._set_at(now) is not None and header.kid not in self._kids() and self._may_ask_for(header.kid, now):
            await self._fetched(now)
        keys = self._set_at(now)
        if keys is None:
            why = self._failed[0] if self._failed else "nothing was fetched yet"
            return Unavailable(reason=Reason.NO_KEYS, because=why)
        jwk = keys.keys.get(header.kid)
        if jwk is None and self._failed is not None:
            return Unavailable(reason=Reason.NO_KEYS, because=f"the kid is new and {self._failed[0]}")
        if jwk is None:
            return Unproven(reason=Reason.UNKNOWN_KEY, because="no published key has the token's kid")
        if jwk.algorithm_name != header.alg:
            return Unproven(reason=Reason.WRONG_ALGORITHM, because=f"the key is for {jwk.algorithm_name}")
        assert self._known is not None
        return Key(jwk, self._known[1] + self._ttl)

    def purge(self) -> None:
        """Forget the keys: the next token asks for them. For a key that was revoked and must end now."""
        self._known = self._failed = None
        self._lookups.forget()
        # What is being fetched may still hold the key.
        self._purges += 1
        self._fetching = None

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            await end_tasks(self._fetching)

    # When to ask ---------------------------------------------------------------------------------------------------

    async def _see_to_age(self, now: datetime) -> None:
        age = self._age(now)
        if age is not None and age < self._ttl / 2:
            return
        if self._failed is not None and timedelta(0) <= now - self._failed[1] < self._retry_every:
            return
        if age is not None and age < self._ttl:
            self._begin(now)
        else:
            await self._fetched(now)

    def _age(self, now: datetime) -> timedelta | None:
        """None when there are no keys, or the clock was set back and their age can't be told."""
        if self._known is None or now < self._known[1]:
            return None
        return now - self._known[1]

    def _set_at(self, now: datetime) -> KeySet | None:
        """The set that may be used, if need be a stale one."""
        if self._known is None or now - self._known[1] > self._ttl + self._stale_for:
            return None
        return self._known[0]

    def _kids(self) -> frozenset[str]:
        return frozenset(self._known[0].keys) if self._known is not None else frozenset()

    def _may_ask_for(self, kid: str, now: datetime) -> bool:
        # What is under way is everybody's, and free.
        return self._fetching is not None or self._lookups.may(kid, now)

    # Asking --------------------------------------------------------------------------------------------------------

    def _begin(self, now: datetime) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(now))
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._fetching is task:
            self._fetching = None

    async def _fetched(self, now: datetime) -> None:
        # Shielded: a caller who hangs up must not take the answer from the others.
        await asyncio.shield(self._begin(now))

    async def _fetch(self, now: datetime) -> None:
        self.fetches += 1
        began = self._purges
        try:
            answer = await get(self._session, self._url, headers={}, deadline=self._deadline, most_bytes=MOST_BYTES)
            if answer.status != 200:
                raise NoAnswer(f"{self._url} answered {answer.status}")
            found = KeySet.read(answer.body)
        except (NoAnswer, KeysUnreadable) as error:
            if began == self._purges:
                self._failed = (str(error), now)
            log.warning("access.keys_not_fetched", why=str(error), have_keys=self._known is not None)
            return
        if began != self._purges:
            return
        if self._known is None or self._known[0].left_out != found.left_out:
            for line in found.left_out:
                log.warning("access.key_left_out", url=self._url, why=line)
        if not found.keys:
            log.warning(
                "access.no_keys_published",
                url=self._url,
                mend="the project signs with the legacy secret: rotate to ES256 keys, or configure the JWT secret",
            )
        self._known, self._failed = (found, now), None
