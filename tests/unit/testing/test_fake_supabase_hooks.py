"""The stand-in Auth takes a hook's answer as the real one does, traps included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from collectors.auth_logs.events import Kind, read_line
from tocsin.testing.supabase import (
    BEFORE_USER_CREATED,
    CUSTOM_ACCESS_TOKEN,
    DEFAULT_SERVICE_KEY,
    PASSWORD_ATTEMPT,
    FakeAuth,
    HttpHook,
    PostgresHook,
    Seed,
)
from tocsin.testing.supabase.hooks import hook_of

SECRET = "v1,whsec_" + "b29vb29vb29vb29vb29vb29vb29vb29vb29vb29vb28="


@dataclass
class Canned:
    """A hook that answers what it was told to."""

    answer: Any
    uri: str = "pg-functions://postgres/public/f"
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    async def ask(self, event: Mapping[str, Any], now: float) -> Any:
        self.asked.append(event)
        return self.answer


async def post(auth: FakeAuth, path: str, body: dict[str, Any], key: str = "") -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(auth.url + path, json=body, headers={"apikey": key or auth.api_key}) as response,
    ):
        return response.status, await response.json()


EVE = {"email": "Eve@example.com", "password": "correct horse"}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({}, 200), (None, 200), ({"error": {"http_code": 403, "message": "no"}}, 403),
        ({"error": {"message": "no"}}, 500),
        ({"error": {"http_code": 403, "message": ""}}, 200), ({"error": {"http_code": 403}}, 200),
    ],
    ids=["empty", "null", "no", "no http_code", "empty message", "no message"],
)  # fmt: skip
async def test_what_a_hooks_answer_means(answer: Any, status: int) -> None:
    """Null and an empty message let in: the traps that a gate must not fall into."""
    async with FakeAuth(hooks={BEFORE_USER_CREATED: Canned(answer)}) as auth:
        found, body = await post(auth, "/signup", EVE)
        assert (found, auth.accounts.by_email("eve@example.com") is not None) == (status, status == 200)
        denials = [line["error"] for line in auth.journal.lines if line["msg"] == "Hook errored out"]
    assert denials == ([] if status == 200 else [f"{status}: no"])
    assert status != 403 or body == {"code": 403, "error_code": "", "msg": "no"}


async def test_the_hook_is_told_the_address_in_lower_case() -> None:
    """And who it is about."""
    hook = Canned({})
    async with FakeAuth(hooks={BEFORE_USER_CREATED: hook}) as auth:
        await post(auth, "/signup", EVE)
    (event,) = hook.asked
    assert (event["user"]["email"], event["metadata"]["name"], event["metadata"]["ip_address"]) == (
        "eve@example.com", "before-user-created", "127.0.0.1",
    )  # fmt: skip


async def test_a_user_made_by_the_admin_api_is_asked_of_no_hook() -> None:
    """And the API wants the secret key."""
    hook = Canned({"error": {"http_code": 403, "message": "no"}})
    async with FakeAuth(hooks={BEFORE_USER_CREATED: hook}) as auth:
        found = [(await post(auth, "/admin/users", EVE, key))[0] for key in ("", DEFAULT_SERVICE_KEY)]
    assert (found, hook.asked) == ([403, 200], [])


async def test_the_token_hook_writes_the_claims() -> None:
    """What it gives is what is signed."""
    claims = {"sub": "x", "role": "authenticated", "tier": "gold"}
    ana = Seed(email="ana@example.com", password="correct horse")
    async with FakeAuth(users=[ana], hooks={CUSTOM_ACCESS_TOKEN: Canned({"claims": claims})}) as auth:
        _, body = await post(auth, "/token?grant_type=password", {"email": ana.email, "password": ana.password})
        key = auth.keys.jwks()["keys"][0]
    import jwt

    found = jwt.decode(body["access_token"], jwt.PyJWK(key), algorithms=["ES256"], options={"verify_aud": False})
    assert found == claims


@pytest.mark.parametrize(("status", "expected"), [(200, 200), (204, 200), (401, 500), (403, 500), (503, 500)])
async def test_an_http_hook_that_answers_anything_but_200_is_an_error(status: int, expected: int) -> None:
    """A no is a 200 with an error inside; a 403 becomes a 500 (auth#2235)."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=b"{}" if status != 204 else None)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook = HttpHook(f"http://127.0.0.1:{runner.addresses[0][1]}/", [SECRET])
    async with FakeAuth(hooks={BEFORE_USER_CREATED: hook}) as auth:
        assert (await post(auth, "/signup", EVE))[0] == expected
    await runner.cleanup()


def test_a_hook_is_named_as_in_auths_configuration() -> None:
    """So that what is tried here can be copied there."""
    function = hook_of("pg-functions://postgres/tocsin_gate/before_user_created", dsn="postgresql://db")
    assert function == PostgresHook("postgresql://db", "tocsin_gate.before_user_created")
    assert function.uri == "pg-functions://postgres/tocsin_gate/before_user_created"
    assert hook_of("http://127.0.0.1:1/hook", secrets=[SECRET]) == HttpHook("http://127.0.0.1:1/hook", [SECRET])


@pytest.mark.parametrize(
    "uri", ["pg-functions://postgres/f", "pg-functions://postgres/a/f", "http://x/", "file:///x", ""]
)
def test_a_hook_that_could_not_be_asked_is_refused_in_words(uri: str) -> None:
    """At the start, and not at the first sign-up."""
    with pytest.raises(ValueError, match="write "):
        hook_of(uri)


async def test_a_recovery_link_of_an_administrators_is_audited_as_the_users_own() -> None:
    """The trap: the path of the request alone tells; what is done to users is service_role's."""
    ana = Seed(email="ana@example.com", password="correct horse")
    async with FakeAuth(users=[ana]) as auth:
        await post(auth, "/admin/generate_link", {"type": "recovery", "email": ana.email}, DEFAULT_SERVICE_KEY)
        await post(auth, "/invite", {"email": "new@example.com"}, DEFAULT_SERVICE_KEY)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{auth.url}/admin/audit", headers={"apikey": DEFAULT_SERVICE_KEY}) as response,
        ):
            entries = [entry["payload"] for entry in await response.json()]
        paths = [line["path"] for line in auth.journal.lines if line["msg"] == "request completed"]
    assert [(entry["action"], entry["actor_username"]) for entry in entries] == [
        ("user_invited", "service_role"), ("user_recovery_requested", "ana@example.com"),
    ]  # fmt: skip
    assert paths[0] == "/admin/generate_link"


