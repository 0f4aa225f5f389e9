"""One remote-write request, and what its answer means for the samples in it.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ (1.0): 2xx is an acknowledgement, 5xx and 429 are sent
again, any other 4xx never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

import aiohttp

from tocsin import __version__
from tocsin.model import Seconds
from tocsin.series.remote.pace import retry_after

AGENT: Final = f"tocsin/{__version__}"
_CONTENT: Final = frozenset({400, 413, 422})
"""The samples, or how many they are, are what is refused: part of them may be welcome."""
_TEXT: Final = 500


class Verdict(Enum):
    """What to do next."""

    ACCEPTED = "accepted"
    UNWELCOME = "unwelcome"
    """Some of these samples are never taken: find out which."""
    REFUSED = "refused"
    """It takes nothing from us (a wrong token or address)."""
    LATER = "later"
    """Send it again after a while."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a receiver said."""

    verdict: Verdict
    kind: str
    """`http_<status>`, `throttled`, `timeout` or `network`: a label."""
    text: str = ""
    wait: Seconds | None = None
    """How long it asked us to wait."""
    doubtful: bool = False
    """The samples may have arrived all the same."""


class Receiver:
    """The far end of one destination."""

    def __init__(self, url: str, *, headers: Mapping[str, str], deadline: Seconds) -> None:
        self._url = url
        self._headers = {
            "User-Agent": AGENT,
            **headers,
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        self._deadline = deadline
        self._session: aiohttp.ClientSession | None = None

    async def send(self, body: bytes, now: datetime) -> Answer:
        """Send once. Does not raise."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._deadline))
        try:
            # A redirected POST becomes a GET: that is no acknowledgement.
            async with self._session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as answer:
                text = (await answer.content.read(_TEXT)).decode("utf-8", "replace").strip()
                return judge(answer.status, answer.headers, text, now)
        except aiohttp.ClientConnectorError as error:
            return Answer(verdict=Verdict.LATER, kind="network", text=str(error))
        except TimeoutError:
            return Answer(
                verdict=Verdict.LATER, kind="timeout", text=f"no answer within {self._deadline:g}s", doubtful=True
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = str(error) or type(error).__name__
            return Answer(verdict=Verdict.LATER, kind="network", text=text, doubtful=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # the transports end in the next turn of the loop


def judge(status: int, headers: Mapping[str, str], text: str, now: datetime) -> Answer:
    """The meaning of an HTTP answer."""
    kind = f"http_{status}"
    if 200 <= status < 300:
        return Answer(verdict=Verdict.ACCEPTED, kind=kind)
    if 300 <= status < 400:
        where = headers.get("Location", "elsewhere")
        return Answer(verdict=Verdict.LATER, kind=kind, text=f"it redirects to {where}; write that address into url")
    if status == 429 or status >= 500:
        wait = retry_after(headers.get("Retry-After"), now) if status in (429, 503) else None
        # 429 is said before anything is read; behind a proxy's 5xx the receiver may have taken it.
        return Answer(
            verdict=Verdict.LATER, kind="throttled" if status == 429 else kind, text=text, wait=wait,
            doubtful=status >= 500,
        )  # fmt: skip
    return Answer(verdict=Verdict.UNWELCOME if status in _CONTENT else Verdict.REFUSED, kind=kind, text=text)
