"""Attacks on a protected application over real HTTP, under ES256, RS256 and HS256: none comes in.

Fuzzed tokens are in test_access_attacks_fuzzed.py, keys that rotate under load in test_access_attacks_rotation.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tocsin.access.allowlist import Listed, Role, entry_of
from tocsin.testing.forge import ABSENT, ISSUER, USER, Forge
from tocsin.testing.protected import ALGORITHMS, Target, attacked

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
LISTED = Listed(
    entries=(entry_of("ana@example.com", NOW, by="root"), entry_of("root@example.com", NOW, by="x", role=Role.ADMIN)),
    version=1,
)


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, Target]]:
    with attacked(LISTED, NOW) as running:
        yield running


@pytest.fixture(params=ALGORITHMS)
def target(request: pytest.FixtureRequest, targets: dict[str, Target]) -> Target:
    return targets[request.param]


def test_a_good_token_comes_in(target: Target) -> None:
    """Or the attacks below would prove nothing."""
    status, body = target.answer(("Authorization", f"Bearer {target.forge.token()}"))
    assert (status, json.loads(body)) == (200, {"sub": USER, "role": None})


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "empty sub": {"sub": ""},
    "no sub": {"sub": ABSENT},
    "sub that is no UUID": {"sub": "ana"},
    "nil sub": {"sub": "00000000-0000-0000-0000-000000000000"},
    "the anon key": {"role": "anon", "sub": ABSENT, "session_id": ABSENT, "iss": "supabase", "aud": ABSENT},
    "the service_role key": {"role": "service_role", "sub": ABSENT, "session_id": ABSENT, "iss": "supabase"},
    "role anon": {"role": "anon"},
    "role service_role": {"role": "service_role"},
    "role postgres": {"role": "postgres"},
    "anonymous": {"is_anonymous": True},
    "ten years": {"exp": AT + 315_360_000},
    "expired": {"iat": AT - 7200, "exp": AT - 3600},
    "just expired": {"iat": AT - 3600, "exp": AT - 30},
    "no exp": {"exp": ABSENT},
    "exp null": {"exp": None},
    "exp text": {"exp": str(AT + 3600)},
    "exp infinite": {"exp": 1e308},
    "iat of tomorrow": {"iat": AT + 86_400, "exp": AT + 90_000},
    "no iat": {"iat": ABSENT},
    "not before tomorrow": {"nbf": AT + 86_400},
    "aud list": {"aud": ["authenticated"]},
    "aud list of several": {"aud": ["authenticated", "other"]},
    "aud other": {"aud": "other"},
    "no aud": {"aud": ABSENT},
    "another project": {"iss": "https://other.supabase.co/auth/v1"},
    "issuer prefix": {"iss": ISSUER + ".evil.example"},
    "issuer list": {"iss": [ISSUER]},
    "no iss": {"iss": ABSENT},
    "third-party client": {"client_id": "a-client"},
    "no session": {"session_id": ABSENT},
    "empty session": {"session_id": ""},
    "not on the list": {"email": "eve@example.com"},
    "no e-mail": {"email": ""},
    "e-mail of two parts": {"email": "eve@evil.example@example.com"},
    "e-mail with a zero-width": {"email": "ana\u200b@example.com"},
    "e-mail in full width": {"email": "ａna@example.com"},
    "metadata that claims": {"email": "eve@evil.example", "user_metadata": {"email": "ana@example.com"}},
}


@pytest.mark.parametrize("claims", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_the_projects_own_key_does_not_make_a_bad_claim_good(target: Target, claims: dict[str, Any]) -> None:
    """401 or 403; a signature proves who signed, and no more."""
    assert target.status_of(target.forge.token(**claims)) in (401, 403)


BAD_HEADERS: dict[str, dict[str, Any]] = {
    "jku": {"jku": "http://127.0.0.1:1/jwks.json"},
    "x5u": {"x5u": "http://127.0.0.1:1/cert.pem"},
    "x5c": {"x5c": ["AAAA"]},
    "crit": {"crit": ["b64"], "b64": True},
    "unknown crit": {"crit": ["x"], "x": 1},
    "typ of another protocol": {"typ": "at+jwt"},
    "alg missing": {"alg": ABSENT},
    "alg none": {"alg": "none"},
    "alg None": {"alg": "None"},
    "kid number": {"kid": 1},
    "kid endless": {"kid": "k" * 3000},
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_no_header_chooses_its_own_key_or_meaning(target: Target, header: dict[str, Any]) -> None:
    """Signed well all the same."""
    assert target.status_of(target.forge.token(header=header)) == 401


@pytest.mark.parametrize("kid", ["../../../../dev/null", "x' UNION SELECT 'secret", "https://evil.example/key", ""])
def test_a_kid_is_a_name_and_nothing_is_opened_by_it(target: Target, kid: str) -> None:
    """Unknown where keys have names; not looked at where there is one secret and older projects sign without."""
    assert target.status_of(target.forge.token(header={"kid": kid})) == (200 if target.forge.alg == "HS256" else 401)


def test_a_key_in_the_header_is_not_used(target: Target) -> None:
    """The attacker's key signs, and the header brings it along."""
    own = Forge.es256(now=NOW, kid=target.forge.kid)
    assert target.status_of(own.token(header={"jwk": own.jwk()})) == 401
    assert target.status_of(own.token()) == 401


