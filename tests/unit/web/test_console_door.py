"""The console's door: every way to sign in, and the life of a session; Supabase is the stand-in."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from yarl import URL

from tocsin.access.allowlist import Remove
from tocsin.testing.supabase.ways import totp
from tocsin.web.browser import SESSION_COOKIE
from tocsin.web.login.oauth import OAUTH_COOKIE
from tocsin.web.login.reception import MFA_COOKIE, NO
from tocsin.web.login.tries import DEVICE_COOKIE

from .door import HERE, SECRET, Browser, Console

# Signing in ----------------------------------------------------------------------------------------------------------


async def test_a_password_opens_a_session_in_a_host_cookie(console: Console) -> None:
    """Opaque, Secure, HttpOnly, SameSite=Lax, the whole host; and the page says who one is."""
    browser = console.browser()
    answer = await browser.sign_in(next="/api/tocsin/v1/sessions")
    line = next(line for line in browser.set_cookies if line.startswith(SESSION_COOKIE))
    attributes = {part.strip().lower().partition("=")[0] for part in line.split(";")[1:]}
    assert (answer.status, answer.headers["location"]) == (303, "/api/tocsin/v1/sessions")
    assert attributes == {"path", "max-age", "secure", "httponly", "samesite"}
    assert "eyJ" not in line
    assert "You are </span>ana@example.com, admin" in await browser.page("/")


async def test_nothing_that_lets_in_is_stored_in_clear(console: Console) -> None:
    """Neither the cookie nor a token is in the store's file; nor its encryption in another row."""
    browser = await console.signed_in()
    (row,) = await console.entrance.sessions.list(console.port.clock.now())
    raw = b"".join(file.read_bytes() for file in console.folder.glob("state.db*"))
    assert browser.cookies[SESSION_COOKIE].encode() not in raw
    assert (b"eyJ" in row.sealed, row.sealed in raw) == (False, True)


@pytest.mark.parametrize(
    ("email", "password"), [("ana@example.com", "wrong"), ("nobody@example.com", "x"), ("not one", "x")]
)
async def test_an_unknown_address_is_told_what_a_wrong_password_is(console: Console, email: str, password: str) -> None:
    """Whoever tries addresses learns nothing."""
    answer = await console.browser().sign_in(email, password)
    assert (answer.status, NO in answer.content.decode()) == (401, True)


@pytest.mark.parametrize("email", ["stranger@example.com", "app@example.com"])
async def test_a_user_without_a_role_is_not_let_in(console: Console, email: str) -> None:
    """Not listed, or listed for the application only: 403, no session, and none is left at Supabase."""
    browser = console.browser()
    answer = await browser.sign_in(email)
    assert (answer.status, SESSION_COOKIE in browser.cookies) == (403, False)
    assert console.auth.accounts._sessions == {}


async def test_a_code_by_mail_opens_a_session_and_hides_who_is_a_user(console: Console) -> None:
    """The page after asking for one is the same for a stranger."""
    browser, other = console.browser(), console.browser()
    asked = await browser.submit("/login/code", email="ana@example.com")
    masked = await other.submit("/login/code", email="nobody@example.com")
    code = console.auth.ways.codes["ana@example.com"].text
    csrf = re.search(r'name="csrf" value="([^"]+)"', asked.content.decode())
    assert csrf
    pairs = [("csrf", csrf[1]), ("email", "ana@example.com"), ("code", code)]
    answer = await browser.ask("POST", "/login/code", form=pairs, headers=HERE)
    assert [asked.status, masked.status, answer.status] == [200, 200, 303]
    plain = [re.sub(r'csrf" value="[^"]+', "", page.content.decode()) for page in (asked, masked)]
    assert plain[0].replace("ana@", "nobody@") == plain[1]
    assert "ana@example.com" in await browser.page("/")


async def test_oauth_comes_back_to_the_browser_that_went_and_to_no_other(console: Console) -> None:
    """PKCE: the verifier stays here, sealed in the browser's own cookie."""
    browser, thief = console.browser(), console.browser()
    away = await browser.ask("GET", "/login/oauth?provider=github&next=/metrics", headers={"Host": "testserver"})
    asked = parse_qs(urlsplit(away.headers["location"]).query)
    there = URL(away.headers["location"], encoded=True)
    async with aiohttp.ClientSession() as http, http.get(there, allow_redirects=False) as response:
        back = urlsplit(response.headers["Location"])
    assert asked["code_challenge_method"] == ["s256"]
    assert f"{back.scheme}://{back.netloc}{back.path}" == "http://testserver/login/callback"
    stolen = await thief.ask("GET", f"/login/callback?{back.query}")
    kept = browser.cookies[OAUTH_COOKIE]
    mine = await browser.ask("GET", f"/login/callback?{back.query}")
    assert (stolen.status, SESSION_COOKIE in thief.cookies) == (401, False)
    assert (mine.status, mine.headers["location"], OAUTH_COOKIE in browser.cookies) == (303, "/metrics", False)
    browser.cookies[OAUTH_COOKIE] = kept
    assert (await browser.ask("GET", f"/login/callback?{back.query}")).status == 401


