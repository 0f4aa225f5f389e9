"""What a token must say to be taken; each case is one that PyJWT alone lets through, or must never."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tocsin.access.jwt import SharedSecret, TokenPolicy, TokenVerifier
from tocsin.access.jwt.keys import Key
from tocsin.access.verdicts import NotAllowed, Principal, Reason, Refusal, Unproven
from tocsin.testing.forge import ABSENT, ISSUER, SECRET, SESSION, USER, Forge, b64

POLICY = TokenPolicy(issuer=ISSUER)


def verifier(policy: TokenPolicy = POLICY, **options: Any) -> TokenVerifier:
    return TokenVerifier({"HS256": SharedSecret(SECRET)}, policy, **options)


async def refused(token: str, now: datetime, policy: TokenPolicy = POLICY) -> tuple[str, Reason]:
    verdict = await verifier(policy).verify(token, now)
    assert isinstance(verdict, Refusal)
    return type(verdict).__name__, verdict.reason


async def test_a_good_token_names_its_principal(hs256: Forge, now: datetime) -> None:
    """All that is later decided upon is in it, and nothing of user_metadata."""
    expected = Principal(
        sub=USER,
        email="ana@example.com",
        role="authenticated",
        aal="aal1",
        session_id=SESSION,
        issued_at=now,
        expires_at=now + timedelta(hours=1),
        methods=("password",),
    )
    assert await verifier().verify(hs256.token(), now) == expected


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sub": ""}, Reason.NO_SUBJECT),
        ({"sub": ABSENT}, Reason.NO_SUBJECT),
        ({"sub": "ana"}, Reason.NO_SUBJECT),
        ({"sub": 7}, Reason.NO_SUBJECT),
        ({"sub": "00000000-0000-0000-0000-000000000000"}, Reason.NO_SUBJECT),
        ({"sub": USER + "\n"}, Reason.NO_SUBJECT),
        ({"role": "anon"}, Reason.WRONG_ROLE),
        ({"role": "service_role"}, Reason.WRONG_ROLE),
        ({"role": ABSENT}, Reason.WRONG_ROLE),
        ({"role": ["authenticated"]}, Reason.WRONG_ROLE),
        ({"aud": ["authenticated"]}, Reason.WRONG_AUDIENCE),
        ({"aud": "other"}, Reason.WRONG_AUDIENCE),
        ({"aud": ABSENT}, Reason.WRONG_AUDIENCE),
        ({"iss": ISSUER + "/"}, Reason.WRONG_ISSUER),
        ({"iss": ISSUER[:-1]}, Reason.WRONG_ISSUER),
        ({"iss": [ISSUER]}, Reason.WRONG_ISSUER),
        ({"iss": ABSENT}, Reason.WRONG_ISSUER),
        ({"session_id": ABSENT}, Reason.NO_SESSION),
        ({"session_id": ""}, Reason.NO_SESSION),
        ({"session_id": None}, Reason.NO_SESSION),
        ({"exp": ABSENT}, Reason.MALFORMED),
        ({"iat": ABSENT}, Reason.MALFORMED),
        ({"exp": True}, Reason.MALFORMED),
        ({"exp": "4000000000"}, Reason.MALFORMED),
        ({"exp": 1e300}, Reason.MALFORMED),
        ({"email": ["ana@example.com"]}, Reason.MALFORMED),
    ],
)
async def test_a_claim_that_is_not_as_supabase_writes_it_is_unproven(
    hs256: Forge, now: datetime, claims: dict[str, Any], reason: Reason
) -> None:
    """401: the signature is good, and it proves nobody."""
    assert await refused(hs256.token(**claims), now) == ("Unproven", reason)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"is_anonymous": True}, Reason.ANONYMOUS),
        ({"is_anonymous": "false"}, Reason.ANONYMOUS),
        ({"is_anonymous": None}, Reason.ANONYMOUS),
        ({"client_id": "some-oauth-client"}, Reason.THIRD_PARTY),
        ({"client_id": 0}, Reason.THIRD_PARTY),
    ],
)
async def test_who_is_known_and_not_meant_is_not_allowed(
    hs256: Forge, now: datetime, claims: dict[str, Any], reason: Reason
) -> None:
    """403: signing in again would not help."""
    assert await refused(hs256.token(**claims), now) == ("NotAllowed", reason)


@pytest.mark.parametrize("claims", [{"is_anonymous": ABSENT}, {"client_id": ""}, {"client_id": None}, {"amr": "x"}])
async def test_what_older_servers_leave_out_is_not_asked_for(
    hs256: Forge, now: datetime, claims: dict[str, Any]
) -> None:
    """is_anonymous and client_id came later than most projects."""
    assert isinstance(await verifier().verify(hs256.token(**claims), now), Principal)


async def test_a_token_ends_with_the_leeway_after_exp(hs256: Forge, now: datetime) -> None:
    """To the second: 30 s for clocks that differ, and no more."""
    token = hs256.token()
    ends = now + timedelta(hours=1)
    found = [await verifier().verify(token, ends + timedelta(seconds=s)) for s in (29, 30)]
    assert [isinstance(verdict, Principal) for verdict in found] == [True, False]


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_a_token_from_the_future_is_refused(hs256: Forge, now: datetime, claim: str) -> None:
    """It was made with a stolen key and another clock, or ours is wrong."""
    ahead = int(now.timestamp()) + 31
    assert await refused(hs256.token(**{claim: ahead, "exp": ahead + 60}), now) == ("Unproven", Reason.FROM_THE_FUTURE)


async def test_a_ten_year_token_is_refused(hs256: Forge, now: datetime) -> None:
    """A leaked token is worth as little as the configuration says."""
    at = int(now.timestamp())
    assert await refused(hs256.token(exp=at + 10 * 365 * 86_400), now) == ("Unproven", Reason.LIVES_TOO_LONG)


async def test_the_lifetime_cap_is_configuration(hs256: Forge, now: datetime) -> None:
    """A project with longer tokens says so."""
    token = hs256.token(exp=int(now.timestamp()) + 7200)
    assert await refused(token, now) == ("Unproven", Reason.LIVES_TOO_LONG)
    assert isinstance(await verifier(TokenPolicy(issuer=ISSUER, max_lifetime=7200)).verify(token, now), Principal)


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/jwks.json"}, {"jwk": {"kty": "oct", "k": "AAAA"}}, {"x5u": "https://evil.example"},
        {"x5c": ["MIIB"]}, {"x5t": "AAAA"}, {"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": True}, {"zip": "DEF"},
        {"cty": "JWT"},
    ],
)  # fmt: skip
async def test_a_header_that_names_keys_or_meanings_is_refused(
    hs256: Forge, now: datetime, header: dict[str, Any]
) -> None:
    """Even when the signature is good: Supabase writes none of them."""
    assert await refused(hs256.token(header=header), now) == ("Unproven", Reason.UNWANTED_HEADER)


@pytest.mark.parametrize("typ", ["at+jwt", "jwt", "JWS", "", None, 7])
async def test_an_odd_type_is_refused(hs256: Forge, now: datetime, typ: Any) -> None:
    """A token of another protocol that shares the key is not an access token (RFC 8725 §3.11)."""
    assert await refused(hs256.token(header={"typ": typ}), now) == ("Unproven", Reason.ODD_TYPE)


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "HS384", "ES256", "RS256", "", None, ["HS256"], "hs256"])
async def test_an_algorithm_that_is_not_configured_is_refused(hs256: Forge, now: datetime, alg: Any) -> None:
    """Before any key is touched."""
    assert await refused(hs256.token(header={"alg": alg}), now) == ("Unproven", Reason.WRONG_ALGORITHM)


@pytest.mark.parametrize("end", ["=", "==", "\n", " ", "A", ".", "\x00", "é", "\ud800"])
async def test_nothing_may_follow_a_token(hs256: Forge, now: datetime, end: str) -> None:
    """One token has one spelling, as far as the encoding goes."""
    verdict = await verifier().verify(hs256.token() + end, now)
    assert isinstance(verdict, Unproven)


async def test_a_token_of_8_kib_is_read_and_a_longer_one_is_not(hs256: Forge, now: datetime) -> None:
    """A megabyte costs its length check, and is never parsed."""
    longest = next(
        token
        for size in range(5000, 6000)
        if len(token := hs256.token(user_metadata={"x": "y" * size})) in (8191, 8192)
    )
    assert isinstance(await verifier().verify(longest, now), Principal)
    assert await refused(longest + "A" * (8193 - len(longest)), now) == ("Unproven", Reason.TOO_LONG)
    assert await refused("A" * 2_000_000, now) == ("Unproven", Reason.TOO_LONG)


async def test_another_spelling_of_the_last_byte_is_refused(hs256: Forge, now: datetime) -> None:
    """32 bytes leave spare bits in base64url: PyJWT's canonical check is relied on."""
    token = hs256.token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sibling = alphabet[alphabet.index(token[-1]) ^ 1]
    assert await refused(token[:-1] + sibling, now) == ("Unproven", Reason.MALFORMED)


