"""The stand-in's log lines beside samples of the real server's, event by event: same keys, same words.

A release of the real server can't be had here; the samples were derived from its source.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tocsin.testing.supabase import BEFORE_USER_CREATED, DEFAULT_SERVICE_KEY, Era, FakeAuth, Seed

ANA: Final = Seed(email="ana@example.com", password="correct horse", totp="JBSWY3DPEHPK3PXP")
BOB: Final = Seed(email="bob@example.com", password="correct horse")
_FREE: Final = {
    "duration", "time", "created_at", "request_id", "referer", "remote_addr", "actor_id", "actor_username",
    "audit_log_id", "user_id", "user_email", "user_agent", "hook",
}  # fmt: skip
"""What differs from one event to the next."""


class Denies:
    """A hook that turns everybody away, in the words of the sample."""

    uri = "pg-functions://postgres/public/hook_before_user_created"

    async def ask(self, event: Mapping[str, Any], now: float) -> Any:
        return {"error": {"http_code": 403, "message": "Only company emails may sign up."}}


class Caller:
    """Calls a stand-in that runs for the test, and gives its lines."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.time = 1_790_000_000.0

    async def start(self, **settings: Any) -> None:
        seeds = (ANA, BOB)
        self.auth = await self._stack.enter_async_context(FakeAuth(users=seeds, now=lambda: self.time, **settings))
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession())

    async def call(self, method: str, path: str, body: object = None, *, key: str = "", bearer: str = "") -> Any:
        headers = {"apikey": key or self.auth.api_key, "User-Agent": "Mozilla/5.0"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        async with self._http.request(method, self.auth.url + path, json=body, headers=headers) as response:
            return await response.json()

    async def sign_in(self, password: str = ANA.password) -> Any:
        return await self.call("POST", "/token?grant_type=password", {"email": ANA.email, "password": password})

    @property
    def lines(self) -> list[dict[str, Any]]:
        return self.auth.journal.lines


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with AsyncExitStack() as stack:
        yield Caller(stack)


async def wrong_password(caller: Caller) -> None:
    await caller.start()
    await caller.sign_in("guess")


async def wrong_password_of_old(caller: Caller) -> None:
    await caller.start(era=Era.BEFORE_2_194)
    await caller.sign_in("guess")


async def sign_in(caller: Caller) -> None:
    await caller.start()
    await caller.sign_in()


async def token_used_twice(caller: Caller) -> None:
    await caller.start()
    token = {"refresh_token": (await caller.sign_in())["refresh_token"]}
    for _ in range(3):
        token_now = await caller.call("POST", "/token?grant_type=refresh_token", token)
        await caller.call(
            "POST", "/token?grant_type=refresh_token", {"refresh_token": token_now.get("refresh_token", "")}
        )
        caller.time += 60


async def wrong_factor(caller: Caller) -> None:
    await caller.start()
    granted = await caller.sign_in()
    path = f"/factors/{granted['user']['factors'][0]['id']}"
    asked = await caller.call("POST", f"{path}/challenge", bearer=granted["access_token"])
    answer = {"challenge_id": asked["id"], "code": "no"}
    await caller.call("POST", f"{path}/verify", answer, bearer=granted["access_token"])


async def too_many(caller: Caller) -> None:
    await caller.start(token_limit=1)
    await caller.sign_in()
    await caller.sign_in()


async def turned_away(caller: Caller) -> None:
    await caller.start(hooks={BEFORE_USER_CREATED: Denies()})
    await caller.call("POST", "/signup", {"email": "eve@elsewhere.example", "password": "correct horse"})


async def deleted(caller: Caller) -> None:
    await caller.start()
    user = caller.auth.accounts.by_email(BOB.email)
    assert user is not None
    await caller.call("DELETE", f"/admin/users/{user.id}", key=DEFAULT_SERVICE_KEY)


async def wrong_code(caller: Caller) -> None:
    await caller.start()
    await caller.call("POST", "/otp", {"email": ANA.email, "create_user": False})
    await caller.call("POST", "/verify", {"type": "email", "email": ANA.email, "token": "no"})


EVENTS: Final[tuple[Callable[[Caller], Any], ...]] = (
    wrong_password,
    sign_in,
    sign_in,
    sign_in,
    token_used_twice,
    wrong_factor,
    too_many,
    turned_away,
    turned_away,
    deleted,
    wrong_code,
    wrong_password_of_old,
)
"""What has to happen for each sample, in their order."""


@pytest.mark.parametrize("number", range(len(EVENTS)), ids=[f"{n}-{event.__name__}" for n, event in enumerate(EVENTS)])
async def test_the_same_event_leaves_the_same_line(caller: Caller, corpus: Path, number: int) -> None:
    """Same keys in the same order, and but for ids, times and places the same values."""
    samples = (corpus / "supabase_auth_log_samples.jsonl").read_text().splitlines()
    assert len(samples) == len(EVENTS)
    sample = json.loads(samples[number])
    await EVENTS[number](caller)
    shapes = [_shape(line) for line in caller.lines]
    assert _shape(sample) in shapes, f"{sample}\nis none of\n{caller.lines}"


def _shape(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line without what differs from one event to the next."""
    line = dict(line)
    if line.get("msg") == "Hook errored out":
        # The sample lacks the status that the server's error has in front (apierrors.HTTPError.Error).
        line["error"] = line["error"].removeprefix("403: ")
    return {
        key: _shape(value) if isinstance(value, dict) else "…" if key in _FREE else _plain(value)
        for key, value in sorted(line.items())
    }


def _plain(value: Any) -> Any:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d{1,4}$", "…", value) if isinstance(value, str) else value