async def test_who_has_a_second_factor_is_half_way_in_until_it_is_shown(console: Console) -> None:
    """The password's session lets in nobody; the code's is another one."""
    browser = console.browser()
    half = await browser.sign_in("tom@example.com")
    outside = await browser.ask("GET", "/", headers={"Accept": "text/html"})
    cookie = browser.cookies[MFA_COOKIE]
    smuggled = await Browser(console.app, {SESSION_COOKIE: cookie}).ask("GET", "/metrics")
    wrong = await browser.submit("/login/mfa", page="/login/mfa", code="000000")
    code = totp(SECRET, console.port.clock.now().timestamp())
    right = await browser.submit("/login/mfa", page="/login/mfa", code=code, next="/metrics")
    assert (half.headers["location"], SESSION_COOKIE in browser.cookies) == ("/login/mfa?next=%2F", True)
    assert [outside.status, smuggled.status, wrong.status, right.status] == [303, 401, 401, 303]
    assert browser.cookies[SESSION_COOKIE] != cookie
    assert "tom@example.com" in await browser.page("/")


async def test_the_browsers_address_is_passed_on_with_a_secret_key(console: Console) -> None:
    """Or all sign-ins would count as this host's."""
    seen: list[str] = []
    password = console.auth._signins._password

    async def spy(exchange: Any) -> Any:
        seen.append(exchange.request.headers.get("Sb-Forwarded-For", ""))
        return await password(exchange)

    console.auth._signins._password = spy  # type: ignore[method-assign]
    await console.signed_in()
    assert seen == ["testclient"]


async def test_guessing_is_slowed_by_account_whatever_the_address(console: Console) -> None:
    """429 after five tries, and the owner gets in once the pause is over."""
    answers = [await console.browser().sign_in("ana@example.com", f"guess {number}") for number in range(6)]
    asked = len([line for line in console.auth.journal.lines if line.get("path") == "/token"])
    await console.port.clock.advance(timedelta(seconds=31).total_seconds())
    later = await console.browser().sign_in()
    assert ([answer.status for answer in answers], asked, later.status) == ([401] * 5 + [429], 5, 303)
    assert int(answers[-1].headers["retry-after"]) in range(1, 31)


async def test_somebody_elses_guessing_keeps_nobody_out_who_came_in_before(console: Console) -> None:
    """A browser's tries count for themselves once it signed in; for that account only, and they are as few."""
    owner = await console.signed_in()
    for number in range(6):
        await console.browser().sign_in("ana@example.com", f"guess {number}")
    kept = console.browser()
    kept.cookies[DEVICE_COOKIE] = owner.cookies[DEVICE_COOKIE]
    forged = console.browser()
    forged.cookies[DEVICE_COOKIE] = owner.cookies[DEVICE_COOKIE][:-1] + "~"
    assert [(await each.sign_in()).status for each in (forged, kept)] == [429, 303]
    for number in range(5):
        await console.browser().sign_in("vic@example.com", f"guess {number}")
    assert (await kept.sign_in("vic@example.com")).status == 429
    assert [(await kept.sign_in("ana@example.com", "wrong")).status for _ in range(6)] == [401] * 5 + [429]


async def test_who_comes_by_a_provider_with_a_second_factor_is_slowed_by_account(console: Console) -> None:
    """The provider's sign-in names the account: one count for all who come that way would keep everybody out."""

    async def half_way(email: str) -> Browser:
        console.auth.oauth_user = email
        browser = console.browser()
        away = await browser.ask("GET", "/login/oauth?provider=github", headers={"Host": "testserver"})
        there = URL(away.headers["location"], encoded=True)
        async with aiohttp.ClientSession() as http, http.get(there, allow_redirects=False) as response:
            back = urlsplit(response.headers["Location"])
        assert (await browser.ask("GET", f"/login/callback?{back.query}")).headers["location"].startswith("/login/mfa")
        return browser

    guesser, other = await half_way("tom@example.com"), await half_way("tomas@example.com")
    statuses = [(await guesser.submit("/login/mfa", page="/login/mfa", code="000000")).status for _ in range(6)]
    code = totp(SECRET, console.port.clock.now().timestamp())
    right = await other.submit("/login/mfa", page="/login/mfa", code=code)
    assert (statuses, right.status) == ([401] * 5 + [429], 303)


async def test_when_supabase_is_away_nobody_signs_in_and_it_is_said(console: Console) -> None:
    """503 and when to try again; it counts as nobody's mistake."""
    await console.auth.__aexit__()
    answer = await console.browser().sign_in()
    assert (answer.status, "retry-after" in answer.headers) == (503, True)


# Sessions ------------------------------------------------------------------------------------------------------------


async def test_a_second_factor_ends_the_session_before_it_too(console: Console) -> None:
    """And the half-way one."""
    browser = await console.signed_in()
    before = browser.cookies[SESSION_COOKIE]
    await browser.sign_in("tom@example.com")
    code = totp(SECRET, console.port.clock.now().timestamp())
    right = await browser.submit("/login/mfa", page="/login/mfa", code=code)
    gone = await Browser(console.app, {SESSION_COOKIE: before}).ask("GET", "/metrics")
    assert (right.status, gone.status) == (303, 401)
    assert len(await console.entrance.sessions.list(console.port.clock.now())) == 1


