"""What a scanner tries on every route there is: headers, cookies, others' forms, redirects, bodies without end."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from yarl import URL

from tocsin.access.tokens import Scope
from tocsin.testing.asking import FORM, ask
from tocsin.testing.supabase.ways import totp
from tocsin.web.browser import HEADERS, LOGIN_COOKIE, SESSION_COOKIE, UNSAFE
from tocsin.web.login.oauth import OAUTH_COOKIE
from tocsin.web.login.reception import MFA_COOKIE
from tocsin.web.login.tries import DEVICE_COOKIE

from .door import HERE, SECRET, Browser, Console

ELSEWHERE = ("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)")
MEBIBYTE = 1 << 20


def targets(console: Console, unsafe: bool = False) -> list[tuple[str, str]]:
    """(method, path) of every route, the names in it filled in."""
    every = [(method, re.sub(r"{[^}]*}", "x", route.path)) for route in console.app.routes for method in route.asked_by]
    return [(method, path) for method, path in every if not unsafe or method in UNSAFE]


async def csrf_of(browser: Browser) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', await browser.page("/"))
    assert found
    return found[1]


async def test_every_answer_of_every_route_hardens_the_browser(console: Console) -> None:
    """To nobody and to an admin, a page and a problem; and no cache keeps any of it."""
    admin, bare, looked = await console.port.token(Scope.ADMIN), [], 0
    for method, path in targets(console):
        for token, accept in ((admin, "text/html"), ("", "text/html"), ("", "application/json")):
            answer = await ask(console.app, method, path, token=token, headers={"Accept": accept})
            found = {name.decode(): answer.headers.get(name.decode()) for name, _ in HEADERS}
            wanted = {name.decode(): value.decode() for name, value in HEADERS}
            bare += [(method, path, name, found[name]) for name in wanted if found[name] != wanted[name]]
            looked += 1
    assert (bare, looked > 120) == ([], True)


async def test_every_form_that_is_not_ours_is_refused_by_every_route(console: Console) -> None:
    """Without the session's code, with another's, with it in the address only; with it, but from another site."""
    browser, other = await console.signed_in(), await console.signed_in()
    code, theirs = await csrf_of(browser), await csrf_of(other)
    foreign = {**HERE, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    taken = []
    guarded = {route.path for route in console.app.routes if route.scopes is not None}
    for method, path in targets(console, unsafe=True):
        if path not in {re.sub(r"{[^}]*}", "x", each) for each in guarded}:
            continue
        tries: dict[str, Any] = {
            "none": {"headers": HERE, "form": []},
            "another's": {"headers": HERE, "form": [("csrf", theirs)]},
            "cut short": {"headers": {**HERE, "X-CSRF-Token": code[:-1]}},
            "htmx without": {"headers": {**HERE, "HX-Request": "true"}},
            "another site": {"headers": foreign, "form": [("csrf", code)]},
            "no origin": {"headers": {"X-CSRF-Token": code, "Host": "testserver"}},
        }
        answers = {why: (await browser.ask(method, path, **given)).status for why, given in tries.items()}
        answers["in the address"] = (await browser.ask(method, f"{path}?csrf={code}", headers=HERE, form=[])).status
        taken += [(method, path, why, status) for why, status in answers.items() if status != 403]
    assert taken == []
    mine = await browser.ask("POST", "/allowlist", headers=HERE, form=[("csrf", code), ("value", "new@example.com")])
    assert mine.status == 303


async def _round_trip(browser: Browser, console: Console, where: str) -> list[str]:
    """Goes to a provider and comes back → where each of the two answers sends the browser, and the cookies' lines."""
    target = f"/login/oauth?{urlencode({'provider': 'github', 'next': where})}"
    away = await browser.ask("GET", target, headers={"Host": "testserver"})
    there = URL(away.headers["location"], encoded=True)
    async with aiohttp.ClientSession() as http, http.get(there, allow_redirects=False) as response:
        back = urlsplit(response.headers["Location"])
    kept = list(away.cookies)
    answer = await browser.ask("GET", f"/login/callback?{back.query}")
    return [answer.headers["location"], *kept, *answer.cookies]


def attributes(line: str) -> set[str]:
    """Of a Set-Cookie, but for how long it lasts."""
    found = {part.strip().lower() for part in line.split(";")[1:]}
    return {each for each in found if not each.startswith(("max-age=", "expires="))}


