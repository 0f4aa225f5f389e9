"""The console's door: sessions, forms, every way to sign in, and who is kept out; Supabase is the stand-in."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from yarl import URL

from tocsin.access.allowlist import Remove
from tocsin.access.tokens import Scope
from tocsin.access.webhooks import sign
from tocsin.testing.asking import FORM, Answer, ask
from tocsin.testing.supabase.ways import totp
from tocsin.web.browser import HEADERS, SESSION_COOKIE, safe_next
from tocsin.web.gate import Gate
from tocsin.web.login.routes import MFA_COOKIE, NO, OAUTH_COOKIE
from tocsin.web.login.tries import DEVICE_COOKIE

from .door import HERE, HOOK_KEYS, PASSWORD, SECRET, Browser, Console

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


# Forms and pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://testserver.evil.example"},
    ],
)  # fmt: skip
async def test_an_unsafe_request_from_elsewhere_is_refused_though_its_code_is_right(
    console: Console, change: dict[str, str]
) -> None:
    """Of sign-in and of the rest alike."""
    inside, outside = await console.signed_in(), console.browser()
    out = await inside.submit("/logout", page="/", headers=change)
    entry = await outside.submit("/login/password", headers=change, email="ana@example.com", password=PASSWORD)
    assert (out.status, entry.status, SESSION_COOKIE in outside.cookies) == (403, 403, False)
    assert (await inside.ask("GET", "/metrics")).status == 200


async def test_an_unsafe_request_without_the_code_of_its_session_is_refused(console: Console) -> None:
    """Missing, another session's, or JSON that hides it in a body that is no form."""
    one, other = await console.signed_in(), await console.signed_in()
    found = re.search(r'name="csrf" value="([^"]+)"', await other.page("/"))
    assert found
    statuses = [
        (await one.ask("POST", "/logout", headers=HERE)).status,
        (await one.ask("POST", "/logout", headers=HERE, form=[("csrf", found[1])])).status,
        (await one.ask("POST", "/logout", headers={**HERE, "X-CSRF-Token": found[1]})).status,
        (await one.ask("POST", "/logout", headers=HERE, json={"csrf": found[1]})).status,
    ]
    assert statuses == [403] * 4


async def test_a_file_upload_shows_the_code_in_a_part_of_its_form(console: Console) -> None:
    """multipart/form-data is read no further than to find it."""
    browser = await console.signed_in()
    found = re.search(r'name="csrf" value="([^"]+)"', await browser.page("/"))
    assert found
    body = f'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{found[1]}\r\n--b--\r\n'.encode()
    headers = {**HERE, "Content-Type": "multipart/form-data; boundary=b"}
    assert (await browser.ask("POST", "/logout", body=body, headers=headers)).status == 303


async def test_a_body_without_end_is_refused_at_its_limit(console: Console) -> None:
    """413, before anything is done with it."""
    browser = await console.signed_in()
    headers = {**HERE, "Content-Type": FORM}
    assert (await browser.ask("POST", "/logout", body=b"x" * (1 << 20) + b"x", headers=headers)).status == 413
    assert (await ask(console.app, "POST", "/hooks/before-user-created", body=b"x" * (1 << 20) + b"x")).status == 413


@pytest.mark.parametrize("path", ["/login", "/", "/metrics", "/no/such", "/static/console.css", "/healthz"])
async def test_every_answer_has_the_headers_that_harden_a_browser(console: Console, path: str) -> None:
    """No inline script, no frame, no sniffing, no cache for what is somebody's."""
    headers = (await ask(console.app, "GET", path)).headers
    assert {name.decode() for name, _ in HEADERS} <= headers.keys()
    policy = headers["content-security-policy"]
    assert ("default-src 'none'" in policy, "unsafe" in policy) == (True, False)


async def test_pages_hold_no_inline_script_or_style(console: Console) -> None:
    """The policy would stop them."""
    browser = console.browser()
    pages = [await browser.page("/login"), await (await console.signed_in()).page("/")]
    assert [re.findall(r"<script(?! src=./static/)|<style|\sstyle=|\son\w+=|javascript:", page) for page in pages] == [
        [],
        [],
    ]


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
     "evil.example", "/%0d%0aSet-Cookie:x=1\r\n", "javascript:alert(1)", "/login", "/logout", "", "/é",
     "/" + "a" * 3000],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_after_signing_in(target: str) -> None:
    """What is no plain path of this console is `/`."""
    assert safe_next(target) == "/"


