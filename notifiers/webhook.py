"""Webhook: each notification as one JSON object by POST.

  kind: webhook, name: backup, url: https://example.com/hooks/tocsin, secret_env: TOCSIN_WEBHOOK_SECRET

Headers: `Idempotency-Key` and `webhook-id` are the notification's id. With a secret the request is signed as Standard
Webhooks lays down: `webhook-timestamp`, and `webhook-signature: v1,BASE64` over `id.timestamp.body` with HMAC-SHA256.
Body, version 1 (a field may be added, none changes its meaning without a new version):
  version, id, notifier, action, reason, because, text (one plain line), severity, created_at, attempt,
  mentions [{kind, id}], timeline {fault_at, sampled_at, decided_at},
  incidents [{id, state, severity, route, group, summary, opened_at, updated_at, revision, acked_at, acked_by,
    resolved_at, resolved_why, reopened, firing, peak, url, members_total,
    members [{alertname, state, severity, labels, annotations, value, active_at, fired_at, resolved_at, frozen_since,
      frozen_why}]}], incidents_total
Times are RFC 3339 in UTC, or null; `value` is text, as in Prometheus' API, because JSON knows no NaN. Of many incidents
or members the first 100 are sent; the totals tell.
Delivery is at least once: nothing can be read back, so after an attempt without an answer the same id is sent again.
A receiver that keeps the ids it has seen makes that once.
Any 2xx is a receipt. 429 and 503 with Retry-After are waited for, 413 is tried once more without members, another 4xx
or a redirect is a refusal.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from notifiers._payload import MOST, encode, payload_of
from notifiers._permit import request_class
from notifiers._proxy import proxy_of
from tocsin.errors import DeliveryError, Refused, Throttled, TooLarge, Unavailable, Uncertain
from tocsin.model import Notification, Receipt, Seconds
from tocsin.ports import Health, NotifierContext, NotifierSettings, NotifierSpec, secret_text

if TYPE_CHECKING:
    import aiohttp

CONNECT_LIMIT: Final[Seconds] = 5.0
DEFAULT_WAIT: Final[Seconds] = 30.0
LONGEST_WAIT: Final[Seconds] = 3600.0
_OWN_HEADERS: Final = frozenset(
    {"content-type", "content-length", "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature"}
)
_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})


class WebhookSettings(NotifierSettings):
    """Where to POST, and how it is known that it was us."""

    url: str | None = Field(default=None, description="where to POST; url_env for an address that is itself a secret")
    url_env: str | None = Field(default=None, description="the variable with the address")
    headers: dict[str, str] = Field(default_factory=dict, description="further headers")
    headers_env: dict[str, str] = Field(default_factory=dict, description="header: the variable with its value")
    secret: SecretStr | None = Field(default=None, description="signs each request; prefer secret_env or secret_file")
    secret_env: str | None = Field(default=None, description="the variable with the secret (whsec_BASE64, or any text)")
    secret_file: Path | None = Field(default=None, description="a file with the secret, read anew for each request")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is not None and not _is_http(url):
            raise ValueError(f"wants an address such as https://example.com/hook, not {url!r}")
        return url

    @field_validator("headers", "headers_env")
    @classmethod
    def _are_free(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"the header {name} is set by Tocsin; leave it out")
        return headers

    @model_validator(mode="after")
    def _is_complete(self) -> WebhookSettings:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give one of url and url_env")
        if sum(value is not None for value in (self.secret, self.secret_env, self.secret_file)) > 1:
            raise ValueError("give only one of secret, secret_env and secret_file")
        for name in self.headers:
            if name.lower() in _SECRET_HEADERS:
                raise ValueError(f"the header {name} holds a secret; write headers_env: {{{name}: VARIABLE}} instead")
        return self

    def read_url(self) -> str:
        """The address as it is now. Raises Refused."""
        url = self.url or _variable(self.url_env or "")
        if not _is_http(url):
            raise Refused(f"{self.url_env} holds no address", mend=f"put the address (https://…) into {self.url_env}")
        return url

    def read_secret(self, folder: Path) -> bytes:
        """The signing key, empty for none. Raises Refused."""
        if self.secret_file is not None:
            path = folder / self.secret_file
            try:
                text = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise Refused(f"can't read the secret: {error}", mend=f"write the secret to {path}") from error
            return key_of(text, str(path))
        if self.secret_env is not None:
            return key_of(_variable(self.secret_env), self.secret_env)
        return key_of(secret_text(self.secret), "`secret`") if self.secret is not None else b""


class WebhookNotifier:
    """POSTs to one address."""

    def __init__(self, settings: WebhookSettings, context: NotifierContext) -> None:
        self._settings = settings
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        """POST the notification; a 2xx answer is the receipt. Raises a DeliveryError."""
        degraded = ""
        try:
            url = await self._post(notification, MOST)
        except TooLarge as error:
            degraded = f"without members: {error}"
            try:
                url = await self._post(notification, 0)
            except TooLarge as again:
                raise Refused(f"refused in every form: {again}", mend="let the receiver take larger bodies") from again
        return Receipt(
            notification=notification.id,
            notifier=self._settings.name,
            incident=notification.incident.id,
            action=notification.action,
            at=self._context.clock.now(),
            destination=urlsplit(url).hostname or "",
            ref=notification.id,
            degraded=degraded[:500],
        )

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        """A receiver can't be asked: None, so that the same id is sent again."""
        return None

    async def check(self) -> Health:
        """Whether the address answers at all; nothing is posted, so that it can't tell whether it would be taken."""
        try:
            url, session = self._settings.read_url(), self._opened()
            self._headers("check", b"")
            asked = session.options(url, proxy=proxy_of(url), allow_redirects=False)
            async with asyncio.timeout(self._settings.deadline), asked as answer:
                return Health(ok=True, what=f"{urlsplit(url).hostname} answers (HTTP {answer.status})")
        except Refused as error:
            return Health(ok=False, what=str(error), mend=error.mend)
        except Exception as error:  # noqa: BLE001 - aiohttp's many errors all mean one thing here
            what = f"the webhook can't be reached: {type(error).__name__}: {error}"
            return Health(ok=False, what=what, mend="check url, DNS and the firewall between here and there")

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, notification: Notification, members: int) -> str:
        """The address that took it. Raises a DeliveryError."""
        url = self._settings.read_url()
        body = encode(payload_of(notification, members=members, console_url=self._context.console_url))
        headers = self._headers(notification.id, body)
        posted = self._opened().post(url, data=body, headers=headers, proxy=proxy_of(url), allow_redirects=False)
        try:
            # A little less than the deadline: whoever ends us at it does not know what we know of the attempt.
            async with asyncio.timeout(0.9 * self._settings.deadline), posted as answer:
                said = (await answer.content.read(300)).decode("utf-8", "replace")
        except Exception as error:
            raise _error_of_exception(error) from error
        if not 200 <= answer.status < 300:
            raise error_of_status(answer.status, said, answer.headers.get("Retry-After"))
        return url

    def _headers(self, key: str, body: bytes) -> dict[str, str]:
        settings = self._settings
        headers = dict(settings.headers)
        for name, variable in settings.headers_env.items():
            headers[name] = _variable(variable)
        headers |= {"Content-Type": "application/json", "Idempotency-Key": key, "webhook-id": key}
        if secret := settings.read_secret(self._context.folder):
            at = int(self._context.clock.now().timestamp())
            headers |= {"webhook-timestamp": str(at), "webhook-signature": sign(secret, key, at, body)}
        return headers

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            limits = aiohttp.ClientTimeout(total=None, connect=min(CONNECT_LIMIT, self._settings.deadline / 2))
            agent = {"User-Agent": "tocsin"}
            self._session = aiohttp.ClientSession(
                timeout=limits, headers=agent, cookie_jar=aiohttp.DummyCookieJar(),
                request_class=request_class(self._context.permit),
            )  # fmt: skip
        return self._session


