"""The stand-in Supabase Auth answers and logs as the real one does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tocsin.testing.supabase import DEFAULT_SERVICE_KEY, Era, FakeAuth, Seed
from tocsin.testing.supabase.keys import SigningKey

ANA = Seed(email="ana@example.com", password="correct horse", metadata={"full_name": "Ana"})
SEEDS = (
    ANA,
    Seed(email="new@example.com", password="correct horse", confirmed=False),
    Seed(email="out@example.com", password="correct horse", banned=True),
)


@dataclass
class Caller:
    """A client of the stand-in, and the clock that the stand-in reads."""

    auth: FakeAuth
    http: aiohttp.ClientSession
    log: Path

    async def call(
        self, method: str, path: str, body: object = None, *, bearer: str = "", **headers: str
    ) -> tuple[int, Any]:
        sent = {"apikey": self.auth.api_key, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        async with self.http.request(method, self.auth.url + path, json=body, headers=sent) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def sign_in(self, email: str = ANA.email, password: str = ANA.password, **headers: str) -> tuple[int, Any]:
        return await self.call("POST", "/token?grant_type=password", {"email": email, "password": password}, **headers)

    async def refresh(self, token: str) -> tuple[int, Any]:
        return await self.call("POST", "/token?grant_type=refresh_token", {"refresh_token": token})

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1_790_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def caller(tmp_path: Path, watch: Watch) -> AsyncIterator[Caller]:
    log = tmp_path / "auth.jsonl"
    async with FakeAuth(users=SEEDS, log=log, now=watch) as auth, aiohttp.ClientSession() as http:
        yield Caller(auth, http, log)


def _of(line: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: line.get(name) for name in names}


async def test_a_wrong_password_is_refused_in_the_servers_words(caller: Caller) -> None:
    """400 invalid_credentials, the same for an unknown address."""
    expected = (400, {"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"})
    assert expected == await caller.sign_in(password="guess")
    assert expected == await caller.sign_in(email="nobody@example.com")


async def test_a_wrong_password_leaves_one_request_line(caller: Caller) -> None:
    """Keys, values and level are those of the real line, and the address is the first valid one forwarded."""
    await caller.sign_in(password="guess", X_Forwarded_For="unknown, 203.0.113.7, 10.0.0.1")
    (line,) = caller.lines()
    assert sorted(line) == list(line), "the logger sorts its keys"
    assert {
        "component", "duration", "error", "error_code", "grant_type", "level", "method", "msg", "path", "referer",
        "remote_addr", "request_id", "status", "time",
    } == set(line)  # fmt: skip
    expected = {
        "error": "400: Invalid login credentials",
        "error_code": "invalid_credentials",
        "grant_type": "password",
        "level": "warning",
        "msg": "request completed",
        "path": "/token",
        "remote_addr": "203.0.113.7",
        "status": 400,
        "time": "2026-09-21T14:13:20Z",
    }
    assert expected == _of(line, expected)


async def test_a_server_says_whom_it_speaks_for_with_a_secret_key_alone(caller: Caller) -> None:
    """Sb-Forwarded-For from anybody else would be an address of their choice."""
    headers = {"Sb_Forwarded_For": "203.0.113.7", "X_Forwarded_For": "198.51.100.4"}
    await caller.sign_in(password="guess", **headers)
    await caller.sign_in(password="guess", apikey=DEFAULT_SERVICE_KEY, **headers)
    assert [line["remote_addr"] for line in caller.lines()] == ["198.51.100.4", "203.0.113.7"]


async def test_an_address_wrapped_in_ipv6_is_logged_as_ipv4(caller: Caller) -> None:
    """::ffff:198.51.100.4 is one caller with 198.51.100.4."""
    await caller.sign_in(password="guess", X_Forwarded_For="::ffff:198.51.100.4")
    assert caller.lines()[0]["remote_addr"] == "198.51.100.4"


async def test_before_2_194_an_error_makes_two_lines(tmp_path: Path, watch: Watch) -> None:
    """Only the second has a status, and both say info."""
    log = tmp_path / "auth.jsonl"
    async with (
        FakeAuth(users=SEEDS, log=log, now=watch, era=Era.BEFORE_2_194) as auth,
        aiohttp.ClientSession() as http,
    ):
        await Caller(auth, http, log).sign_in(password="guess")
    first, second = (json.loads(line) for line in log.read_text().splitlines())
    assert (first["msg"], first["level"], "status" in first) == ("400: Invalid login credentials", "info", False)
    assert (second["msg"], second["level"], second["status"]) == ("request completed", "info", 400)


async def test_a_sign_in_leaves_audit_login_and_request(caller: Caller) -> None:
    """Three lines in this order, tied by request id and user."""
    _, granted = await caller.sign_in(User_Agent="test/1")
    audit, login, request = caller.lines()
    user = granted["user"]["id"]
    assert [line["msg"] for line in (audit, login, request)] == ["audit_event", "Login", "request completed"]
    expected = {
        "action": "login",
        "actor_id": user,
        "actor_username": ANA.email,
        "ip_address": "",
        "user_agent": "test/1",
    }
    assert expected == _of(audit["auth_audit_event"], expected)
    assert {
        "action": "login",
        "login_method": "password",
        "provider": "email",
        "metering": True,
        "user_id": user,
    } == _of(login, ("action", "login_method", "provider", "metering", "user_id"))
    assert audit["auth_audit_event"]["request_id"] == request["request_id"]
    assert (request["status"], request["auth_event"]["action"], request["level"]) == (200, "login", "info")


async def test_the_token_verifies_with_the_published_keys(caller: Caller) -> None:
    """ES256 by the key set alone, issuer and audience included."""
    _, granted = await caller.sign_in()
    _, jwks = await caller.call("GET", "/.well-known/jwks.json")
    keys = jwt.PyJWKSet.from_dict(jwks)
    key = keys[jwt.get_unverified_header(granted["access_token"])["kid"]]
    claims = jwt.decode(
        granted["access_token"],
        key,
        algorithms=["ES256"],
        audience="authenticated",
        issuer=caller.auth.url,
        options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "sub", "aud", "iss"]},
    )
    expected = {"sub": granted["user"]["id"], "email": ANA.email, "role": "authenticated", "aal": "aal1"}
    assert expected == _of(claims, expected)
    assert 3600 == claims["exp"] - claims["iat"] == granted["expires_in"]


async def test_a_rotation_keeps_old_tokens_good_until_they_are_revoked(caller: Caller) -> None:
    """The standby key signs next; what was current still verifies, then no more."""
    _, granted = await caller.sign_in()
    standby = caller.auth.keys.standby.kid
    caller.auth.keys.rotate()
    _, newer = await caller.sign_in()
    assert standby == jwt.get_unverified_header(newer["access_token"])["kid"]
    assert (await caller.call("GET", "/user", bearer=granted["access_token"]))[0] == 200
    caller.auth.keys.revoke_previous()
    status, body = await caller.call("GET", "/user", bearer=granted["access_token"])
    assert (status, body["error_code"]) == (403, "bad_jwt")


async def test_a_token_ends_at_its_expiry(caller: Caller, watch: Watch) -> None:
    """Good to the last second, refused from then on."""
    _, granted = await caller.sign_in()
    watch.time += 3599
    assert (await caller.call("GET", "/user", bearer=granted["access_token"]))[0] == 200
    watch.time += 1
    assert (await caller.call("GET", "/user", bearer=granted["access_token"]))[0] == 403


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [("", 401, "no_authorization"), ("Basic YTpi", 401, "no_authorization"), ("Bearer not.a.token", 403, "bad_jwt")],
)
async def test_user_needs_a_token(caller: Caller, authorization: str, status: int, code: str) -> None:
    """None is 401, a broken one 403."""
    found, body = await caller.call("GET", "/user", Authorization=authorization)
    assert (status, code) == (found, body["error_code"])


async def test_a_token_of_another_server_is_refused(caller: Caller) -> None:
    """Same claims, other keys."""
    async with FakeAuth(users=SEEDS) as other:
        theirs = await Caller(other, caller.http, caller.log).sign_in()
    assert (await caller.call("GET", "/user", bearer=theirs[1]["access_token"]))[0] == 403


async def test_a_refresh_swaps_the_token_and_is_logged_as_no_sign_in(caller: Caller) -> None:
    """token_refreshed and token_revoked are audited; Login says `token`."""
    _, granted = await caller.sign_in()
    before = len(caller.lines())
    status, refreshed = await caller.refresh(granted["refresh_token"])
    assert (status, refreshed["refresh_token"] != granted["refresh_token"]) == (200, True)
    first, second, login, request = caller.lines()[before:]
    assert [line["auth_audit_event"]["action"] for line in (first, second)] == ["token_refreshed", "token_revoked"]
    assert (login["login_method"], login.get("provider")) == ("token", None)
    assert (request["grant_type"], request["auth_event"]["action"]) == ("refresh_token", "token_revoked")


async def test_a_refresh_token_used_again_late_ends_its_family(caller: Caller, watch: Watch) -> None:
    """Reuse is an alarm: it is refused, the log names the token, and the newest one is worth nothing either."""
    _, first = await caller.sign_in()
    _, second = await caller.refresh(first["refresh_token"])
    _, third = await caller.refresh(second["refresh_token"])
    watch.time += 11
    status, body = await caller.refresh(first["refresh_token"])
    assert (status, body["error_code"]) == (400, "refresh_token_already_used")
    line = caller.lines()[-1]
    assert (line["error"], line["error_code"]) == ("Possible abuse attempt: 1", "refresh_token_already_used")
    watch.time += 11
    assert (await caller.refresh(third["refresh_token"]))[0] == 400


async def test_a_client_that_lost_our_answer_may_ask_again(caller: Caller, watch: Watch) -> None:
    """The parent of the active token gives the active token, however late."""
    _, first = await caller.sign_in()
    _, second = await caller.refresh(first["refresh_token"])
    watch.time += 60
    status, again = await caller.refresh(first["refresh_token"])
    assert (200, second["refresh_token"]) == (status, again["refresh_token"])


async def test_an_unknown_refresh_token_is_refused(caller: Caller) -> None:
    """refresh_token_not_found; a missing one is an OAuth error without a code."""
    status, body = await caller.refresh("nope")
    assert (status, body["error_code"]) == (400, "refresh_token_not_found")
    assert await caller.refresh("") == (
        400,
        {"error": "invalid_request", "error_description": "refresh_token required"},
    )
    assert "error_code" not in caller.lines()[-1]


async def test_logout_ends_the_session_at_once(caller: Caller) -> None:
    """204; then neither the access token nor the refresh token is good for anything here."""
    _, granted = await caller.sign_in()
    assert await caller.call("POST", "/logout?scope=local", bearer=granted["access_token"]) == (204, None)
    status, body = await caller.call("GET", "/user", bearer=granted["access_token"])
    assert (status, body["error_code"]) == (403, "session_not_found")
    assert (await caller.refresh(granted["refresh_token"]))[0] == 400


async def test_logout_of_others_keeps_the_callers_session(caller: Caller) -> None:
    """scope=others ends every session of the user but this one."""
    _, here = await caller.sign_in()
    _, there = await caller.sign_in()
    await caller.call("POST", "/logout?scope=others", bearer=here["access_token"])
    assert (await caller.call("GET", "/user", bearer=here["access_token"]))[0] == 200
    assert (await caller.call("GET", "/user", bearer=there["access_token"]))[0] == 403


@pytest.mark.parametrize(
    ("email", "code"), [("new@example.com", "email_not_confirmed"), ("out@example.com", "user_banned")]
)
async def test_who_may_not_sign_in_learns_why(caller: Caller, email: str, code: str) -> None:
    """Unconfirmed and banned users have codes of their own."""
    status, body = await caller.sign_in(email=email)
    assert (400, code) == (status, body["error_code"])


async def test_a_sign_up_waits_for_its_confirmation(caller: Caller) -> None:
    """No session, and user_confirmation_requested is audited."""
    status, body = await caller.call("POST", "/signup", {"email": "Bo@Example.com", "password": "long enough"})
    assert (status, body["email"], "access_token" in body) == (200, "bo@example.com", False)
    assert caller.lines()[0]["auth_audit_event"]["action"] == "user_confirmation_requested"
    assert (await caller.sign_in("bo@example.com", "long enough"))[1]["error_code"] == "email_not_confirmed"


async def test_a_sign_up_with_a_taken_address_does_not_say_so(caller: Caller) -> None:
    """The answer is that of a new user, with an id that is nobody's."""
    _, granted = await caller.sign_in()
    status, body = await caller.call("POST", "/signup", {"email": ANA.email, "password": "long enough"})
    assert (status, body["id"] != granted["user"]["id"]) == (200, True)


