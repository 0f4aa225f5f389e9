"""Keys that rotate, an Auth that goes away, sign-outs and bans, while people work: nobody is turned away wrongly, and
nobody stays who must go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest

from tocsin.access.allowlist import Listed, Purge, entry_of
from tocsin.access.allowlist.change import apply
from tocsin.access.jwt import JwksKeys, TokenPolicy
from tocsin.access.live import LiveSessions
from tocsin.testing.clock import VirtualClock
from tocsin.testing.protected import ProtectedSite
from tocsin.testing.supabase import FakeAuth, Seed

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LISTED = Listed(entries=(entry_of("ana@example.com", NOW, by="root"),), version=1)
WORKERS, ROTATIONS = 8, 12


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
async def auth(clock: VirtualClock) -> AsyncIterator[FakeAuth]:
    users = [Seed(email="ana@example.com", password="secret1")]
    async with FakeAuth(users=users, now=lambda: clock.now().timestamp()) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def token_of(auth: FakeAuth, session: aiohttp.ClientSession) -> str:
    async with session.post(
        f"{auth.url}/token?grant_type=password",
        json={"email": "ana@example.com", "password": "secret1"},
        headers={"apikey": auth.api_key},
    ) as response:
        return str((await response.json())["access_token"])


async def status(site: ProtectedSite, session: aiohttp.ClientSession, token: str) -> int:
    async with session.get(f"{site.url}/me", headers={"Authorization": f"Bearer {token}"}) as response:
        await response.read()
        return response.status


async def withdrawn(auth: FakeAuth, site: ProtectedSite, session: aiohttp.ClientSession) -> tuple[str, list[int]]:
    """A token that came in and whose key is then published no more, with the status that it had."""
    token = await token_of(auth, session)
    found = [await status(site, session, token)]
    auth.keys.rotate()
    auth.keys.revoke_previous()
    return token, found


@pytest.mark.parametrize("cached_tokens", [0, 10_000])
async def test_keys_rotate_under_load_and_no_valid_token_is_refused(
    auth: FakeAuth, session: aiohttp.ClientSession, clock: VirtualClock, cached_tokens: int
) -> None:
    """Refused: 0, over many rotations, tokens of the key before among them."""
    keys = JwksKeys(f"{auth.url}/.well-known/jwks.json", session)
    policy = TokenPolicy(issuer=auth.url)
    answers: Counter[int] = Counter()
    tokens = [await token_of(auth, session)]
    over = asyncio.Event()

    async def work(site: ProtectedSite, number: int) -> None:
        turn = number
        while not over.is_set():
            recent = tokens[-3:]
            answers[await status(site, session, recent[turn % len(recent)])] += 1
            turn += 1

    async with ProtectedSite({"ES256": keys}, policy, LISTED, clock, cached_tokens=cached_tokens) as site:
        workers = [asyncio.create_task(work(site, number)) for number in range(WORKERS)]
        for _ in range(ROTATIONS):
            done = answers.total()
            while answers.total() < done + 3 * WORKERS:
                await asyncio.sleep(0.001)
            auth.keys.rotate()
            clock.pass_(35)
            tokens.append(await token_of(auth, session))
        over.set()
        await asyncio.gather(*workers)
    print(f"{answers.total()} requests over {ROTATIONS} rotations, {keys.fetches} fetches: {dict(answers)}")
    assert set(answers) == {200}
    assert keys.fetches <= ROTATIONS + 1


async def test_tokens_of_a_withdrawn_key_end_within_ten_minutes(
    auth: FakeAuth, session: aiohttp.ClientSession, clock: VirtualClock
) -> None:
    """At once when the keys are purged; with the next key set otherwise, remembered tokens included."""
    keys = JwksKeys(f"{auth.url}/.well-known/jwks.json", session)
    async with ProtectedSite({"ES256": keys}, TokenPolicy(issuer=auth.url), LISTED, clock) as site:
        stolen, found = await withdrawn(auth, site, session)
        found.append(await status(site, session, stolen))
        clock.pass_(601)
        found.append(await status(site, session, stolen))
        fresh = await token_of(auth, session)
        found.append(await status(site, session, fresh))
        auth.keys.rotate()
        auth.keys.revoke_previous()
        site.door.purge()
        found.append(await status(site, session, fresh))
    assert found == [200, 200, 401, 200, 401]


async def test_a_purge_ends_a_withdrawn_key_in_a_process_that_only_reads_the_list(
    auth: FakeAuth, session: aiohttp.ClientSession, clock: VirtualClock
) -> None:
    """The very request that hears of it is proven anew; a token of a key that is still published is not refused."""
    keys = JwksKeys(f"{auth.url}/.well-known/jwks.json", session)
    async with ProtectedSite({"ES256": keys}, TokenPolicy(issuer=auth.url), LISTED, clock) as site:
        stolen, found = await withdrawn(auth, site, session)
        clock.pass_(1)
        found.append(await status(site, session, stolen))
        site.shelf.listed, _ = apply(Purge(), replace(LISTED, version=2), "cli:root", clock.now())
        clock.pass_(1)
        found.append(await status(site, session, stolen))
        found.append(await status(site, session, await token_of(auth, session)))
    assert found == [200, 200, 401, 200]


async def test_an_auth_that_is_gone_turns_nobody_away_for_half_an_hour(
    session: aiohttp.ClientSession, clock: VirtualClock
) -> None:
    """Then 503, which says that it is not the caller's fault."""
    users = [Seed(email="ana@example.com", password="secret1")]
    async with FakeAuth(users=users, now=lambda: clock.now().timestamp()) as auth:
        keys = JwksKeys(f"{auth.url}/.well-known/jwks.json", session, deadline=1.0)
        site = ProtectedSite({"ES256": keys}, TokenPolicy(issuer=auth.url), LISTED, clock)
        await site.__aenter__()
        token = await token_of(auth, session)
        found = [await status(site, session, token)]
    try:
        for minutes in (11, 15, 15):
            clock.pass_(minutes * 60)
            found.append(await status(site, session, token))
    finally:
        await site.__aexit__()
    assert found == [200, 200, 200, 503]


