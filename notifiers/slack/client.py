"""One Slack Web API client: slack_sdk over one aiohttp session, with no retries of its own.

slack_sdk's default clients send a POST again after a dropped connection, which may page twice: retry_handlers=[] leaves
every decision to the delivery, which reads back first. Importing it takes about 0.1 s beside aiohttp, so that waits
until the first call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from notifiers._permit import request_class
from notifiers._proxy import proxy_of
from notifiers.slack.errors import error_of, error_of_exception, error_of_status
from notifiers.slack.settings import SlackSettings
from tocsin.errors import DeliveryError, Unavailable, Uncertain
from tocsin.model import Seconds
from tocsin.ports import NotifierContext

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

CONNECT_LIMIT: Final[Seconds] = 5.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What Slack said, with `ok: true`."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


class SlackClient:
    """`call` a method; every failure is a DeliveryError."""

    def __init__(self, settings: SlackSettings, context: NotifierContext) -> None:
        self._settings = settings
        self._folder = context.folder
        self._permit = context.permit
        self._client: AsyncWebClient | None = None

    async def call(self, method: str, args: Mapping[str, Any], *, within: Seconds, reads: bool = False) -> Answer:
        """Slack's answer. `reads`: the call changes nothing, so that no failure of it is uncertain.

        Raises a DeliveryError: Unavailable where it was certainly not sent, Uncertain where it may have been.
        """
        token = self._settings.read_token(self._folder)
        client = await self._opened()
        client.token = token
        try:
            return await self._answer(client, method, args, within, reads)
        except Uncertain as error:
            if reads:
                raise Unavailable(str(error)) from error
            raise

    async def _answer(
        self, client: AsyncWebClient, method: str, args: Mapping[str, Any], within: Seconds, reads: bool
    ) -> Answer:
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            async with asyncio.timeout(within):
                # The methods that read take no JSON body.
                if reads:
                    answer = await client.api_call(method, http_verb="GET", params=dict(args))
                else:
                    answer = await client.api_call(method, json=dict(args))
        except SlackApiError as error:
            raise _refusal(error.response, method) from error
        except SlackClientError as error:
            raise Unavailable(f"{method} could not be made: {error}") from error
        except Exception as error:
            # slack_sdk lets aiohttp's errors through, and fails in its own ways on bodies that Slack never sends.
            raise error_of_exception(error, method=method) from error
        body = answer.data
        if not isinstance(body, dict):
            raise Uncertain(f"{method} was answered with something that is not Slack's")
        return Answer(body=body, headers={name.lower(): value for name, value in answer.headers.items()})

    async def _opened(self) -> AsyncWebClient:
        if self._client is None:
            import aiohttp
            from slack_sdk.web.async_client import AsyncWebClient

            # Connecting has its own, shorter limit: what failed there was certainly not sent.
            limits = aiohttp.ClientTimeout(total=None, connect=min(CONNECT_LIMIT, self._settings.deadline / 2))
            session = aiohttp.ClientSession(timeout=limits, request_class=request_class(self._permit))
            client = AsyncWebClient(base_url=self._settings.base_url, session=session, retry_handlers=[])
            # slack_sdk takes HTTPS_PROXY but not NO_PROXY: a stand-in on loopback would be asked of the proxy.
            client.proxy = proxy_of(self._settings.base_url)
            self._client = client
        return self._client

    async def close(self) -> None:
        """Close the session; a later call opens another."""
        client, self._client = self._client, None
        if client is not None and client.session is not None:
            await client.session.close()


def _refusal(response: Any, method: str) -> DeliveryError:
    """From slack_sdk's response, or aiohttp's where slack_sdk could not read the body."""
    status = int(getattr(response, "status_code", None) or getattr(response, "status", 0) or 0)
    headers = {str(name).lower(): str(value) for name, value in (getattr(response, "headers", None) or {}).items()}
    body = getattr(response, "data", None)
    retry_after = headers.get("retry-after")
    if status == 429 or not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return error_of_status(status, method=method, retry_after=retry_after)
    if status >= 500:
        return Uncertain(f"Slack's {method} answered {body['error']} with HTTP {status}")
    details = [str(detail) for detail in body.get("errors") or []] + ([body["needed"]] if body.get("needed") else [])
    return error_of(body["error"], method=method, detail="; ".join(details)[:300], retry_after=retry_after)
