"""Makes access tokens, good and bad, for the tests of who may come in.

forge = Forge.es256()
forge.token()                                   # as Supabase would issue it now
forge.token(sub="", role="anon")                # claims changed; `ABSENT` leaves one out
forge.token(header={"jku": "http://evil"})      # the header changed
forge.raw(header, claims, signature=b"")        # nothing encoded for you
forge.jwks()                                    # what the project would publish
"""

from __future__ import annotations

import json
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER: Final = "https://project.supabase.co/auth/v1"
SECRET: Final = "a shared secret of more than thirty-two bytes"
USER: Final = "26707f4a-0a3e-4b5e-9d6c-0f6a6d0c2f11"
SESSION: Final = "9b7c2f0e-5c0a-4f53-8a6b-6d0d3b8f7a22"
ABSENT: Final = object()
"""As a claim's or header's value: leave it out."""
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | bytes


def b64(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True, kw_only=True)
class Forge:
    """One signing key, and tokens made with it. It uses no JWT library, so it can make what they refuse to."""

    alg: str
    key: Private
    kid: str = field(default_factory=lambda: str(uuid.uuid4()))
    issuer: str = ISSUER
    now: datetime | None = None
    """When tokens are issued; None is the wall clock."""

    @classmethod
    def es256(cls, **fields: Any) -> Forge:
        return cls(alg="ES256", key=ec.generate_private_key(ec.SECP256R1()), **fields)

    @classmethod
    def rs256(cls, bits: int = 2048, **fields: Any) -> Forge:
        return cls(alg="RS256", key=rsa.generate_private_key(65537, bits), **fields)

    @classmethod
    def hs256(cls, secret: str = SECRET, **fields: Any) -> Forge:
        return cls(alg="HS256", key=secret.encode(), **fields)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a user's token, issued now for an hour."""
        now = int((self.now or datetime.now(UTC)).timestamp())
        found = {
            "iss": self.issuer, "sub": USER, "aud": "authenticated", "iat": now, "exp": now + 3600,
            "email": "ana@example.com", "phone": "", "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {"email_verified": True}, "role": "authenticated", "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now}], "session_id": SESSION, "is_anonymous": False,
        }  # fmt: skip
        return _changed(found, changes)

    def header(self, **changes: Any) -> dict[str, Any]:
        return _changed({"alg": self.alg, "typ": "JWT", "kid": self.kid}, changes)

    def token(self, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A signed token."""
        return self.signed(_json(self.header(**(header or {}))), _json(self.claims(**claims)))

    def signed(self, header: bytes, claims: bytes) -> str:
        """Any two texts, with a signature that is good for them."""
        text = f"{b64(header)}.{b64(claims)}"
        return f"{text}.{b64(self.signature(text.encode()))}"

    def raw(self, header: object, claims: object, *, signature: bytes = b"") -> str:
        """Whatever, signed with whatever."""
        return f"{b64(_json(header))}.{b64(_json(claims))}.{b64(signature)}"

    def signature(self, text: bytes) -> bytes:
        """As RFC 7518 §3 wants it."""
        match self.key:
            case bytes() as secret:
                code = hmac.HMAC(secret, hashes.SHA256())
                code.update(text)
                return code.finalize()
            case rsa.RSAPrivateKey() as private:
                return private.sign(text, padding.PKCS1v15(), hashes.SHA256())
            case private:
                r, s = decode_dss_signature(private.sign(text, ec.ECDSA(hashes.SHA256())))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key, as it is published."""
        assert not isinstance(self.key, bytes)
        numbers = self.key.public_key().public_numbers()
        if isinstance(numbers, rsa.RSAPublicNumbers):
            found = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        else:
            found = {
                "kty": "EC",
                "crv": "P-256",
                "x": b64(numbers.x.to_bytes(32, "big")),
                "y": b64(numbers.y.to_bytes(32, "big")),
            }
        return _changed({**found, "kid": self.kid, "alg": self.alg, "use": "sig", "key_ops": ["verify"]}, changes)

    def jwks(self, *others: Forge) -> bytes:
        """The document that publishes this key and others."""
        return _json({"keys": [forge.jwk() for forge in (self, *others)]})


def _changed(found: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**found, **changes}.items() if value is not ABSENT}
