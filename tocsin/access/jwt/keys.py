"""Where the keys come from that prove a token, and which keys are fit to.

A key set is read with PyJWT's PyJWKSet, which binds each key to one algorithm. It also takes what must never verify a
Supabase token: symmetric keys, private keys, RSA of 1024 bits. Those are left out here, and said.
PyJWT and cryptography (9 MB) are imported when the first key is read: most daemons verify no access token.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from tocsin.access.jwt.compact import Header
from tocsin.access.verdicts import Refusal
from tocsin.errors import TocsinError

if TYPE_CHECKING:
    import jwt

ALGORITHMS: Final = frozenset({"ES256", "RS256", "HS256"})
"""What Supabase signs with. EdDSA is announced; add it here when it is served."""
LEAST_RSA_BITS: Final = 2048
LEAST_SECRET_BYTES: Final = 32
"""RFC 7518 §3.2: an HS256 key is at least as long as the hash."""


class KeysUnreadable(TocsinError):
    """What the key set's address answered is not a key set."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and until when it may be believed without asking again."""

    jwk: jwt.PyJWK
    until: datetime | None
    """None for a configured secret, which nobody can withdraw but by a reload."""


class KeySource(Protocol):
    """Gives the key for a header."""

    async def key(self, header: Header, now: datetime) -> Key | Refusal:
        """The key that `header` names, or why there is none."""

    def purge(self) -> None:
        """Forget what was fetched: the next token asks anew."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a JWKS document."""

    keys: Mapping[str, jwt.PyJWK]
    """By kid."""
    left_out: tuple[str, ...] = ()
    """What was in the document and is not used, a line each."""

    @classmethod
    def read(cls, document: bytes) -> KeySet:
        """Raises KeysUnreadable; an empty set is readable (a project on the legacy secret publishes that)."""
        try:
            found = orjson.loads(document)
        except ValueError as error:
            raise KeysUnreadable(f"the key set is not JSON: {error}") from None
        entries = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(entries, list):
            raise KeysUnreadable('the key set is not {"keys": […]}: is the address right?')
        keys: dict[str, jwt.PyJWK] = {}
        left_out: list[str] = []
        for number, entry in enumerate(entries, 1):
            usable = _usable(entry)
            if isinstance(usable, str):
                left_out.append(f"key {number}: {usable}")
            elif (kid := str(usable.key_id)) in keys:
                # Which of the two is meant can't be told, so neither may decide.
                left_out.append(f"key {number}: its kid is in the set twice")
                del keys[kid]
            else:
                keys[kid] = usable
        return cls(keys, tuple(left_out))


def _usable(entry: Any) -> jwt.PyJWK | str:
    """The key, or why not."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if not isinstance(entry, dict):
        return "not an object"
    if not isinstance(entry.get("kid"), str) or not entry["kid"]:
        return "no kid"
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ("verify",)):
        return "not for verifying"
    if "d" in entry or "k" in entry:
        return "a private or shared key has been published: withdraw it, it is worth nothing now"
    try:
        key = jwt.PyJWKSet.from_dict({"keys": [entry]}).keys[0]
    except jwt.PyJWTError:
        return "of a kind that is not known"
    match key.algorithm_name, key.key:
        case "ES256", EllipticCurvePublicKey() as public if isinstance(public.curve, SECP256R1):
            return key
        case "RS256", RSAPublicKey() as public if public.key_size >= LEAST_RSA_BITS:
            return key
    return "neither ES256 on P-256 nor RS256 of 2048 bits or more"


class SharedSecret:
    """The legacy HS256 secret of a project. Whoever holds it can sign: move the project to ES256."""

    def __init__(self, secret: str) -> None:
        """Raises ValueError for one that can be guessed."""
        import jwt

        if len(secret.encode()) < LEAST_SECRET_BYTES:
            raise ValueError(
                f"the JWT secret has fewer than {LEAST_SECRET_BYTES} bytes; copy the legacy JWT secret whole from the "
                "project's settings (JWT keys)"
            )
        encoded = urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
        self._key = Key(jwt.PyJWK({"kty": "oct", "k": encoded}, "HS256"), None)

    async def key(self, header: Header, now: datetime) -> Key | Refusal:
        """The secret, which serves HS256 alone. A kid is not looked at: older projects sign without one."""
        return self._key

    def purge(self) -> None:
        """Nothing is fetched."""