async def test_a_sign_out_a_ban_and_a_removal_end_the_use_of_a_good_token(
    auth: FakeAuth, session: aiohttp.ClientSession, clock: VirtualClock
) -> None:
    """Long before the token ends: the session is asked about, and the list."""
    keys = JwksKeys(f"{auth.url}/.well-known/jwks.json", session)
    live = LiveSessions(auth.url, auth.api_key, session)
    found = []
    async with ProtectedSite({"ES256": keys}, TokenPolicy(issuer=auth.url), LISTED, clock, live=live) as site:
        token = await token_of(auth, session)
        found.append(await status(site, session, token))
        signed_in = {"apikey": auth.api_key, "Authorization": f"Bearer {token}"}
        await (await session.post(f"{auth.url}/logout?scope=local", headers=signed_in)).read()
        clock.pass_(11)
        found.append(await status(site, session, token))
        token = await token_of(auth, session)
        found.append(await status(site, session, token))
        user = auth.accounts.by_email("ana@example.com")
        assert user is not None
        user.banned = True
        clock.pass_(11)
        found.append(await status(site, session, token))
        user.banned = False
        clock.pass_(11)
        found.append(await status(site, session, token))
        site.shelf.listed = Listed(version=2)
        clock.pass_(1)
        found.append(await status(site, session, token))
    assert found == [200, 401, 200, 403, 200, 403]


async def test_who_signs_out_here_is_out_at_once(
    auth: FakeAuth, session: aiohttp.ClientSession, clock: VirtualClock
) -> None:
    """Without waiting for the next question; other sessions of the same user stay."""
    keys = JwksKeys(f"{auth.url}/.well-known/jwks.json", session)
    live = LiveSessions(auth.url, auth.api_key, session)
    async with ProtectedSite({"ES256": keys}, TokenPolicy(issuer=auth.url), LISTED, clock, live=live) as site:
        token, other = await token_of(auth, session), await token_of(auth, session)
        before = [await status(site, session, each) for each in (token, other)]
        signed_in = {"apikey": auth.api_key, "Authorization": f"Bearer {token}"}
        await (await session.post(f"{auth.url}/logout?scope=local", headers=signed_in)).read()
        site.door.sign_out(auth.keys.verify(token, now=clock.now().timestamp())["session_id"])
        after = [await status(site, session, each) for each in (token, other)]
    assert (before, after) == ([200, 200], [401, 200])