def sign(secret: bytes, key: str, at: int, body: bytes) -> str:
    """Standard Webhooks' signature. Source: the specification's "Signature scheme"."""
    digest = hmac.new(secret, f"{key}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def key_of(secret: str, where: str) -> bytes:
    """The key's bytes: Base64 after `whsec_`, else the text itself. Raises Refused."""
    if not secret:
        raise Refused(f"there is no secret in {where}", mend=f"put the webhook's secret into {where}")
    text = secret.removeprefix("v1,")
    if not text.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise Refused(f"the secret in {where} is not Base64 after whsec_", mend="copy the whole secret") from error


def error_of_status(status: int, said: str, retry_after: str | None) -> DeliveryError:
    """What an answer that is no 2xx means."""
    what = f"the webhook answered HTTP {status}" + (f": {' '.join(said.split())[:200]}" if said.strip() else "")
    if status == 429 or (status == 503 and retry_after):
        return Throttled(what, retry_after=_wait(retry_after))
    if status == 413:
        return TooLarge(what)
    if status >= 500 or status in (408, 425):
        return Uncertain(what)
    if 300 <= status < 400:
        return Refused(what, mend="set url to where it redirects; a redirected POST may lose its body")
    return Refused(what, mend="check the webhook's address and its credentials")


def _error_of_exception(error: Exception) -> DeliveryError:
    import aiohttp

    said = f"{type(error).__name__}" + (f": {error}" if str(error) else "")
    if isinstance(error, DeliveryError):
        return error
    if isinstance(error, aiohttp.InvalidURL):
        return Refused(f"not an address: {said}", mend="check the webhook's address")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Unavailable(f"the webhook can't be reached: {said}")
    return Uncertain(f"the webhook gave no answer: {said}")


def _wait(retry_after: str | None) -> Seconds:
    try:
        return min(max(float(retry_after or DEFAULT_WAIT), 0.0), LONGEST_WAIT)
    except ValueError:
        return DEFAULT_WAIT  # an HTTP date: rare enough to wait the usual time


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise Refused(f"the variable {name} is not set", mend=f"set {name} in the daemon's environment")
    return value


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


SPEC = NotifierSpec(kind="webhook", settings=WebhookSettings, build=WebhookNotifier)