@pytest.mark.parametrize("claims", [b"[]", b"null", b"{", b'"x"', b"\xff\xfe", b"[" * 4000, b'{"exp": NaN}'])
async def test_claims_that_are_no_object_are_refused(hs256: Forge, now: datetime, claims: bytes) -> None:
    """Signed nonsense is nonsense."""
    token = hs256.signed(b'{"alg":"HS256","typ":"JWT"}', claims)
    assert await refused(token, now) == ("Unproven", Reason.MALFORMED)


@pytest.mark.parametrize("header", [b"[]", b"{", b"\xff", b"[" * 3000])
async def test_a_header_that_is_no_object_is_refused(hs256: Forge, now: datetime, header: bytes) -> None:
    """Deep nesting neither."""
    assert await refused(hs256.signed(header, b"{}"), now) == ("Unproven", Reason.MALFORMED)


async def test_a_second_factor_can_be_asked_for(hs256: Forge, now: datetime) -> None:
    """403: the person is known, and signed in too weakly."""
    policy = TokenPolicy(issuer=ISSUER, least_aal="aal2")
    assert await refused(hs256.token(), now, policy) == ("NotAllowed", Reason.WEAK_SIGN_IN)
    assert await refused(hs256.token(aal=ABSENT), now, policy) == ("NotAllowed", Reason.WEAK_SIGN_IN)
    assert isinstance(await verifier(policy).verify(hs256.token(aal="aal2"), now), Principal)


