"""The live check: sign-out, ban and deletion end a token's use before the token ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson
import pytest

from tocsin.access.live import LiveSessions
from tocsin.access.verdicts import Principal, Reason, Refusal
from tocsin.testing.forge import SESSION, USER
from tocsin.testing.supabase import FakeAuth, Seed

TOKEN = "a.b.c"
CONFIRMED = "2026-01-01T00:00:00Z"


@pytest.fixture
def who(now: datetime) -> Principal:
    return Principal(
        sub=USER,
        email="old@example.com",
        role="authenticated",
        aal="aal1",
        session_id=SESSION,
        issued_at=now,
        expires_at=now + timedelta(hours=1),
    )


def user(**changes: Any) -> bytes:
    return orjson.dumps({"id": USER, "email": "ana@example.com", "email_confirmed_at": CONFIRMED, **changes})


def live(peer: Any, session: aiohttp.ClientSession, **options: Any) -> LiveSessions:
    return LiveSessions(f"{peer.url}/auth/v1", "sb_publishable_x", session, **options)


async def test_the_address_is_todays(peer: Any, session: aiohttp.ClientSession, who: Principal, now: datetime) -> None:
    """A token still has the address of before an e-mail change; the allowlist is asked about the one of now."""
    peer.says(user())
    found = await live(peer, session).check(TOKEN, who, now)
    assert isinstance(found, Principal)
    assert found.email == "ana@example.com"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, {"code": "session_not_found"}, ("Unproven", Reason.SIGNED_OUT)),
        (403, {"code": 403, "error_code": "session_not_found"}, ("Unproven", Reason.SIGNED_OUT)),
        (403, {"code": "user_not_found"}, ("Unproven", Reason.SIGNED_OUT)),
        (403, {"code": "user_banned"}, ("NotAllowed", Reason.BANNED)),
        (403, {"code": "bad_jwt"}, ("Unproven", Reason.BAD_SIGNATURE)),
        (401, {"message": "Invalid API key"}, ("Unavailable", Reason.NO_LIVE_ANSWER)),
        (429, {"code": "over_request_rate_limit"}, ("Unavailable", Reason.NO_LIVE_ANSWER)),
        (500, {}, ("Unavailable", Reason.NO_LIVE_ANSWER)),
        (200, [], ("Unavailable", Reason.NO_LIVE_ANSWER)),
        (200, {}, ("Unavailable", Reason.NO_LIVE_ANSWER)),
        (200, {"id": "other", "email": ""}, ("Unproven", Reason.SIGNED_OUT)),
        (200, {"id": USER, "email": "a@b.example"}, ("NotAllowed", Reason.NOT_CONFIRMED)),
        (200, {"id": USER, "is_anonymous": True}, ("NotAllowed", Reason.ANONYMOUS)),
    ],
)
async def test_what_supabase_says_is_told_apart(
    peer: Any, session: aiohttp.ClientSession, who: Principal, now: datetime, status: int, body: Any, expected: Any
) -> None:
    """Signed out, banned, and unknown are three things: a wrong apikey of ours signs nobody out."""
    peer.says(orjson.dumps(body), status)
    found = await live(peer, session).check(TOKEN, who, now)
    assert isinstance(found, Refusal)
    assert (type(found).__name__, found.reason) == expected


async def test_a_session_is_asked_about_once_in_ten_seconds(
    peer: Any, session: aiohttp.ClientSession, who: Principal, now: datetime
) -> None:
    """By session: a refreshed token asks no more."""
    peer.says(user())
    check = live(peer, session)
    for seconds in (0, 3, 9.9, 10):
        await check.check(f"{TOKEN}{seconds}", who, now + timedelta(seconds=seconds))
    assert len(peer.asked) == 2


async def test_requests_at_once_ask_once(
    peer: Any, session: aiohttp.ClientSession, who: Principal, now: datetime
) -> None:
    """A page with thirty calls is one question."""
    peer.says(user())
    check = live(peer, session)
    await asyncio.gather(*(check.check(TOKEN, who, now) for _ in range(30)))
    assert len(peer.asked) == 1


async def test_an_outage_is_survived_for_a_minute(
    peer: Any, session: aiohttp.ClientSession, who: Principal, now: datetime
) -> None:
    """Then it is 503: a ban must not be evaded by an outage."""
    peer.says(user())
    check = live(peer, session)
    await check.check(TOKEN, who, now)
    peer.says(status=503)
    found = [await check.check(TOKEN, who, now + timedelta(seconds=s)) for s in (69, 71)]
    assert [isinstance(verdict, Principal) for verdict in found] == [True, False]


async def test_a_token_that_supabase_refuses_is_not_held_against_its_session(
    peer: Any, session: aiohttp.ClientSession, who: Principal, now: datetime
) -> None:
    """The refreshed one is asked about anew."""
    peer.says(orjson.dumps({"code": "bad_jwt"}), 403)
    check = live(peer, session)
    assert isinstance(await check.check(TOKEN, who, now), Refusal)
    peer.says(user())
    assert isinstance(await check.check(TOKEN + "2", who, now), Principal)


async def test_a_purged_session_is_asked_about_at_once(
    peer: Any, session: aiohttp.ClientSession, who: Principal, now: datetime
) -> None:
    """Who signs out here is out here."""
    peer.says(user())
    check = live(peer, session)
    await check.check(TOKEN, who, now)
    peer.says(orjson.dumps({"code": "session_not_found"}), 403)
    check.purge(SESSION)
    assert isinstance(await check.check(TOKEN, who, now), Refusal)


async def test_the_stand_in_agrees_about_sign_out_and_ban(session: aiohttp.ClientSession) -> None:
    """Against the whole way: sign in, sign out; sign in, be banned."""
    now = datetime.now(UTC)
    found = []
    async with FakeAuth(users=[Seed(email="ana@example.com", password="secret1")]) as auth:
        for end in ("nothing", "ban", "logout"):
            user = auth.accounts.by_email("ana@example.com")
            assert user is not None
            user.banned = False
            headers = {"apikey": auth.api_key}
            asked = {"email": "ana@example.com", "password": "secret1"}
            async with session.post(f"{auth.url}/token?grant_type=password", json=asked, headers=headers) as response:
                token = (await response.json())["access_token"]
            claims = auth.keys.verify(token, now=now.timestamp())
            who = Principal(
                sub=claims["sub"], email=claims["email"], role="authenticated", aal="aal1",
                session_id=claims["session_id"], issued_at=now, expires_at=now + timedelta(hours=1),
            )  # fmt: skip
            if end == "ban":
                user.banned = True
            elif end == "logout":
                signed_in = {**headers, "Authorization": f"Bearer {token}"}
                await (await session.post(f"{auth.url}/logout?scope=local", headers=signed_in)).read()
            verdict = await LiveSessions(auth.url, auth.api_key, session).check(token, who, now)
            found.append(verdict.reason if isinstance(verdict, Refusal) else "in")
    assert found == ["in", Reason.BANNED, Reason.SIGNED_OUT]