@pytest.mark.parametrize("target", ["/", "/incidents?state=open", "/a/b#c", "/x?next=//evil.example"])
def test_a_path_of_this_console_is_where_one_wanted_to_go(target: str) -> None:
    """And is kept through the login."""
    assert safe_next(target) == target


async def test_a_browser_that_is_nobody_is_sent_to_the_login_whatever_it_asks(console: Console) -> None:
    """So that paths that are there and paths that aren't look the same; a program is told 401."""
    where = []
    for path in ("/metrics?x=1", "/no/such"):
        answer = await console.browser().ask("GET", path, headers={"Accept": "text/html"})
        where.append((answer.status, answer.headers["location"]))
    assert where == [(303, "/login?" + urlencode({"next": path})) for path in ("/metrics?x=1", "/no/such")]
    assert (await console.browser().ask("GET", "/no/such")).status == 401


@pytest.mark.parametrize(
    "name", ["..", "..%2Fpages.py", "%2e%2e%2f%2e%2e%2fserver.py", "console.css%00", "/etc/passwd", "login.html.j2"]
)
async def test_only_the_style_and_scripts_are_served(console: Console, name: str) -> None:
    """No path is made of what is asked."""
    assert (await ask(console.app, "GET", f"/static/{name}")).status in (401, 404)


async def test_two_session_cookies_are_none(console: Console) -> None:
    """One of them was put there by somebody else."""
    browser = await console.signed_in()
    value = browser.cookies[SESSION_COOKIE]
    answer = await ask(
        console.app, "GET", "/metrics", headers={"Cookie": f"{SESSION_COOKIE}=x; {SESSION_COOKIE}={value}"}
    )
    assert answer.status == 401


# Bearer tokens and the hook ------------------------------------------------------------------------------------------


async def test_an_access_token_is_a_credential_where_the_list_gives_a_role(console: Console) -> None:
    """Of a viewer, of somebody without a role, of a stranger, and a broken one."""
    statuses = []
    for email in ("vic@example.com", "app@example.com", "stranger@example.com"):
        user = console.auth.accounts.by_email(email)
        assert user is not None
        now = int(console.port.clock.now().timestamp())
        session = console.auth.accounts.start_session(user, now).session
        token = console.auth.keys.sign(console.auth.claims(session, now))
        statuses += [(await ask(console.app, "GET", path, token=token)).status for path in ("/metrics", "/")]
        broken = token[:-6] + "AAAAAA"
        statuses.append((await ask(console.app, "GET", "/metrics", token=broken)).status)
    assert statuses == [200, 200, 401, 403, 403, 401, 403, 403, 401]


@pytest.mark.parametrize(("email", "denied"), [("ana@example.com", False), ("stranger@example.com", True), ("", True)])
async def test_the_sign_up_hook_answers_200_and_says_no_in_the_body(console: Console, email: str, denied: bool) -> None:
    """Auth turns any other status into a 500, and an empty message into a yes."""
    answer = await _hook(console, b'{"user":{"email":"%s"}}' % email.encode(), HOOK_KEYS[:1])
    error = answer.json().get("error")
    assert answer.status == 200
    assert (error is not None, error is None or (error["http_code"], bool(error["message"])) == (403, True)) == (
        denied,
        True,
    )


async def test_while_its_secret_is_rotated_either_signature_is_good_and_no_other(console: Console) -> None:
    """GoTrue joins them with a comma and a blank."""
    body = b'{"user":{"email":"ana@example.com"}}'
    statuses = [
        (await _hook(console, body, keys)).status
        for keys in ([HOOK_KEYS[1]], [bytes(32), HOOK_KEYS[0]], HOOK_KEYS, [bytes(32)])
    ]
    old = await _hook(console, body, HOOK_KEYS, age=timedelta(minutes=6))
    assert ([*statuses, old.status]) == [200, 200, 200, 401, 401]


async def _hook(console: Console, body: bytes, keys: list[bytes], age: timedelta = timedelta(0)) -> Answer:
    at = console.port.clock.now() - age
    headers = {
        "webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": ", ".join(sign("msg_1", at, body, key) for key in keys),
    }  # fmt: skip
    return await ask(console.app, "POST", "/hooks/before-user-created", body=body, headers=headers)


# One-time links -------------------------------------------------------------------------------------------------------