def test_a_public_key_is_no_hmac_secret(targets: dict[str, Target]) -> None:
    """HS256 signed with what everybody can read: PEM, DER, JWK, its x."""
    for name in ("ES256", "RS256"):
        target = targets[name]
        assert not isinstance(target.forge.key, bytes)
        public = target.forge.key.public_key()
        shapes = [public.public_bytes(e, PublicFormat.SubjectPublicKeyInfo) for e in (Encoding.PEM, Encoding.DER)]
        shapes += [shapes[0].strip(), json.dumps(target.forge.jwk()).encode(), target.forge.jwks(), b"", b"\0"]
        for shape in shapes:
            confused = replace(target.forge, alg="HS256", key=shape)
            for alg in ("HS256", name):
                assert target.status_of(confused.token(header={"alg": alg})) == 401


def test_unsigned_tokens_are_refused(target: Target) -> None:
    """No signature, an empty one, zeros (CVE-2022-21449), another token's."""
    forge, claims = target.forge, target.forge.claims()
    for alg in ("none", "NONE", "nOnE", "", forge.alg):
        for signature in (b"", b"\0" * 64, b"\0" * 256, b"\xff" * 64):
            assert target.status_of(forge.raw(forge.header(alg=alg), claims, signature=signature)) == 401
    head, _, _ = forge.token(email="root@example.com").rpartition(".")
    other = forge.token().rpartition(".")[2]
    assert target.status_of(f"{head}.{other}") == 401
    assert target.status_of(f"{head}.") == 401


def test_a_token_of_another_configuration_is_refused(targets: dict[str, Target]) -> None:
    """Each application takes its own algorithm and key."""
    accepted = [
        (mine, theirs)
        for mine, target in targets.items()
        for theirs, other in targets.items()
        if target.status_of(other.forge.token()) == 200
    ]
    assert accepted == [(name, name) for name in ALGORITHMS]


@pytest.mark.parametrize("size", [8193, 12_000, 100_000, 2_000_000])
def test_an_oversize_token_is_refused(target: Target, size: int) -> None:
    """By us up to what the server reads of a header, by the server beyond."""
    token = target.forge.token(user_metadata={"x": "y" * size})
    assert target.status_of(token) in (0, 400, 401, 431)


def test_another_spelling_of_a_good_token_is_refused(target: Target) -> None:
    """`=` at each end of a segment, other alphabets, more dots. (Blanks at the end HTTP itself takes away.)"""
    token = target.forge.token()
    head, body, signature = token.split(".")
    spellings = [
        f"{token}=", f"{token}==", f"{head}=.{body}.{signature}", f"{head}.{body}==.{signature}", f"{token}.",
        f".{token}", f"{token}.{signature}", f"{head}.{body}", f"{head}..{signature}", f" {token}", f'"{token}"',
        token.replace("-", "+").replace("_", "/") + "+", f"{token}%3D", f"{token}\x00", f"{token},{token}",
    ]  # fmt: skip
    assert [text for text in spellings if target.status_of(text) == 200] == []


def test_exactly_one_authorization_header(target: Target) -> None:
    """Two are refused though both are good; the token comes by no other way."""
    good = f"Bearer {target.forge.token()}"
    tries: list[tuple[tuple[str, str], ...]] = [
        (("Authorization", good), ("Authorization", good)),
        (("Authorization", good), ("authorization", "Bearer x")),
        (("Authorization", f"{good}, {good}"),),
        (("Authorization", good[7:]),),
        (("Authorization", "Basic " + base64.b64encode(good[7:].encode()).decode()),),
        (("Authorization", f"Token {good[7:]}"),),
        (("X-Authorization", good),),
        (("X-Forwarded-Authorization", good),),
        (("Cookie", f"access_token={good[7:]}"), ("apikey", good[7:])),
        (),
    ]
    assert [target.status(*headers) for headers in tries] == [401] * len(tries)
    assert target.status(path=f"/me?access_token={good[7:]}") == 401


def test_what_is_not_there_is_refused_like_what_is(target: Target) -> None:
    """A stranger learns no routes, by status, header or body."""
    answers = {target.answer(path=path) for path in ("/me", "/admin", "/nothing", "/healthz/", "/", "/openapi.json")}
    assert [status for status, _ in answers] == [401]


def test_a_role_too_low_is_403_and_says_no_more(target: Target) -> None:
    """Nor does 403 differ between a role too low and an address that is not listed."""
    low = target.answer(("Authorization", f"Bearer {target.forge.token()}"), path="/admin")
    unlisted = target.answer(("Authorization", f"Bearer {target.forge.token(email='eve@x.example')}"), path="/me")
    assert (low[0], low == unlisted) == (403, True)
    assert target.status_of(target.forge.token(email="root@example.com"), path="/admin") == 200
