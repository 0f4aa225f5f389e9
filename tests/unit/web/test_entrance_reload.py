"""A reload of web.supabase: what is configured now decides, and what was verified before counts for nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tocsin.access.allowlist import Put, Role, entry_of
from tocsin.access.fetch import NoAnswer, get
from tocsin.access.verdicts import Refusal
from tocsin.config import load_config
from tocsin.state.allowlist import AllowlistTable
from tocsin.testing.forge import SECRET, Forge
from tocsin.testing.supabase import FakeAuth, Seed
from tocsin.web.entrance import Entrance

ANA = Seed(email="ana@example.com", password="correct horse")


class Reloads:
    """An entrance, and the file it was configured from."""

    def __init__(self, folder: Path, port: Any) -> None:
        self._file, self._port = folder / "config.yaml", port
        self.entrance: Entrance

    def config(self, supabase: str) -> Any:
        self._file.write_text(
            "routes: [{notify: [log]}]\nnotifiers: [{kind: console, name: log}]\n"
            f"state: {{url: 'sqlite:///state.db'}}\nweb:\n  supabase: {{{supabase}}}\n"
        )
        return load_config(self._file, {"KEY": "sb_publishable_stand-in", "SECRET": SECRET})

    async def becomes(self, supabase: str) -> None:
        await self.entrance.configure(self.config(supabase))

    async def says(self, token: str) -> str:
        """The role, or why not."""
        found = await self.entrance.by_bearer(token, self._port.clock.now())
        return found.reason.value if isinstance(found, Refusal) else found.role.value


@pytest.fixture
async def reloads(port: Any, tmp_path: Path) -> AsyncIterator[Reloads]:
    now = port.clock.now()
    entry = entry_of(ANA.email, now, by="tests", role=Role.ADMIN)
    await AllowlistTable(port.state).change(Put((entry,)), "tests", now)
    found = Reloads(tmp_path, port)
    found.entrance = await Entrance.of(found.config("url: 'http://127.0.0.1:1'"), port.state, port.clock)
    yield found
    await found.entrance.close()


@pytest.fixture
async def projects(port: Any) -> AsyncIterator[tuple[FakeAuth, FakeAuth]]:
    def now() -> float:
        return float(port.clock.now().timestamp())

    async with FakeAuth(users=[ANA], now=now) as one, FakeAuth(users=[ANA], now=now) as other:
        yield one, other


async def token_of(auth: FakeAuth) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{auth.url}/token?grant_type=password", json={"email": ANA.email, "password": ANA.password},
            headers={"apikey": auth.api_key},
        ) as response,
    ):  # fmt: skip
        return str((await response.json())["access_token"])


async def test_another_project_is_another_door(reloads: Reloads, projects: tuple[FakeAuth, FakeAuth]) -> None:
    """The old one's tokens prove nothing from then on, though they were verified a moment ago."""
    one, other = projects
    tokens = [await token_of(one), await token_of(other)]
    await reloads.becomes(f"url: '{one.address}', api_key_env: KEY")
    before = [await reloads.says(token) for token in tokens]
    await reloads.becomes(f"url: '{other.address}', api_key_env: KEY")
    after = [await reloads.says(token) for token in tokens]
    assert (before, after) == (["admin", "unknown_key"], ["unknown_key", "admin"])


async def test_another_issuer_refuses_the_tokens_of_the_old_one(
    reloads: Reloads, projects: tuple[FakeAuth, FakeAuth]
) -> None:
    """With the same keys; and set back, they are taken again."""
    auth = projects[0]
    token, found = await token_of(auth), []
    for issuer in ("", ", issuer: 'https://auth.example/auth/v1'", ""):
        await reloads.becomes(f"url: '{auth.address}'{issuer}")
        found.append(await reloads.says(token))
    assert found == ["admin", "wrong_issuer", "admin"]


async def test_a_shared_secret_that_is_taken_out_signs_nothing_more(
    reloads: Reloads, projects: tuple[FakeAuth, FakeAuth], port: Any
) -> None:
    """The end of a move to ES256."""
    auth = projects[0]
    token = Forge.hs256(issuer=auth.url, now=port.clock.now()).token()
    await reloads.becomes(f"url: '{auth.address}', jwt_secret_env: SECRET")
    before = await reloads.says(token)
    await reloads.becomes(f"url: '{auth.address}'")
    assert (before, await reloads.says(token)) == ("admin", "wrong_algorithm")


async def test_a_shorter_life_holds_for_tokens_that_are_out(
    reloads: Reloads, projects: tuple[FakeAuth, FakeAuth]
) -> None:
    """A stolen token is as short-lived as the configuration says now."""
    auth = projects[0]
    token = await token_of(auth)
    await reloads.becomes(f"url: '{auth.address}'")
    before = await reloads.says(token)
    await reloads.becomes(f"url: '{auth.address}', max_lifetime: 30m")
    assert (before, await reloads.says(token)) == ("admin", "lives_too_long")


async def test_a_reload_that_leaves_the_project_alone_keeps_what_is_known_of_it(
    reloads: Reloads, projects: tuple[FakeAuth, FakeAuth]
) -> None:
    """No key is fetched again, nobody is asked about again."""
    auth = projects[0]
    await reloads.becomes(f"url: '{auth.address}'")
    token = await token_of(auth)
    await reloads.says(token)
    project = reloads.entrance.project
    await reloads.becomes(f"url: '{auth.address}'")
    assert (reloads.entrance.project is project, await reloads.says(token)) == (True, "admin")


async def test_without_a_project_no_token_comes_in(
    reloads: Reloads, projects: tuple[FakeAuth, FakeAuth], tmp_path: Path
) -> None:
    """Taken out of the configuration: the one-time link is the way in again."""
    auth = projects[0]
    await reloads.becomes(f"url: '{auth.address}'")
    token = await token_of(auth)
    before = await reloads.says(token)
    (tmp_path / "config.yaml").write_text("routes: [{notify: [log]}]\nnotifiers: [{kind: console, name: log}]\n")
    await reloads.entrance.configure(load_config(tmp_path / "config.yaml", {}))
    assert (before, await reloads.says(token)) == ("admin", "no_keys")


async def test_who_asks_while_the_project_changes_is_told_to_ask_again() -> None:
    """503, and no error of ours: the old project's connections are closed."""
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(NoAnswer, match="the configuration has changed"):
        await get(session, "http://127.0.0.1:1/", headers={}, deadline=1, most_bytes=1)
