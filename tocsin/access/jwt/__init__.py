"""Supabase access tokens: proven by signature, then held to more than the standard asks.

    keys = JwksKeys(f"{base}/auth/v1/.well-known/jwks.json", session)
    verifier = TokenVerifier({"ES256": keys, "RS256": keys}, TokenPolicy(issuer=f"{base}/auth/v1"))
    await verifier.verify(token, now)      # Principal | Unproven | Unavailable

A project on the legacy shared secret says so: `{"HS256": SharedSecret(secret)}`. The algorithms that are accepted are
the keys of that mapping, and each key serves one algorithm, so a public key can't be taken for an HMAC secret.

Modules: compact (what is looked at before any key is), keys, jwks and lookups (where keys come from, and when), policy
(what the claims must say), verifier (the way through, and the cache of verified tokens).
"""

from tocsin.access.jwt.jwks import JwksKeys
from tocsin.access.jwt.keys import ALGORITHMS, KeySource, SharedSecret
from tocsin.access.jwt.policy import TokenPolicy
from tocsin.access.jwt.verifier import TokenVerifier

__all__ = ["ALGORITHMS", "JwksKeys", "KeySource", "SharedSecret", "TokenPolicy", "TokenVerifier"]
