"""ES256 signing keys, as Supabase rotates them: one signs, others still (or already) verify."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tocsin.testing.supabase.refusals import AuthRefusal


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A P-256 key and the `kid` that names it."""

    kid: str
    private: ec.EllipticCurvePrivateKey

    @classmethod
    def fresh(cls) -> SigningKey:
        return cls(kid=str(uuid.uuid4()), private=ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def of(cls, file: Path) -> SigningKey:
        """The one of a PEM file. Raises OSError and ValueError."""
        private = serialization.load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise ValueError(f"{file} is no P-256 key: make one: openssl ecparam -name prime256v1 -genkey -noout")
        return cls(kid=str(uuid.uuid4()), private=private)

    def keep(self, file: Path) -> None:
        """Write it to a PEM file of the owner's alone."""
        file.touch(mode=0o600)
        form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        file.write_bytes(self.private.private_bytes(form, kind, serialization.NoEncryption()))

    def public_jwk(self) -> dict[str, Any]:
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**jwk, "kid": self.kid, "alg": "ES256", "use": "sig", "key_ops": ["verify"], "ext": True}


class SigningKeys:
    """The key in use and the standby; both are published, so that a rotation surprises nobody's cache."""

    def __init__(self, current: SigningKey | None = None) -> None:
        self.current = current or SigningKey.fresh()
        self.standby = SigningKey.fresh()
        self._previous: list[SigningKey] = []

    def rotate(self) -> None:
        """The standby signs from now on, a new standby is published, and what was current still verifies."""
        self._previous.insert(0, self.current)
        self.current, self.standby = self.standby, SigningKey.fresh()

    def revoke_previous(self) -> None:
        """Tokens of earlier keys are worth nothing from now on."""
        self._previous.clear()

    def published(self) -> tuple[SigningKey, ...]:
        return (self.current, self.standby, *self._previous)

    def jwks(self) -> dict[str, Any]:
        """What /.well-known/jwks.json answers."""
        return {"keys": [key.public_jwk() for key in self.published()]}

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.current.private, algorithm="ES256", headers={"kid": self.current.kid})

    def verify(self, token: str, *, now: float) -> dict[str, Any]:
        """The claims. Raises AuthRefusal in the server's words."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            for key in self.published():
                if key.kid == kid:
                    # The expiry is compared below, with the clock that issued it.
                    claims: dict[str, Any] = jwt.decode(
                        token,
                        key.private.public_key(),
                        algorithms=["ES256"],
                        options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
                    )
                    break
            else:
                raise jwt.InvalidTokenError(f"unrecognized JWT kid {kid}")
        except jwt.InvalidTokenError as error:
            raise AuthRefusal(
                403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {error}", internal=str(error)
            ) from None
        if now >= float(claims.get("exp", 0)):
            raise AuthRefusal(
                403,
                "bad_jwt",
                "invalid JWT: unable to parse or verify signature, token has invalid claims: token is expired",
                internal="token has invalid claims: token is expired",
            )
        return claims