async def test_with_autoconfirm_a_sign_up_is_signed_in(watch: Watch) -> None:
    """user_signedup and login are audited, and Login says that it followed a sign-up."""
    async with FakeAuth(autoconfirm=True, now=watch) as auth, aiohttp.ClientSession() as http:
        caller = Caller(auth, http, Path())
        status, body = await caller.call("POST", "/signup", {"email": "bo@example.com", "password": "long enough"})
        assert (status, "access_token" in body) == (200, True)
        audits = [line["auth_audit_event"]["action"] for line in auth.journal.lines if "auth_audit_event" in line]
        assert audits == ["user_signedup", "login"]
        assert [line["immediate_login_after_signup"] for line in auth.journal.lines if line["msg"] == "Login"] == [True]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"email": "bo@example.com", "password": "short"}, "weak_password"),
        ({"email": "bo@example.com", "password": "x" * 73}, "validation_failed"),
        ({"email": "not an address", "password": "long enough"}, "validation_failed"),
        ({"email": "bo@example.com"}, "validation_failed"),
        ({"email": 7, "password": "long enough"}, "bad_json"),
        (["no", "object"], "bad_json"),
    ],
)
async def test_a_bad_sign_up_is_refused_with_a_code(caller: Caller, body: object, code: str) -> None:
    """Whatever is sent, it is an answer with a code and one log line, never a 500."""
    status, answer = await caller.call("POST", "/signup", body)
    assert (True, code) == (400 <= status < 500, answer["error_code"])
    assert [code] == [line["error_code"] for line in caller.lines()]