async def test_each_sign_in_makes_a_new_id_and_ends_the_one_before(console: Console) -> None:
    """An id that somebody planted, or had seen before, is worth nothing afterwards."""
    browser = console.browser()
    browser.cookies[SESSION_COOKIE] = planted = "A" * 43
    await browser.sign_in()
    first = browser.cookies[SESSION_COOKIE]
    await browser.sign_in()
    second = browser.cookies[SESSION_COOKIE]
    statuses = [
        (await Browser(console.app, {SESSION_COOKIE: value}).ask("GET", "/metrics")).status
        for value in (planted, first, second)
    ]
    assert statuses == [401, 401, 200]


async def test_signing_out_ends_it_here_and_this_session_only_there(console: Console) -> None:
    """Somebody else's browser of the same user stays signed in."""
    one, other = await console.signed_in(), await console.signed_in()
    kept = dict(one.cookies)
    answer = await one.submit("/logout", page="/")
    assert (answer.status, answer.headers["location"], SESSION_COOKIE in one.cookies) == (303, "/login", False)
    assert (await Browser(console.app, kept).ask("GET", "/metrics")).status == 401
    assert (await other.ask("GET", "/metrics")).status == 200
    assert len(console.auth.accounts._sessions) == 1


async def test_a_session_ends_by_idleness_and_by_age(console: Console) -> None:
    """Two hours without a request; twelve hours in any case."""
    idle, busy = await console.signed_in(), await console.signed_in()
    statuses = []
    for _ in range(13):
        await console.port.clock.advance(timedelta(hours=1).total_seconds())
        statuses.append((await busy.ask("GET", "/metrics")).status)
    assert statuses == [200] * 11 + [401] * 2
    assert (await idle.ask("GET", "/metrics")).status == 401


async def test_tokens_are_renewed_once_however_many_ask(console: Console) -> None:
    """Twenty requests at the moment of expiry make one refresh, and all are answered."""
    browser = await console.signed_in()
    await console.port.clock.advance(timedelta(minutes=59, seconds=30).total_seconds())
    answers = await asyncio.gather(
        *(Browser(console.app, dict(browser.cookies)).ask("GET", "/metrics") for _ in range(20))
    )
    refreshes = [line for line in console.auth.journal.lines if line.get("grant_type") == "refresh_token"]
    assert ({answer.status for answer in answers}, len(refreshes)) == ({200}, 1)


async def test_a_session_that_supabase_ended_ends_here(console: Console) -> None:
    """Within the ten seconds that an answer is believed."""
    browser = await console.signed_in()
    console.auth.accounts._sessions.clear()
    await console.port.clock.advance(timedelta(seconds=11).total_seconds())
    assert (await browser.ask("GET", "/metrics")).status == 401
    assert await console.entrance.sessions.list(console.port.clock.now()) == ()


async def test_a_banned_user_is_refused_within_ten_seconds(console: Console) -> None:
    """403, by cookie as by bearer token."""
    browser = await console.signed_in()
    user = console.auth.accounts.by_email("ana@example.com")
    assert user is not None
    user.banned = True
    await console.port.clock.advance(timedelta(seconds=11).total_seconds())
    assert (await browser.ask("GET", "/metrics")).status == 403


async def test_a_removal_from_the_list_bites_within_two_seconds(console: Console) -> None:
    """The role is the list's of the moment."""
    browser = await console.signed_in("vic@example.com")
    now = console.port.clock.now()
    await console.listed.change(Remove(("vic@example.com",)), "ana@example.com", now)
    await console.port.clock.advance(timedelta(seconds=2).total_seconds())
    assert (await browser.ask("GET", "/metrics")).status == 403


async def test_an_admin_sees_sessions_and_ends_one(console: Console) -> None:
    """Nothing in the list lets anybody in; the ended one is out at once."""
    admin, viewer = await console.signed_in(), await console.signed_in("vic@example.com")
    listed = (await admin.ask("GET", "/api/tocsin/v1/sessions")).json()["sessions"]
    ids = {each["email"]: (each["id"], each["own"]) for each in listed}
    page = await admin.page("/")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf
    target = f"/api/tocsin/v1/sessions/{ids['vic@example.com'][0]}/revoke"
    refused = await admin.ask("POST", target, headers=HERE)
    answer = await admin.ask("POST", target, headers={**HERE, "X-CSRF-Token": csrf[1]})
    assert (ids["ana@example.com"][1], ids["vic@example.com"][1]) == (True, False)
    assert (refused.status, answer.status) == (403, 200)
    assert (await viewer.ask("GET", "/metrics")).status == 401


async def test_a_role_is_a_set_of_scopes(console: Console) -> None:
    """A viewer reads and does nothing else."""
    browser = await console.signed_in("vic@example.com")
    statuses = [
        (await browser.ask("GET", target)).status
        for target in ("/metrics", "/api/v2/status", "/api/tocsin/v1/sessions")
    ]
    assert statuses == [200, 200, 403]
