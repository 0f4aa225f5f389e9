"""The stand-in Supabase Auth keeps the schema auth of a real Postgres, as the real one does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import psycopg
import pytest

from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.supabase import FakeAuth, Seed
from tocsin.testing.supabase.__main__ import main
from tocsin.testing.supabase.ways import totp

ANA = Seed(email="ana@example.com", password="correct horse")
OUT = Seed(email="out@example.com", password="correct horse", banned=True)
NEW = Seed(email="new@example.com", password="correct horse", confirmed=False)
PHONE = {"User-Agent": "Mozilla/5.0 (iPhone)", "X-Forwarded-For": "198.51.100.4"}


@dataclass
class Stand:
    """The stand-in, a client of it, and its database."""

    auth: FakeAuth
    http: aiohttp.ClientSession
    dsn: str
    time: float = 1_790_000_000.0

    async def call(self, method: str, path: str, body: object = None, *, bearer: str = "", **headers: str) -> Any:
        sent = {"apikey": self.auth.api_key, **headers}
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        async with self.http.request(method, self.auth.url + path, json=body, headers=sent) as response:
            return await response.json() if response.status != 204 else None

    async def sign_in(self, seed: Seed = ANA, **headers: str) -> Any:
        body = {"email": seed.email, "password": seed.password}
        return await self.call("POST", "/token?grant_type=password", body, **headers)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start() as running:
        yield running


@pytest.fixture
async def stand(server: EmbeddedPostgres) -> AsyncIterator[Stand]:
    clock: list[Stand] = []
    async with (
        FakeAuth(
            users=(ANA, OUT, NEW), database=server.dsn(), now=lambda: clock[0].time if clock else 1_790_000_000.0
        ) as auth,
        aiohttp.ClientSession() as http,
    ):
        clock.append(Stand(auth, http, server.dsn()))
        yield clock[0]
    server.execute("drop schema auth cascade")


async def test_users_are_there_from_the_start(stand: Stand) -> None:
    """Confirmed, banned and unconfirmed ones, each with an identity."""
    assert stand.rows(
        """select users.email, email_confirmed_at is not null, banned_until > now(), provider
           from auth.users join auth.identities i on i.user_id = users.id order by users.email"""
    ) == [
        ("ana@example.com", True, None, "email"),
        ("new@example.com", False, None, "email"),
        ("out@example.com", True, True, "email"),
    ]


async def test_a_session_bears_the_device_of_its_last_refresh(stand: Stand) -> None:
    """Address and user agent are overwritten; the used token is revoked and is the new one's parent."""
    granted = await stand.sign_in(**PHONE)
    look = "select host(ip), user_agent, aal::text, refreshed_at is null from auth.sessions"
    assert stand.rows(look) == [("198.51.100.4", "Mozilla/5.0 (iPhone)", "aal1", True)]
    body = {"refresh_token": granted["refresh_token"]}
    stand.time += 60
    moved = {"User-Agent": "curl/8", "X-Forwarded-For": "203.0.113.7"}
    assert "access_token" in await stand.call("POST", "/token?grant_type=refresh_token", body, **moved)
    assert stand.rows(look) == [("203.0.113.7", "curl/8", "aal1", False)]
    assert stand.rows("select revoked, parent from auth.refresh_tokens order by id") == [
        (True, ""),
        (False, granted["refresh_token"]),
    ]


async def test_audit_rows_are_the_audit_lines(stand: Stand) -> None:
    """Same ids, same payload; of second factors alone the address is there."""
    granted = await stand.sign_in(**PHONE)
    await stand.call("POST", "/factors", {"factor_type": "totp"}, bearer=granted["access_token"], **PHONE)
    lines = [line["auth_audit_event"] for line in stand.auth.journal.lines if line["msg"] == "audit_event"]
    rows = stand.rows("select id::text, payload ->> 'action', ip_address from auth.audit_log_entries order by 2 desc")
    assert rows == [(line["audit_log_id"], line["action"], line["ip_address"]) for line in lines]
    assert [row[1:] for row in rows] == [("login", ""), ("factor_in_progress", "198.51.100.4")]