async def test_a_password_that_was_tried_is_told_with_its_user() -> None:
    """Right or wrong, never for an address that nobody has; the collector counts the event as it is."""
    hook = Canned({"decision": "continue"})
    ana = Seed(email="ana@example.com", password="correct horse")
    async with FakeAuth(users=[ana], hooks={PASSWORD_ATTEMPT: hook}) as auth:
        tries = [("ana@example.com", "guess"), ("ana@example.com", "correct horse"), ("eve@example.com", "guess")]
        path = "/token?grant_type=password"
        statuses = [(await post(auth, path, {"email": email, "password": tried}))[0] for email, tried in tries]
        user = auth.accounts.by_email(ana.email)
    assert user is not None
    assert statuses == [400, 200, 400]
    assert [(event["user_id"], event["valid"]) for event in hook.asked] == [(user.id, False), (user.id, True)]
    event = read_line(json.dumps(hook.asked[0]).encode())
    assert (event.meaning.kind, event.user, event.address) == (Kind.ATTEMPT, user.id, "127.0.0.1")


async def test_a_hook_may_reject_a_right_password_and_end_all_sessions() -> None:
    """In its own words, or in the server's."""
    hook = Canned({"decision": "continue"})
    ana = {"email": "ana@example.com", "password": "correct horse"}
    async with FakeAuth(users=[Seed(**ana)], hooks={PASSWORD_ATTEMPT: hook}) as auth:
        await post(auth, "/token?grant_type=password", ana)
        answers = []
        for hook.answer in (
            {"decision": "reject"},
            {"decision": "reject", "message": "Wait.", "should_logout_user": True},
        ):
            answers.append((*await post(auth, "/token?grant_type=password", ana), len([*auth.accounts.sessions()])))
    assert [(status, body["error_code"], body["msg"], sessions) for status, body, sessions in answers] == [
        (400, "invalid_credentials", "Further password verification attempts will be rejected.", 1),
        (400, "invalid_credentials", "Wait.", 0),
    ]
