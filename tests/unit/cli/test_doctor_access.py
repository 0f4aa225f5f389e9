"""`tocsin doctor` on who may come in: the project's keys, switches and clock, the list and its tables."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from tocsin.access.allowlist.gate import gate_sql
from tocsin.access.posture import Project, examine, switches
from tocsin.ports import Health
from tocsin.state import State
from tocsin.state.posture import table_posture
from tocsin.testing.forge import Forge
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.supabase import FakeAuth

Made = Callable[..., Project]


def project(auth: FakeAuth, **changes: Any) -> Project:
    fields: dict[str, Any] = {
        "url": auth.address, "jwks_url": f"{auth.url}/.well-known/jwks.json", "issuer": auth.url,
        "audience": "authenticated", "api_key": auth.api_key, "takes_shared_secret": False, "has_hook": True,
    }  # fmt: skip
    return Project(**{**fields, **changes})


@pytest.fixture
async def auth() -> AsyncIterator[FakeAuth]:
    async with FakeAuth(users=[]) as running:
        yield running


def gaps(found: tuple[Health, ...]) -> list[str]:
    assert all(one.mend for one in found if not one.ok), "a gap without its mend"
    return [one.what for one in found if not one.ok]


async def test_a_project_that_is_set_up_well_has_no_gap(auth: FakeAuth) -> None:
    """And what was looked at is said."""
    found = await examine(project(auth), datetime.now(UTC))
    assert (gaps(found), [one.what for one in found]) == (
        [],
        [
            "2 public keys (ES256)", "the clocks agree", f"tokens of {auth.url} for authenticated",
            "addresses are confirmed by mail", "sign-ups are open, and the hook refuses who is not on the list",
        ],
    )  # fmt: skip


async def test_addresses_that_nobody_confirms_make_the_list_void() -> None:
    """The worst of all: with the switch's name."""
    async with FakeAuth(autoconfirm=True, signups=False) as auth:
        found = await examine(project(auth, has_hook=False), datetime.now(UTC))
    (gap,) = [one for one in found if not one.ok]
    assert ("so the list is void" in gap.what, gap.mend) == (
        True, "GOTRUE_MAILER_AUTOCONFIRM=false in Auth's environment",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "gap"),
    [
        ({"has_hook": False}, "anybody may sign up"),
        ({"takes_shared_secret": True}, "tokens signed with the shared secret"),
        ({"api_key": ""}, "Auth's settings are not known without an API key"),
        ({"api_key": "sb_publishable_wrong"}, "answered 401"),
        ({"jwks_url": "http://127.0.0.1:1/jwks.json"}, "the public keys: http://127.0.0.1:1/jwks.json can't be asked"),
    ],
)
async def test_each_gap_is_said_with_its_mend(auth: FakeAuth, changes: dict[str, Any], gap: str) -> None:
    """One is wrong, and nothing else."""
    (found,) = gaps(await examine(project(auth, **changes), datetime.now(UTC)))
    assert gap in found


async def test_clocks_that_differ_are_told_before_tokens_are_refused(auth: FakeAuth) -> None:
    """In seconds, and which way."""
    found = await examine(project(auth), datetime.now(UTC) - timedelta(minutes=5))
    (gap,) = [one for one in found if not one.ok]
    assert ("s behind Supabase's" in gap.what, gap.mend) == (True, "timedatectl set-ntp true")


@pytest.mark.parametrize(
    ("document", "secret", "gap"),
    [
        (b'{"keys": []}', False, ["the project publishes no public keys, so no token can be proven"]),
        (
            b'{"keys": []}',
            True,
            ["tokens signed with the shared secret (HS256) are taken: whoever holds it can be anybody"],
        ),
        (b"<html>", False, ["the public keys at URL: the key set is not JSON: unexpected character"]),
        (
            Forge.rs256(bits=1024).jwks(),
            False,
            ["of the public keys not used: key 1: neither ES256 on P-256 nor RS256"],
        ),
    ],
    ids=["none", "none, and a secret", "no key set", "weak"],
)
async def test_keys_that_prove_nothing_are_told(auth: FakeAuth, document: bytes, secret: bool, gap: list[str]) -> None:
    """A project on the legacy secret publishes an empty set."""

    async def keys(_: web.Request) -> web.Response:
        return web.Response(body=document)

    app = web.Application()
    app.router.add_get("/keys", keys)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    found = gaps(await examine(project(auth, jwks_url=url, takes_shared_secret=secret), datetime.now(UTC)))
    await runner.cleanup()
    assert [text.replace(url, "URL").startswith(start) for text, start in zip(found, gap, strict=True)] == [True]


def test_what_auth_does_not_say_is_not_taken_for_good() -> None:
    """Some other JSON, from some other server."""
    asked = Project(
        url="http://x", jwks_url="", issuer="", audience="", api_key="k", takes_shared_secret=False, has_hook=True
    )
    assert next(switches(asked, {})).ok is False


async def test_a_hosted_projects_mend_is_a_command(auth: FakeAuth) -> None:
    """Ready to be run with one's own access token."""
    hosted = project(auth, url="https://abcdefghijklmnopqrst.supabase.co")
    first = next(switches(hosted, {"mailer_autoconfirm": True}))
    assert first.mend.startswith("curl -X PATCH https://api.supabase.com/v1/projects/abcdefghijklmnopqrst/config/auth ")
    assert json.loads(first.mend.rpartition("-d ")[2].strip("'")) == {"mailer_autoconfirm": False}


def test_the_tables_and_the_hook_are_looked_at() -> None:
    """Closed and without a hook; with one; then opened to clients, and each gap has the command that ends it."""

    async def looked(url: str) -> tuple[list[str], bool]:
        state = await State.open(url)
        found, hook = await table_posture(state)
        await state.close()
        return gaps(found), hook

    with EmbeddedPostgres.start() as postgres:
        postgres.execute("create role anon", "create role authenticated", "create role supabase_auth_admin")
        url = f"postgresql://postgres:{postgres.password}@127.0.0.1:{postgres.port}/postgres"
        bare = asyncio.run(looked(url))
        postgres.execute(gate_sql("public"))
        gated = asyncio.run(looked(url))
        postgres.execute(
            "grant select on allowlist to anon", "alter table allowlist_audit disable row level security",
            "revoke select on allowlist from supabase_auth_admin",
        )  # fmt: skip
        opened = asyncio.run(looked(url))
    assert (bare, gated) == (([], False), ([], True))
    assert opened == (
        [
            '"public".allowlist: anon may reach it over the REST interface',
            '"public".allowlist_audit: row level security is off',
            "the sign-up hook is installed, but supabase_auth_admin may not run it: every sign-up fails",
        ],
        False,
    )