async def test_a_second_factor_is_enrolled_verified_and_removed(stand: Stand) -> None:
    """Unverified until a code was shown; then the session is aal2, and only such a one may remove it."""
    token = (await stand.sign_in(**PHONE))["access_token"]
    enrolled = await stand.call("POST", "/factors", {"factor_type": "totp"}, bearer=token, **PHONE)
    status = "select status::text, last_challenged_at is not null from auth.mfa_factors"
    assert stand.rows(status) == [("unverified", False)]
    path = f"/factors/{enrolled['id']}"
    asked = await stand.call("POST", f"{path}/challenge", bearer=token, **PHONE)
    assert stand.rows("select verified_at, host(ip_address) from auth.mfa_challenges") == [(None, "198.51.100.4")]
    answer = {"challenge_id": asked["id"], "code": totp(enrolled["totp"]["secret"], stand.time)}
    granted = await stand.call("POST", f"{path}/verify", answer, bearer=token, **PHONE)
    assert stand.rows(status) == [("verified", True)]
    assert stand.rows("select aal::text, factor_id::text from auth.sessions") == [("aal2", enrolled["id"])]
    methods = "select authentication_method from auth.mfa_amr_claims order by 1"
    assert stand.rows(methods) == [("password",), ("totp",)]
    other = (await stand.sign_in(**PHONE))["access_token"]
    assert (await stand.call("DELETE", path, bearer=other))["error_code"] == "insufficient_aal"
    assert await stand.call("DELETE", path, bearer=granted["access_token"]) == {"id": enrolled["id"]}
    assert stand.rows(status) == []


async def test_codes_flows_and_sign_outs(stand: Stand) -> None:
    """What is under way has its row, and what is over has none."""
    await stand.call("POST", "/otp", {"email": ANA.email, "create_user": False})
    await stand.call("POST", "/otp", {"email": NEW.email, "create_user": False})
    pending = "select token_type::text, relates_to from auth.one_time_tokens order by 2"
    assert stand.rows(pending) == [("recovery_token", ANA.email), ("confirmation_token", NEW.email)]
    code = stand.auth.ways.codes[NEW.email].text
    granted = await stand.call("POST", "/verify", {"type": "email", "email": NEW.email, "token": code})
    assert stand.rows(pending) == [("recovery_token", ANA.email)]
    assert stand.rows("select count(*) from auth.users where email_confirmed_at is null") == [(0,)]
    stand.auth.oauth_user = ANA.email
    async with stand.http.get(f"{stand.auth.url}/authorize?code_challenge=x", allow_redirects=False) as response:
        assert response.status == 302
    assert stand.rows("select user_id is not null from auth.flow_state") == [(True,)]
    assert stand.rows("select count(*) from auth.sessions") == [(1,)]
    await stand.call("POST", "/logout?scope=global", bearer=granted["access_token"])
    assert stand.rows("select count(*) from auth.sessions") == [(0,)]
    assert stand.rows("select count(*) from auth.refresh_tokens") == [(0,)]


async def test_row_security_hides_all_of_it_from_a_plain_reader(stand: Stand, server: EmbeddedPostgres) -> None:
    """As in a real project: no row, and no error."""
    reader = server.create_role("plain")
    server.execute("grant usage on schema auth to plain", "grant select on all tables in schema auth to plain")
    with psycopg.connect(reader) as connection:
        assert connection.execute("select count(*) from auth.users").fetchone() == (0,)
    server.execute("drop owned by plain", "drop role plain")


async def test_a_database_with_users_is_left_alone(stand: Stand, server: EmbeddedPostgres) -> None:
    """It may be a real one."""
    with pytest.raises(ValueError, match=re.escape("holds 3 users")):
        async with FakeAuth(database=server.dsn()):
            raise AssertionError("it began")
    assert stand.rows("select count(*) from auth.users") == [(3,)]


def test_a_variable_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """And not taken for "no database"."""
    assert main(["--dsn-env", "NO_SUCH_DSN"]) == 2
    assert "there is no NO_SUCH_DSN in the environment" in capsys.readouterr().err
