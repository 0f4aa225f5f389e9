"""Public keys: which are used, when they are fetched, and what an outage of Supabase costs."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tocsin.access.jwt import JwksKeys
from tocsin.access.jwt.compact import Header
from tocsin.access.jwt.keys import Key, KeySet, KeysUnreadable
from tocsin.access.verdicts import Reason, Refusal, Unavailable
from tocsin.testing.forge import Forge, b64


def header(forge: Forge) -> Header:
    return Header(forge.alg, forge.kid)


def source(peer: Any, session: aiohttp.ClientSession, **options: Any) -> JwksKeys:
    return JwksKeys(f"{peer.url}/auth/v1/.well-known/jwks.json", session, **options)


async def reason(keys: JwksKeys, asked: Header, now: datetime) -> Reason | None:
    found = await keys.key(asked, now)
    return found.reason if isinstance(found, Refusal) else None


def after(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)


# Which keys ------------------------------------------------------------------------------------------------------


def test_es256_and_rs256_keys_are_used(es256: Forge, rs256: Forge) -> None:
    """Each for its own algorithm."""
    found = KeySet.read(es256.jwks(rs256))
    assert {kid: key.algorithm_name for kid, key in found.keys.items()} == {es256.kid: "ES256", rs256.kid: "RS256"}


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "HS256"}, {"alg": "ES384"}, {"use": "enc"}, {"kid": ""}, {"kid": 7}, {"kid": None}, {"crv": "P-384"},
        {"key_ops": ["sign"]}, {"d": "AAAA"}, {"kty": "oct", "k": b64(b"x" * 32)}, {"kty": "nonsense"}, {"x": "AAAA"},
    ],
)  # fmt: skip
def test_a_key_unfit_to_verify_is_left_out(es256: Forge, change: dict[str, Any]) -> None:
    """And the rest of the set is used."""
    other = Forge.es256()
    found = KeySet.read(orjson.dumps({"keys": [es256.jwk(**change), 7, other.jwk()]}))
    assert (list(found.keys), len(found.left_out)) == ([other.kid], 2)


def test_a_short_rsa_key_is_left_out() -> None:
    """1024 bits can be factored."""
    assert KeySet.read(Forge.rs256(bits=1024).jwks()).keys == {}


def test_a_kid_that_is_there_twice_decides_nothing(es256: Forge) -> None:
    """Which of the two is the project's can't be told."""
    other = Forge.es256(kid=es256.kid)
    assert KeySet.read(es256.jwks(other)).keys == {}


@pytest.mark.parametrize("document", [b"", b"[]", b"<html>", b'{"keys": 7}', b"{}", b"null"])
def test_what_is_no_key_set_is_an_error(document: bytes) -> None:
    """A proxy's error page empties no cache."""
    with pytest.raises(KeysUnreadable):
        KeySet.read(document)


# When they are fetched -------------------------------------------------------------------------------------------


