"""One GET of a target's metrics, bounded in time and size."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from collectors.scrape.settings import Target, Tls
from tocsin.durations import format_duration
from tocsin.model import Seconds

_ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


class ScrapeFailed(Exception):
    """The target's metrics could not be had; the message says why, and where it can what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """What the target answered."""

    text: str
    open_metrics: bool


class Fetcher:
    """Makes the requests, over connections that are kept. Open one inside a running loop, close it there."""

    def __init__(self) -> None:
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"user-agent": "tocsin-scrape", "accept": _ACCEPT, "accept-encoding": "gzip"},
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, target: Target, secrets: Mapping[str, str], deadline: Seconds) -> Body:
        """The exposition. Raises ScrapeFailed, and OSError for a CA or certificate file that can't be read."""
        context = self.prepare(target) or True
        headers = {**target.headers, "x-prometheus-scrape-timeout-seconds": f"{deadline:g}", **secrets}
        try:
            async with (
                asyncio.timeout(deadline),
                self._session.get(target.url, headers=headers, ssl=context, allow_redirects=False) as response,
            ):
                return await _body(response, target.body_limit)
        except TimeoutError:
            raise ScrapeFailed(f"no whole answer within {format_duration(deadline)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ScrapeFailed(f"{error}" or type(error).__name__) from None

    def prepare(self, target: Target) -> ssl.SSLContext | None:
        """The TLS context of an https target, made once: loading the system's authorities takes tens of milliseconds.

        Raises OSError (ssl.SSLError is one) for a file that can't be read.
        """
        tls = target.tls
        if not target.url.lower().startswith("https:"):
            return None
        if (known := self._contexts.get(tls)) is not None:
            return known
        context = ssl.create_default_context(cafile=tls.ca_file)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
        self._contexts[tls] = context
        return context


async def _body(response: aiohttp.ClientResponse, limit: int) -> Body:
    if 300 <= response.status < 400:
        # Not followed: the token would go wherever the target says.
        raise ScrapeFailed(f"redirects to {response.headers.get('location', 'nowhere')}; set url to that address")
    if response.status != 200:
        raise ScrapeFailed(f"answered {response.status} {response.reason or ''}".strip())
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        raise ScrapeFailed("answered a web page (text/html), not metrics; check the path, or sign in with a token")
    data = bytearray()
    async for part in response.content.iter_chunked(65_536):
        data += part
        if len(data) > limit:
            raise ScrapeFailed(f"its metrics are larger than body_limit ({limit} bytes); raise it, or expose less")
    try:
        return Body(text=data.decode(), open_metrics=kind == "application/openmetrics-text")
    except UnicodeDecodeError as error:
        raise ScrapeFailed(f"not UTF-8 at byte {error.start}") from None
