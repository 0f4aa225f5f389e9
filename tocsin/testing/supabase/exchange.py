"""One request to the stand-in on its way: what came in, what its log line will say, how a refusal is answered."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tocsin.testing.supabase.accounts import Device
from tocsin.testing.supabase.refusals import AuthRefusal

VERSION_HEADER: Final = "X-Supabase-Api-Version"
CODE_HEADER: Final = "x-sb-error-code"

Handler = Callable[["Exchange"], Awaitable[web.Response]]


@dataclass(kw_only=True)
class Exchange:
    """One request on its way: what came in, and what its log line will say."""

    request: web.Request
    id: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    @property
    def device(self) -> Device:
        """What its session is remembered by."""
        return Device(address=self.about["remote_addr"], agent=self.user_agent)

    async def body(self) -> dict[str, Any]:
        """The JSON object sent. Raises AuthRefusal."""
        text = await self.request.text()
        try:
            found = json.loads(text or "{}")
        except ValueError as error:
            raise AuthRefusal(400, "bad_json", f"Could not parse request body as JSON: {error}") from None
        if not isinstance(found, dict):
            raise AuthRefusal(400, "bad_json", "Could not parse request body as JSON: not an object")
        return found

    def text(self, asked: dict[str, Any], name: str) -> str:
        """A member of the body, empty where it is missing. Raises AuthRefusal."""
        value = asked.get(name, "")
        if not isinstance(value, str):
            raise AuthRefusal(400, "bad_json", f"Could not parse request body as JSON: {name} is not a string")
        return value


CURRENT: ContextVar[Exchange] = ContextVar("request")
"""The one that is being answered, for what happens below the handlers."""


def refused(refusal: AuthRefusal, api_version: str) -> web.Response:
    """The answer, in the form of the API version that was asked for."""
    headers = {CODE_HEADER: refusal.code} if refusal.code else {}
    if api_version:
        headers[VERSION_HEADER] = api_version
    return web.json_response(refusal.body(api_version), status=refusal.status, headers=headers)


def remote_address(request: web.Request) -> str:
    """Whom a server with a secret key says it speaks for, else the first valid address of X-Forwarded-For, else the
    peer."""
    is_server = request.headers.get("apikey", "").startswith("sb_secret_")
    said = [request.headers.get("Sb-Forwarded-For", "")] if is_server else []
    for part in (*said, *request.headers.get("X-Forwarded-For", "").split(",")):
        try:
            address = ipaddress.ip_address(part.strip())
        except ValueError:
            continue
        # Go prints an IPv4 address that is wrapped in IPv6 as the IPv4 address.
        mapped = getattr(address, "ipv4_mapped", None)
        return str(mapped or address)
    return request.remote or ""