async def test_many_requests_make_one_fetch(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Single flight, at the start and at each renewal."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    peer.gate.clear()
    waiting = [asyncio.create_task(keys.key(header(es256), now)) for _ in range(50)]
    while not peer.asked:
        await asyncio.sleep(0)
    peer.gate.set()
    found = await asyncio.gather(*waiting)
    assert (all(isinstance(key, Key) for key in found), keys.fetches) == (True, 1)


async def test_a_caller_who_hangs_up_takes_the_answer_from_nobody(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """The fetch is everybody's."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    peer.gate.clear()
    first, second = (asyncio.create_task(keys.key(header(es256), now)) for _ in range(2))
    while not peer.asked:
        await asyncio.sleep(0)
    first.cancel()
    peer.gate.set()
    assert (isinstance(await second, Key), keys.fetches) == (True, 1)


async def test_keys_are_fetched_anew_after_ten_minutes_at_the_latest(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """A key that the project withdrew is refused from then on."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    assert await reason(keys, header(es256), now) is None
    peer.says(Forge.es256().jwks())
    assert await reason(keys, header(es256), after(now, 600)) is Reason.UNKNOWN_KEY


async def test_nobody_waits_for_a_renewal_that_is_not_urgent(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """From half of the time on it is fetched beside the requests."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    await keys.key(header(es256), now)
    peer.gate.clear()
    assert isinstance(await keys.key(header(es256), after(now, 301)), Key)
    while len(peer.asked) < 2:
        await asyncio.sleep(0)
    peer.gate.set()
    await keys.close()


async def test_an_unknown_kid_is_looked_up_once_in_30_seconds(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """A client that keeps its token of a withdrawn key causes no flood, and takes nothing from others."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    await keys.key(header(es256), now)
    asked = [await reason(keys, Header("ES256", "withdrawn"), after(now, number / 4)) for number in range(200)]
    assert (set(asked), keys.fetches) == ({Reason.UNKNOWN_KEY}, 3)


async def test_a_stranger_who_makes_up_kids_causes_no_flood(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Four at once and one in five seconds, however many there are (GHSA-2gx3-rcp4-g85q)."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    await keys.key(header(es256), now)
    for number in range(600):
        assert await reason(keys, Header("ES256", f"made-up-{number}"), after(now, number / 10)) is Reason.UNKNOWN_KEY
    assert keys.fetches == 1 + 4 + 11


async def test_a_stranger_delays_a_new_key_by_five_seconds_at_most(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Whoever uses the look-ups up makes the fetch that brings the key."""
    peer.says(es256.jwks())
    keys, fresh = source(peer, session), Forge.es256()
    await keys.key(header(es256), now)
    for number in range(100):
        await keys.key(Header("ES256", f"made-up-{number}"), now)
    peer.says(es256.jwks(fresh))
    found = []
    for tenths in range(70):
        at = after(now, tenths / 10)
        await keys.key(Header("ES256", f"more-{tenths}"), at)
        found.append(await reason(keys, header(fresh), at) is None)
    assert found == [False] * 50 + [True] * 20


async def test_clocks_set_back_stop_no_look_up_for_long(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """What was counted in a future that is none any more does not hold."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    await keys.key(header(es256), now)
    for number in range(10):
        await keys.key(Header("ES256", f"made-up-{number}"), after(now, 90))
    fetched = keys.fetches
    for seconds in range(11):
        await keys.key(Header("ES256", "new"), after(now, seconds))
    # One because the age of the keys can't be told, one for the kid.
    assert keys.fetches == fetched + 2


async def test_a_key_published_since_is_found_at_once(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Everybody who asks while it is fetched waits for it."""
    peer.says(es256.jwks())
    keys, fresh = source(peer, session), Forge.es256()
    await keys.key(header(es256), now)
    peer.says(es256.jwks(fresh))
    found = await asyncio.gather(*(keys.key(header(fresh), after(now, 1)) for _ in range(20)))
    assert (all(isinstance(key, Key) for key in found), keys.fetches) == (True, 2)


async def test_a_key_serves_its_own_algorithm_only(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, rs256: Forge, now: datetime
) -> None:
    """ES256's key under RS256's name is refused before PyJWT sees it."""
    peer.says(es256.jwks(rs256))
    assert await reason(source(peer, session), Header("RS256", es256.kid), now) is Reason.WRONG_ALGORITHM


# Outages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 302, 404, 204])
async def test_an_outage_is_survived_on_the_last_keys_for_a_bounded_time(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime, status: int
) -> None:
    """Ten minutes and half an hour; then nobody is let in, and told so as 503."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    await keys.key(header(es256), now)
    peer.says(b'{"keys":[]}', status, Location=f"{peer.url}/elsewhere")
    assert await reason(keys, header(es256), after(now, 2399)) is None
    assert await reason(keys, header(es256), after(now, 2410)) is Reason.NO_KEYS


async def test_a_redirect_is_not_followed(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Keys come from the configured address or not at all."""

    def answer(request: web.Request) -> web.Response:
        if request.path.endswith("jwks.json"):
            return web.Response(status=302, headers={"Location": f"{peer.url}/evil"})
        return web.Response(body=es256.jwks())

    peer.answer = answer
    assert await reason(source(peer, session), header(es256), now) is Reason.NO_KEYS
    assert [request.path for request in peer.asked] == ["/auth/v1/.well-known/jwks.json"]


async def test_a_failed_fetch_is_not_repeated_by_every_request(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Supabase comes back to a few questions, and our callers wait for one deadline, not each for its own."""
    peer.says(status=500)
    keys = source(peer, session)
    for tenths in range(49):
        assert await reason(keys, header(es256), after(now, tenths / 10)) is Reason.NO_KEYS
    assert keys.fetches == 1
    peer.says(es256.jwks())
    assert await reason(keys, header(es256), after(now, 5)) is None


async def test_a_server_that_hangs_costs_its_deadline(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Nobody waits for ever."""
    peer.gate.clear()
    found = await source(peer, session, deadline=0.05).key(header(es256), now)
    assert isinstance(found, Unavailable)
    assert "did not answer within 0.05 s" in found.because


async def test_an_endless_key_set_is_not_read(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """64 KiB, and the rest is left."""
    peer.says(b" " * 1_000_000)
    found = await source(peer, session).key(header(es256), now)
    assert isinstance(found, Unavailable)
    assert "more than 65536 bytes" in found.because


async def test_purged_keys_are_fetched_by_the_next_token(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """For a key that leaked: it ends now, not in ten minutes."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    await keys.key(header(es256), now)
    peer.says(Forge.es256().jwks())
    keys.purge()
    assert await reason(keys, header(es256), after(now, 1)) is Reason.UNKNOWN_KEY


async def test_a_fetch_that_began_before_a_purge_brings_nothing_back(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """Its answer may still hold the key that leaked."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    peer.gate.clear()
    early = asyncio.create_task(keys.key(header(es256), now))
    while not peer.asked:
        await asyncio.sleep(0)
    keys.purge()
    peer.gate.set()
    assert isinstance(await early, Refusal)
    peer.says(Forge.es256().jwks())
    assert await reason(keys, header(es256), now) is Reason.UNKNOWN_KEY


async def test_a_clock_set_back_fetches_anew(
    peer: Any, session: aiohttp.ClientSession, es256: Forge, now: datetime
) -> None:
    """How old the keys are can't be told then."""
    peer.says(es256.jwks())
    keys = source(peer, session)
    await keys.key(header(es256), now)
    await keys.key(header(es256), after(now, -3600))
    assert keys.fetches == 2


def test_keys_are_never_kept_longer_than_ten_minutes(session: aiohttp.ClientSession) -> None:
    """Not even by configuration."""
    with pytest.raises(ValueError, match="600"):
        JwksKeys("http://127.0.0.1:1/", session, ttl=601)
