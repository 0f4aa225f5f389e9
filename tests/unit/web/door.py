"""The port with its door, the stand-in Supabase behind it, and browsers that keep cookies."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tocsin.access.allowlist import Put, Role, entry_of
from tocsin.config import load_config
from tocsin.state.allowlist import AllowlistTable
from tocsin.testing.asking import Answer, ask
from tocsin.testing.supabase import FakeAuth, Seed
from tocsin.web.entrance import Entrance
from tocsin.web.gate import Gate
from tocsin.web.server import application

SECRET = "JBSWY3DPEHPK3PXP"
PEOPLE = {
    "ana@example.com": Role.ADMIN,
    "vic@example.com": Role.VIEWER,
    "tom@example.com": Role.ADMIN,
    "tomas@example.com": Role.VIEWER,
    "app@example.com": None,
}
PASSWORD = "correct horse"
HOOK_KEYS = [bytes(range(32)), bytes(range(1, 33))]
HERE = {"Host": "testserver", "Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}


@dataclass
class Browser:
    """Keeps cookies and follows nothing."""

    app: Gate
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookies: list[str] = field(default_factory=list)

    async def ask(self, method: str, target: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        given = list((headers or {}).items())
        if self.cookies:
            given.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        answer = await ask(self.app, method, target, more_headers=given, **more)
        self._keep(answer)
        return answer

    def _keep(self, answer: Answer) -> None:
        self.set_cookies = list(answer.cookies)
        for line in answer.cookies:
            name, _, value = line.partition(";")[0].partition("=")
            if "max-age=0" in line.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    async def page(self, target: str = "/login") -> str:
        """A page's HTML."""
        return (await self.ask("GET", target, headers={"Accept": "text/html"})).content.decode()

    async def submit(
        self, target: str, page: str = "/login", headers: dict[str, str] | None = None, **fields: str
    ) -> Answer:
        """A form of that page, sent."""
        found = re.search(r'name="csrf" value="([^"]+)"', await self.page(page))
        assert found, f"no form on {page}"
        pairs = [("csrf", found[1]), *fields.items()]
        return await self.ask("POST", target, form=pairs, headers={**HERE, **(headers or {})})

    async def sign_in(self, email: str = "ana@example.com", password: str = PASSWORD, **fields: str) -> Answer:
        return await self.submit("/login/password", email=email, password=password, **fields)


@dataclass
class Console:
    """The port with its door, and the stand-in behind it."""

    port: Any
    auth: FakeAuth
    entrance: Entrance
    app: Gate
    folder: Path

    def browser(self) -> Browser:
        return Browser(self.app)

    async def signed_in(self, email: str = "ana@example.com") -> Browser:
        browser = self.browser()
        answer = await browser.sign_in(email)
        assert answer.status == 303, answer.content
        return browser

    @property
    def listed(self) -> AllowlistTable:
        return AllowlistTable(self.port.state)


def config_of(folder: Path, supabase: str = "") -> Any:
    file = folder / "config.yaml"
    file.write_text(
        "routes: [{notify: [log]}]\nnotifiers: [{kind: console, name: log}]\nstate: {url: 'sqlite:///state.db'}\n"
        f"web:\n  listen: 127.0.0.1:9475\n{supabase}"
    )
    return load_config(file, {"KEY": "sb_secret_stand-in", "HOOK": hook_secret()})


def hook_secret() -> str:
    return "|".join(f"v1,whsec_{base64.b64encode(key).decode()}" for key in HOOK_KEYS)


@pytest.fixture
async def console(port: Any, tmp_path: Path) -> AsyncIterator[Console]:
    """Signed in is nobody."""
    seeds = [
        Seed(email=email, password=PASSWORD, totp=SECRET if email.startswith("tom") else "")
        for email in (*PEOPLE, "stranger@example.com")
    ]
    clock = port.clock
    async with FakeAuth(users=seeds, api_key="sb_secret_stand-in", now=lambda: clock.now().timestamp()) as auth:
        auth.oauth_user = "ana@example.com"
        config = config_of(
            tmp_path,
            f"  supabase: {{url: '{auth.address}', api_key_env: KEY, hook_secret_env: HOOK, providers: [github]}}\n",
        )
        table = AllowlistTable(port.state)
        entries = [entry_of(email, clock.now(), by="tests", role=role) for email, role in PEOPLE.items()]
        await table.change(Put(tuple(entries)), "tests", clock.now())
        entrance = await Entrance.of(config, port.state, clock)
        yield Console(port, auth, entrance, _app(port, entrance), tmp_path)
        await entrance.close()


@pytest.fixture
async def lonely(port: Any, tmp_path: Path) -> AsyncIterator[Console]:
    """A console without Supabase."""
    entrance = await Entrance.of(config_of(tmp_path), port.state, port.clock)
    entrance.address = "127.0.0.1:9475"
    yield Console(port, None, entrance, _app(port, entrance), tmp_path)  # type: ignore[arg-type]
    await entrance.close()


def _app(port: Any, entrance: Entrance) -> Gate:
    return application(replace(port.inside, entrance=entrance))