def test_an_issuer_that_is_not_pinned_is_warned_of() -> None:
    """Loudly, at start."""
    with capture_logs() as logs:
        verifier(TokenPolicy(issuer=None))
    assert [(line["event"], line["log_level"]) for line in logs] == [("access.issuer_not_pinned", "warning")]


def test_a_short_shared_secret_is_refused() -> None:
    """One that can be guessed signs for everybody."""
    with pytest.raises(ValueError, match="fewer than 32 bytes"):
        SharedSecret("super-secret")


@pytest.mark.parametrize("bad", [{"roles": frozenset({"anon"})}, {"least_aal": "aal9"}, {"max_lifetime": 0.0}])
def test_a_policy_that_lets_everybody_in_is_refused(bad: dict[str, Any]) -> None:
    """The mistakes that configuration could make."""
    with pytest.raises(ValueError):
        TokenPolicy(issuer=ISSUER, **bad)


# The memory of verified tokens -----------------------------------------------------------------------------------


class Counting:
    """A shared secret that counts how often it is asked for."""

    def __init__(self, until: datetime | None = None) -> None:
        self.asked = 0
        self._secret = SharedSecret(SECRET)
        self._until = until

    async def key(self, header: Any, now: datetime) -> Any:
        self.asked += 1
        found = await self._secret.key(header, now)
        assert isinstance(found, Key)
        return Key(found.jwk, self._until)

    def purge(self) -> None:
        self.asked = 0


async def test_a_token_is_verified_once(hs256: Forge, now: datetime) -> None:
    """Then it is remembered, by its hash."""
    keys, token = Counting(), hs256.token()
    door = TokenVerifier({"HS256": keys}, POLICY)
    first, second = await door.verify(token, now), await door.verify(token, now)
    assert (first == second, keys.asked) == (True, 1)


async def test_a_remembered_token_ends_with_exp(hs256: Forge, now: datetime) -> None:
    """The memory saves work and extends nothing."""
    door, token = verifier(), hs256.token()
    await door.verify(token, now)
    assert isinstance(await door.verify(token, now + timedelta(seconds=3630)), Unproven)
    assert door.remembered == 0


async def test_a_remembered_token_is_proven_anew_when_its_key_set_is_old(hs256: Forge, now: datetime) -> None:
    """A key that is withdrawn ends its tokens with the next key set."""
    keys, token = Counting(now + timedelta(minutes=10)), hs256.token()
    door = TokenVerifier({"HS256": keys}, POLICY)
    for minutes in (0, 9, 10):
        await door.verify(token, now + timedelta(minutes=minutes))
    assert keys.asked == 2


async def test_the_memory_is_bounded(hs256: Forge, now: datetime) -> None:
    """The token used longest ago goes first."""
    door = verifier(cached_tokens=3)
    for number in range(10):
        await door.verify(hs256.token(email=f"{number}@example.com"), now)
    assert door.remembered == 3


async def test_refused_tokens_are_not_remembered(hs256: Forge, now: datetime) -> None:
    """Guesses don't push anybody out."""
    door = verifier()
    await door.verify(hs256.token(role="anon"), now)
    assert door.remembered == 0


async def test_purging_a_session_forgets_all_of_its_tokens(hs256: Forge, now: datetime) -> None:
    """However often it was refreshed, and only those."""
    door = verifier()
    for claims in ({}, {"aal": "aal2"}, {"session_id": "11111111-2222-4333-8444-555555555555"}):
        await door.verify(hs256.token(**claims), now)
    door.purge(session_id=SESSION)
    assert door.remembered == 1


async def test_the_twin_of_an_ecdsa_signature_is_the_same_session(es256: Forge, now: datetime) -> None:
    """(r, n-s) verifies as (r, s) does: what would be revoked by the raw token would live on in its twin."""

    class One:
        async def key(self, header: Any, at: datetime) -> Key:
            from tocsin.access.jwt.keys import KeySet

            return Key(KeySet.read(es256.jwks()).keys[es256.kid], None)

        def purge(self) -> None: ...

    text, _, signature = es256.token().rpartition(".")
    raw = es256.signature(text.encode())
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    door = TokenVerifier({"ES256": One()}, POLICY)
    found = [await door.verify(f"{text}.{b64(bytes_)}", now) for bytes_ in (raw, twin)]
    assert [who.session_id for who in found if isinstance(who, Principal)] == [SESSION, SESSION]
    door.purge(session_id=SESSION)
    assert door.remembered == 0
    assert signature


def test_not_allowed_and_unproven_differ_in_what_the_client_is_told() -> None:
    """401 for who is unproven, 403 for who may not."""
    assert (Unproven.status, NotAllowed.status) == (401, 403)
