"""Asking Supabase over HTTP, so that nobody on the way can turn the question elsewhere.

The address is the configured one: a redirect is not followed. The answer is read up to a limit, within a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


async def get(
    session: aiohttp.ClientSession, url: str, *, headers: Mapping[str, str], deadline: Seconds, most_bytes: int
) -> HttpAnswer:
    """The answer of `url`. Raises NoAnswer, whose message says what happened and holds no secret."""
    try:
        async with session.get(
            url, headers=headers, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=deadline)
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(16_384):
                body += chunk
                if len(body) > most_bytes:
                    raise NoAnswer(f"{url} answered more than {most_bytes} bytes")
            return HttpAnswer(response.status, bytes(body))
    except TimeoutError:
        raise NoAnswer(f"{url} did not answer within {deadline:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswer(f"{url} can't be asked: {type(error).__name__}: {error}") from None
