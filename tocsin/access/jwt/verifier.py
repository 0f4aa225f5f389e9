"""The way through: header, key, signature, claims; and a memory of tokens that went it.

The memory is keyed by the SHA-256 of the token, so that it holds none, is bounded, and never outlives the token or the
key set that proved it: a key that was withdrawn ends its tokens when the set is next fetched. It only saves work. What
is revoked goes by session, never by token: an ECDSA signature has a twin that is as valid, so one token has two
spellings (RFC 6979 does not help; (r, n-s) verifies too).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import orjson
import structlog

from tocsin.access.jwt.compact import read_header
from tocsin.access.jwt.keys import ALGORITHMS, Key, KeySource
from tocsin.access.jwt.policy import TokenPolicy
from tocsin.access.verdicts import Principal, Reason, Refusal, Unproven

CACHED_TOKENS: Final = 10_000
_A_MINUTE: Final = timedelta(minutes=1)

log = structlog.get_logger(__name__)


class TokenVerifier:
    """Says who a token speaks for."""

    def __init__(
        self, sources: Mapping[str, KeySource], policy: TokenPolicy, *, cached_tokens: int = CACHED_TOKENS
    ) -> None:
        """`sources` by algorithm; `cached_tokens` 0 verifies each time. Raises ValueError for an unknown algorithm."""
        if not sources or not sources.keys() <= ALGORITHMS:
            raise ValueError(f"the algorithms are some of {', '.join(sorted(ALGORITHMS))}")
        self._sources = dict(sources)
        self._policy = policy
        self._algorithms = frozenset(sources)
        import jwt

        self._jws = jwt.PyJWS(algorithms=sorted(sources), options={"enforce_minimum_key_length": True})
        self._most = cached_tokens
        self._verified: OrderedDict[bytes, tuple[Principal, datetime]] = OrderedDict()
        if policy.issuer is None:
            log.warning(
                "access.issuer_not_pinned",
                mend="tokens of any issuer with a known key are taken: configure the issuer (PROJECT/auth/v1)",
            )

    async def verify(self, token: str, now: datetime) -> Principal | Refusal:
        """Who `token` speaks for at `now`."""
        if len(token) > self._policy.max_bytes:  # before it is hashed
            return Unproven(reason=Reason.TOO_LONG, because=f"more than {self._policy.max_bytes} characters")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest() if self._most else b""
        if (known := self._remembered(digest, now)) is not None:
            return known
        header = read_header(token, self._policy.max_bytes, self._algorithms)
        if isinstance(header, Unproven):
            return header
        key = await self._sources[header.alg].key(header, now)
        if isinstance(key, Refusal):
            return key
        verdict = self._judged(token, header.alg, key, now)
        if isinstance(verdict, Principal) and self._most:
            self._remember(digest, verdict, key)
        return verdict

    def purge(self, *, session_id: str | None = None) -> None:
        """Verify anew: the tokens of one session; or all of them, with keys fetched anew."""
        if session_id is None:
            self._verified.clear()
            for source in self._sources.values():
                source.purge()
            return
        for digest in [digest for digest, (who, _) in self._verified.items() if who.session_id == session_id]:
            del self._verified[digest]

    @property
    def remembered(self) -> int:
        """How many tokens are in memory."""
        return len(self._verified)

    def _judged(self, token: str, alg: str, key: Key, now: datetime) -> Principal | Refusal:
        import jwt

        try:
            payload = self._jws.decode_complete(token, key.jwk, algorithms=[alg])["payload"]
        except jwt.InvalidSignatureError:
            return Unproven(reason=Reason.BAD_SIGNATURE, because="the signature is not the key's")
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            return Unproven(reason=Reason.MALFORMED, because=f"PyJWT: {type(error).__name__}")
        try:
            claims = orjson.loads(payload)
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            return Unproven(reason=Reason.MALFORMED, because="the claims are not a JSON object")
        return self._policy.judge(claims, now)

    def _remembered(self, digest: bytes, now: datetime) -> Principal | None:
        found = self._verified.get(digest)
        if found is None:
            return None
        who, until = found
        # `issued_at`: a clock that was set back far is no reason to take a token from the future.
        if now >= until or now < who.issued_at - _A_MINUTE:
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return who

    def _remember(self, digest: bytes, who: Principal, key: Key) -> None:
        self._verified[digest] = (who, who.expires_at if key.until is None else min(who.expires_at, key.until))
        while len(self._verified) > self._most:
            self._verified.popitem(last=False)
