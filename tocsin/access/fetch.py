"""Asking Supabase over HTTP, so that nobody on the way can turn the question elsewhere.

The address is the configured one: a redirect is not followed. The answer is read up to a limit, within a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from tocsin.errors import TocsinError
from tocsin.model import Seconds


class NoAnswer(TocsinError):
    """Supabase did not answer: what was asked is unknown."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case."""


async def get(
    session: aiohttp.ClientSession, url: str, *, headers: Mapping[str, str], deadline: Seconds, most_bytes: int
) -> HttpAnswer:
    """The answer of `url`. Raises NoAnswer, whose message says what happened and holds no secret."""
    return await _ask(session, "GET", url, None, headers, deadline, most_bytes)


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, *, headers: Mapping[str, str], deadline: Seconds,
    most_bytes: int,
) -> HttpAnswer:  # fmt: skip
    """The answer to a body of JSON. Raises NoAnswer, as `get` does."""
    return await _ask(session, "POST", url, body, {**headers, "Content-Type": "application/json"}, deadline, most_bytes)


async def _ask(
    session: aiohttp.ClientSession, method: str, url: str, body: bytes | None, headers: Mapping[str, str],
    deadline: Seconds, most_bytes: int,
) -> HttpAnswer:  # fmt: skip
    if session.closed:
        raise NoAnswer(f"{url} is asked no more: the configuration has changed")
    try:
        async with session.request(
            method, url, data=body, headers=headers, allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=deadline),
        ) as response:  # fmt: skip
            whole = bytearray()
            async for chunk in response.content.iter_chunked(16_384):
                whole += chunk
                if len(whole) > most_bytes:
                    raise NoAnswer(f"{url} answered more than {most_bytes} bytes")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpAnswer(response.status, bytes(whole), headers)
    except TimeoutError:
        raise NoAnswer(f"{url} did not answer within {deadline:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswer(f"{url} can't be asked: {type(error).__name__}: {error}") from None