async def test_the_newer_api_version_has_its_own_error_form(caller: Caller) -> None:
    """{code, message} with the code as text."""
    expected = (400, {"code": "invalid_credentials", "message": "Invalid login credentials"})
    assert expected == await caller.sign_in(password="guess", X_Supabase_Api_Version="2024-01-01")


async def test_without_the_gateways_key_nothing_reaches_the_server(caller: Caller) -> None:
    """401 from the gateway, and no log line; health and key set are open."""
    async with caller.http.post(f"{caller.auth.url}/token?grant_type=password", json={}) as response:
        assert response.status == 401
    for path in ("/health", "/.well-known/jwks.json"):
        async with caller.http.get(caller.auth.url + path) as response:
            assert response.status == 200
    assert [line["path"] for line in caller.lines()] == ["/.well-known/jwks.json"], "health is never logged"


async def test_settings_show_the_posture(caller: Caller) -> None:
    """What an allowlist depends on can be polled."""
    _, settings = await caller.call("GET", "/settings")
    assert (settings["mailer_autoconfirm"], settings["disable_signup"]) == (False, False)


async def test_a_sign_up_is_refused_where_signups_are_off() -> None:
    """422 signup_disabled."""
    async with FakeAuth(signups=False) as auth, aiohttp.ClientSession() as http:
        status, body = await Caller(auth, http, Path()).call(
            "POST", "/signup", {"email": "a@b.io", "password": "secret"}
        )
        assert (status, body["error_code"]) == (422, "signup_disabled")


