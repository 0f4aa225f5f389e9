"""What the console's door keeps out: forms and pages, bearer tokens, one-time links, every route."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tocsin.access.tokens import Scope
from tocsin.access.webhooks import sign
from tocsin.testing.asking import FORM, Answer, ask
from tocsin.web.browser import HEADERS, SESSION_COOKIE, safe_next
from tocsin.web.gate import Gate

from .door import HERE, HOOK_KEYS, PASSWORD, Browser, Console

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
