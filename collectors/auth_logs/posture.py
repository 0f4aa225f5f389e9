"""How Auth is set up, as it says itself: GET {url}/auth/v1/settings, asked beside the log.

Every switch is a gauge of 1 or 0, providers as `external_NAME`. Whoever needs an allowlist wants to know when
mailer_autoconfirm is on: then anybody may register an address that is on the list and not theirs.

Source: supabase/auth, internal/api/settings.go.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from collectors.auth_logs import declarations as are
from collectors.auth_logs.settings import PostureSettings
from tocsin.model import Blind, Labels, Sample, since
from tocsin.ports import secret_text

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MOST: Final = 200
"""Switches; Auth has some forty."""
_MOST_BYTES: Final = 1 << 20


class Posture:
    """What was answered last."""

    def __init__(self, settings: PostureSettings) -> None:
        self._settings = settings
        self._url = f"{settings.url.rstrip('/')}/auth/v1/settings"
        self._session: aiohttp.ClientSession | None = None
        self._asked_at: datetime | None = None
        self._found: Mapping[str, bool] = {}
        self._why = "not asked yet"
        """Why it is not known; empty: it is."""

    async def look(self, at: datetime) -> None:
        """Ask, when it is time to."""
        if self._asked_at is not None and since(self._asked_at, at).total_seconds() < self._settings.interval:
            return
        self._asked_at = at
        try:
            self._found, self._why = switches(await self._ask()), ""
        except ValueError as error:
            self._why = f"{self._url} {error}"
        except TimeoutError:
            self._why = f"{self._url} gave no answer within {self._settings.deadline:g}s"
        except (aiohttp.ClientError, OSError) as error:
            self._why = f"{self._url}: {str(error) or type(error).__name__}"

    def samples(self, at: datetime) -> Iterator[Sample | Blind]:
        """A gauge per switch, or that they are not known."""
        if self._why:
            yield Blind(why=self._why, metrics=frozenset({are.POSTURE.name}))
            return
        for name, on in self._found.items():
            yield Sample(name=are.POSTURE.name, labels=Labels(setting=name), value=float(on), at=at)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self) -> bytes:
        """Raises ValueError, TimeoutError, ClientError and OSError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        headers = {"apikey": secret_text(self._settings.api_key), "user-agent": "tocsin-auth-logs"}
        async with (
            asyncio.timeout(self._settings.deadline),
            self._session.get(self._url, headers=headers, allow_redirects=False) as response,
        ):
            if response.status == 401:
                raise ValueError("answered 401: posture.api_key is not one of this project's keys")
            if response.status != 200:
                raise ValueError(f"answered {response.status}; check posture.url, the address of the project")
            body = bytearray()
            async for part in response.content.iter_chunked(65_536):
                body += part
                if len(body) > _MOST_BYTES:
                    raise ValueError("answered with more than the settings of Auth")
            return bytes(body)


def switches(body: bytes) -> dict[str, bool]:
    """Every switch in the settings' document. Raises ValueError for what is none."""
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    if type(told) is not dict or type(told.get("mailer_autoconfirm")) is not bool:
        raise ValueError("did not answer with the settings of Auth; check posture.url, the address of the project")
    external = told.get("external")
    named = {f"external_{name}": on for name, on in external.items()} if type(external) is dict else {}
    found = {name: on for name, on in {**told, **named}.items() if type(on) is bool and _NAME.fullmatch(name)}
    return dict(sorted(found.items())[:_MOST])