async def test_signs_of_html_are_escaped_as_go_does(caller: Caller) -> None:
    """<, > and & never stand in the log as such."""
    await caller.call("POST", "/logout?scope=<b>&x", bearer=(await caller.sign_in())[1]["access_token"])
    raw = caller.log.read_text().splitlines()[-1]
    assert ("\\u003cb\\u003e" in raw, "<" in raw) == (True, False)


async def test_the_lines_have_the_shape_of_the_corpus(caller: Caller, corpus: Path) -> None:
    """Failure, audit event, Login and success: the same keys, inside the audit event too, as in the sample lines."""
    samples = [json.loads(line) for line in (corpus / "supabase_auth_log_samples.jsonl").read_text().splitlines()]
    await caller.sign_in(password="guess")
    await caller.sign_in(User_Agent="test/1")
    for sample, line in zip(samples[:4], caller.lines(), strict=True):
        assert (sample["msg"], set(sample), sample["level"]) == (line["msg"], set(line), line["level"])
        for nested in ("auth_audit_event", "auth_event"):
            assert set(sample.get(nested, ())) == set(line.get(nested, ()))


def test_a_signing_key_is_kept_for_its_owner_and_read_again(tmp_path: Path) -> None:
    """Whoever has the file can sign as this Auth; what is no P-256 key is refused with how to make one."""
    made, file = SigningKey.fresh(), tmp_path / "signing.pem"
    made.keep(file)
    read = SigningKey.of(file)
    assert (read.private.private_numbers(), file.stat().st_mode & 0o777) == (made.private.private_numbers(), 0o600)
    other = SigningKey(kid="", private=ec.generate_private_key(ec.SECP384R1()))
    other.keep(tmp_path / "other.pem")
    with pytest.raises(ValueError, match="is no P-256 key: make one: openssl"):
        SigningKey.of(tmp_path / "other.pem")