async def test_a_one_time_link_opens_the_console_once(lonely: Console) -> None:
    """Looking at its page uses nothing up: browsers fetch links ahead."""
    link = urlsplit(await lonely.entrance.one_time_link())
    target, code = f"{link.path}?{link.query}", parse_qs(link.query)["code"][0]
    first, second = lonely.browser(), lonely.browser()
    await first.page(target)
    opened = await first.submit("/login/link", page=target, code=code)
    again = await second.submit("/login/link", page=target, code=code)
    assert (link.netloc, opened.status, again.status) == ("127.0.0.1:9475", 303, 401)
    assert "console on this host, admin" in await first.page("/")


async def test_a_link_is_over_after_an_hour_and_never_works_through_a_proxy(lonely: Console) -> None:
    """It is for who sits at the machine."""
    link = urlsplit(await lonely.entrance.one_time_link())
    target, code = f"{link.path}?{link.query}", parse_qs(link.query)["code"][0]
    proxied = await lonely.browser().submit(
        "/login/link", page=target, code=code, headers={"X-Forwarded-For": "203.0.113.7"}
    )
    await lonely.port.clock.advance(timedelta(hours=1).total_seconds())
    late = await lonely.browser().submit("/login/link", page=target, code=code)
    assert (proxied.status, late.status) == (403, 401)


async def test_where_supabase_is_configured_no_link_is_made_and_old_ones_end(lonely: Console, console: Console) -> None:
    """Neither the link nor a session that one has opened."""
    assert await console.entrance.one_time_link() == ""
    link = urlsplit(await lonely.entrance.one_time_link())
    browser = lonely.browser()
    await browser.submit("/login/link", page=f"{link.path}?{link.query}", code=parse_qs(link.query)["code"][0])
    there = await browser.ask("GET", "/metrics")
    moved = await Browser(console.app, dict(browser.cookies)).ask("GET", "/metrics")
    assert (there.status, moved.status) == (200, 401)


# Every route ---------------------------------------------------------------------------------------------------------

PUBLIC = {
    "/healthz", "/readyz", "/login", "/login/password", "/login/code", "/login/oauth", "/login/callback", "/login/mfa",
    "/login/link", "/static/{name}", "/hooks/before-user-created",
}  # fmt: skip
PREFLIGHTS = {"/api/{project}/envelope/"}
"""What pages of other origins may ask whether they may post to."""


async def test_every_route_refuses_without_a_credential_with_a_wrong_one_and_with_too_little(console: Console) -> None:
    """Taken from the application itself; what is public is listed here by name, and nothing else is."""
    routes = console.app.routes
    open_to_all = {(route.path, method) for route in routes if route.scopes is None for method in route.asked_by}
    assert {path for path, method in open_to_all if method != "OPTIONS"} == PUBLIC
    assert {path for path, method in open_to_all if method == "OPTIONS"} == PREFLIGHTS
    useless = await console.port.token()
    refused = []
    for route in routes:
        if route.scopes is None:
            continue
        target = re.sub(r"{[^}]*}", "x", route.path)
        for method in route.asked_by:
            wrong = {"Authorization": "Bearer tocsin_abc_" + "x" * 43}
            cookie = {"Cookie": f"{SESSION_COOKIE}={'x' * 43}"}
            given: list[dict[str, Any]] = [
                {},
                {"headers": wrong},
                {"headers": cookie},
                {"token": "a.b.c"},
                {"token": useless},
            ]
            found = [(await ask(console.app, method, target, **each)).status for each in given]
            refused.append((method, route.path, found, [401, 401, 401, 401, 403 if route.scopes else found[-1]]))
    assert len(refused) > 30
    assert [each[:3] for each in refused if each[2] != each[3]] == []


async def test_a_route_added_with_a_scope_is_guarded_by_it(console: Console) -> None:
    """`ingest:write` for what is sent to the daemon; a viewer's session may not."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response

    from tocsin.web.gate import Operation, protected

    async def take(_: Request) -> Response:
        return PlainTextResponse("taken")

    route = protected("/ingest/x", take, Scope.INGEST_WRITE, operation=Operation(summary=""), methods=("POST",))
    gate = Gate(routes=[route], tokens=console.app._tokens, clock=console.port.clock, people=console.entrance)
    token, other = await console.port.token(Scope.INGEST_WRITE), await console.port.token(Scope.METRICS_READ)
    assert [(await ask(gate, "POST", "/ingest/x", token=each)).status for each in (token, other)] == [200, 403]