async def test_every_cookie_is_for_this_host_and_no_script(console: Console) -> None:
    """Of each way in and of the way out, given and taken back."""
    browser, lines = console.browser(), []
    await browser.page("/login")
    lines += browser.set_cookies
    await browser.sign_in("tom@example.com")
    lines += browser.set_cookies
    code = totp(SECRET, console.port.clock.now().timestamp())
    await browser.submit("/login/mfa", page="/login/mfa", code=code)
    lines += browser.set_cookies
    await browser.submit("/logout", page="/")
    lines += browser.set_cookies
    lines += (await _round_trip(console.browser(), console, "/"))[1:]
    unlike = [line for line in lines if attributes(line) != {"path=/", "secure", "httponly", "samesite=lax"}]
    assert {line.partition("=")[0] for line in lines} == {
        SESSION_COOKIE, LOGIN_COOKIE, MFA_COOKIE, OAUTH_COOKIE, DEVICE_COOKIE,
    }  # fmt: skip
    assert unlike == []


@pytest.mark.parametrize("where", ELSEWHERE)
async def test_no_way_in_leads_elsewhere(console: Console, where: str) -> None:
    """Password, second factor, provider, the login's own form, and what htmx says it shows."""
    led: dict[str, str] = {}
    led["password"] = (await console.browser().sign_in(next=where)).headers["location"]
    browser = console.browser()
    half = await browser.sign_in("tom@example.com", next=where)
    led["half way"] = parse_qs(urlsplit(half.headers["location"]).query)["next"][0]
    page = await browser.page(f"/login/mfa?{urlencode({'next': where})}")
    led["mfa form"] = re.findall(r'name="next" value="([^"]*)"', page)[0]
    code = totp(SECRET, console.port.clock.now().timestamp())
    led["mfa"] = (await browser.submit("/login/mfa", page="/login/mfa", code=code, next=where)).headers["location"]
    led["provider"] = (await _round_trip(console.browser(), console, where))[0]
    page = await console.browser().page(f"/login?{urlencode({'next': where})}")
    led |= {f"form {n}": to for n, to in enumerate(re.findall(r'name="next" value="([^"]*)"', page))}
    headers = {"HX-Request": "true", "HX-Current-URL": where.replace("\t", "")}
    refused = await console.browser().ask("GET", "/incidents", headers=headers)
    led["htmx"] = parse_qs(urlsplit(refused.headers["hx-redirect"]).query).get("next", ["/"])[0]
    assert {way: to for way, to in led.items() if to != "/"} == {}


async def test_a_planted_login_cookie_signs_in_nobody_else(console: Console) -> None:
    """Who can write a cookie into a victim's browser gets neither its session nor a form that it takes."""
    attacker, victim = console.browser(), console.browser()
    await attacker.page("/login")
    victim.cookies[LOGIN_COOKIE] = attacker.cookies[LOGIN_COOKIE]
    await victim.sign_in()
    assert SESSION_COOKIE in victim.cookies
    assert (await attacker.ask("GET", "/metrics")).status == 401
    assert (await Browser(console.app, {SESSION_COOKIE: attacker.cookies[LOGIN_COOKIE]}).ask("GET", "/")).status == 401


async def test_no_route_takes_in_a_body_without_end(console: Console) -> None:
    """Whoever sends it: each stops reading past its bound (32 MiB at most) and answers."""
    admin, session = await console.port.token(Scope.ADMIN), (await console.signed_in()).cookies[SESSION_COOKIE]
    callers = {
        "nobody": {}, "admin": {"authorization": f"Bearer {admin}"},
        "browser": {**HERE, "cookie": f"{SESSION_COOKIE}={session}"},
    }  # fmt: skip
    unbounded, read = [], 0
    for method, path in targets(console, unsafe=True):
        for who, headers in callers.items():
            for kind in (FORM, "application/json"):
                given = {**headers, "content-type": kind}
                status, size = await _endless(console, method, path, given)
                read += size > 0
                if size > 33 or not 200 <= status < 500:
                    unbounded.append((method, path, who, kind, status, size))
    assert (unbounded, read > 0) == ([], True)


async def _endless(console: Console, method: str, path: str, headers: dict[str, str]) -> tuple[int, int]:
    """(status, MiB read) of a request whose body goes on until it is answered."""
    sent: list[int] = []
    size = 0
    chunk = b"a" * MEBIBYTE

    async def receive() -> dict[str, Any]:
        nonlocal size
        if sent or size > 100:
            return {"type": "http.disconnect"}
        size += 1
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()], "scheme": "http",
        "http_version": "1.1", "client": ("testclient", 1), "server": ("testserver", 80), "root_path": "",
    }  # fmt: skip
    await console.app(scope, receive, send)
    return sent[0], size
