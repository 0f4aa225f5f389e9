"""A Prometheus-compatible server as the engine: PromQL in, results out.

    engine = Engine("https://vm.example", headers={"X-Scope-OrgID": "team"}, deadline=10.0)
    result = await engine.query("up == 0", at)        # EvaluationError: unknown, whatever the cause
    answer = await engine.forward("query_range", pairs)  # the server's own words, for our HTTP API

Every query says that a part of an answer is no answer (Thanos: partial_response, VictoriaMetrics:
deny_partial_response) and that samples of this second count (VictoriaMetrics looks 30 s back unless told `nocache`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from tocsin.errors import EvaluationError
from tocsin.model import Seconds
from tocsin.promql import Result
from tocsin.series.remote.answers import result_of
from tocsin.series.remote.receiver import AGENT

AT_ONCE: Final = 16
"""Queries of rules at a time: Prometheus' own default for all its clients together is 20."""
VISITORS_AT_ONCE: Final = 4
"""Queries that people and dashboards ask through us at a time."""
LARGEST: Final = 64 * 2**20
"""Bytes of an answer."""
_STRICT: Final = {"partial_response": "false", "deny_partial_response": "1", "nocache": "1", "latency_offset": "1ms"}


class Unreachable(EvaluationError):
    """The server that evaluates did not answer, or is not well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forwarded:
    """An answer as it came."""

    status: int
    body: bytes


class Engine:
    """The HTTP client."""

    def __init__(self, url: str, *, headers: Mapping[str, str], deadline: Seconds) -> None:
        self.url = url.rstrip("/")
        self.deadline = deadline
        self._headers = {"User-Agent": AGENT, **headers}
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        # Of their own, so that a heavy dashboard never stands before a rule.
        self._visitors = asyncio.Semaphore(VISITORS_AT_ONCE)

    async def query(self, text: str, at: datetime) -> Result:
        """An instant query. Raises EvaluationError that names the server, Unreachable where it is to blame."""
        form = {"query": text, "time": f"{at.timestamp():.3f}", "timeout": f"{max(1, round(self.deadline))}s"}
        answer = await self._ask("query", tuple({**form, **_STRICT}.items()), "POST", self._turns)
        try:
            return result_of(answer.status, answer.body)
        except EvaluationError as error:
            kind = Unreachable if answer.status >= 500 else EvaluationError
            raise kind(f"{self.url}: {error}") from None

    async def forward(self, what: str, form: Sequence[tuple[str, str]], *, method: str = "POST") -> Forwarded:
        """What somebody asks of /api/v1/`what`. Raises Unreachable when there is no whole answer."""
        return await self._ask(what, form, method, self._visitors)

    async def _ask(
        self, what: str, form: Sequence[tuple[str, str]], method: str, turns: asyncio.Semaphore
    ) -> Forwarded:
        async with turns:
            if self._session is None:
                self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.deadline))
            address = f"{self.url}/api/v1/{quote(what)}"
            body, query = (None, urlencode(form)) if method == "GET" else (aiohttp.FormData(form), "")
            try:
                async with self._session.request(
                    method, URL(address + (f"?{query}" if query else ""), encoded=True), data=body,
                    headers=self._headers, allow_redirects=False,
                ) as answer:  # fmt: skip
                    return Forwarded(status=answer.status, body=await _whole(answer))
            except TimeoutError:
                raise Unreachable(f"{self.url} did not answer within {self.deadline:g}s") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise Unreachable(f"{self.url} can't be asked: {str(error) or type(error).__name__}") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # the transports end in the next turn of the loop


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > LARGEST:
            raise ValueError(f"its answer is larger than {LARGEST >> 20} MiB; narrow the expression")
        parts.append(part)
    return b"".join(parts)
