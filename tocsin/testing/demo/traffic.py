"""Users of the demo's application: they sign in, now and then with a wrong password, and read campaigns.

Without them the charts are empty, and a rule that takes ordinary traffic for trouble would look good. What they meet is
theirs: an answer of 500 ends nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from tocsin.tasks import end_tasks

USERS: Final = {
    "ana@example.com": "a long enough word",
    "bo@example.com": "another long word",
    "cem@example.com": "yet another word",
}
OUTSIDER: Final = ("eve@elsewhere.example", "her own good word")
"""Somebody whom Auth knows and the application's allowlist does not."""
OFFICE: Final = "198.51.100.20"
"""The address that everybody signs in from; somebody mistypes there every so often."""
_PAUSE: Final = 0.7
_MISTYPED_EVERY: Final = 20


@dataclass(frozen=True, kw_only=True)
class AuthClient:
    """Signs in at Supabase Auth."""

    http: aiohttp.ClientSession
    url: str
    api_key: str
    token: Path
    """Whoever signs in leaves the access token here: for the readers and for the daemon's probes."""
    signing_key: Path
    """What Auth signs with, for tokens that it would not give: one that has expired."""

    async def sign_in(self, email: str, password: str, *, address: str) -> int:
        """The status of the answer."""
        status, token = await self.ask(email, password, address=address)
        if token:
            self._keep(token)
        return status

    async def ask(self, email: str, password: str, *, address: str) -> tuple[int, str]:
        """(status, access token), the token empty where Auth refused."""
        async with self.http.post(
            f"{self.url}/token?grant_type=password",
            json={"email": email, "password": password},
            headers={"apikey": self.api_key, "X-Forwarded-For": address},
        ) as response:
            answer = await response.json()
            return response.status, answer.get("access_token", "")

    def _keep(self, token: str) -> None:
        """In one piece, so that no probe reads half of one."""
        fresh = self.token.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(token + "\n")
        fresh.replace(self.token)

    @property
    def headers(self) -> dict[str, str]:
        """Of a user who is signed in."""
        return {"Authorization": f"Bearer {self.token.read_text().strip()}"}


async def _sign_in_now_and_then(auth: AuthClient) -> None:
    for turn, (email, password) in enumerate(itertools.cycle(USERS.items()), 1):
        typed = "mistyped" if turn % _MISTYPED_EVERY == 0 else password
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await auth.sign_in(email, typed, address=OFFICE)
        await asyncio.sleep(_PAUSE)


async def _read_campaigns(http: aiohttp.ClientSession, app: str, auth: AuthClient) -> None:
    for path in itertools.cycle(("/campaigns", "/campaigns/2/progress", "/campaigns/1/report", "/campaigns/3")):
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with http.get(app + path, headers=auth.headers) as response:
                await response.read()
        await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def users_at_work(http: aiohttp.ClientSession, app: str, auth: AuthClient) -> AsyncIterator[None]:
    """They use it while the block runs."""
    tasks = [
        asyncio.create_task(_sign_in_now_and_then(auth), name="demo.sign-ins"),
        asyncio.create_task(_read_campaigns(http, app, auth), name="demo.readers"),
    ]
    try:
        yield
    finally:
        await end_tasks(*tasks)
