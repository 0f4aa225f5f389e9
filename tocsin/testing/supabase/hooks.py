"""The hooks that the stand-in calls, as the real server does: functions in Postgres, or HTTP with signed calls.

    PostgresHook(dsn, "tocsin_gate.before_user_created")     as supabase_auth_admin, 2 s
    HttpHook("http://…/hooks/before-user-created", ["v1,whsec_…"])     Standard Webhooks, 5 s

What an answer means is the real server's, traps included: nothing at all (SQL NULL, 204) and an error with an empty
message are a yes; an error without http_code is a 500; so is any HTTP status but 200, 202 and 204. Who can't be asked
lets nobody in.

Source: supabase/auth, internal/hooks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp
import psycopg

from tocsin.testing.supabase.refusals import AuthRefusal

BEFORE_USER_CREATED: Final = "before-user-created"
CUSTOM_ACCESS_TOKEN: Final = "custom-access-token"
PASSWORD_ATTEMPT: Final = "password-verification-attempt"


class Hook(Protocol):
    """One of them."""

    @property
    def uri(self) -> str:
        """As it stands in Auth's configuration."""

    async def ask(self, event: Mapping[str, Any], now: float) -> Any:
        """The answer's JSON; None for none. Raises AuthRefusal where it can't be had."""


@dataclass(frozen=True)
class PostgresHook:
    """A function of one jsonb."""

    dsn: str
    """Of the role that Auth connects as."""
    function: str
    """schema.name"""

    @property
    def uri(self) -> str:
        return f"pg-functions://postgres/{self.function.replace('.', '/')}"

    async def ask(self, event: Mapping[str, Any], now: float) -> Any:
        try:
            async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
                await connection.execute("set statement_timeout = '2s'")
                text = f"select {self.function}(%s::jsonb)"
                row = await (await connection.execute(text, [json.dumps(event)])).fetchone()
        except psycopg.errors.QueryCanceled:
            raise AuthRefusal(
                422, "hook_timeout", "Failed to reach hook within maximum time of 2.000000 seconds"
            ) from None
        except psycopg.Error as error:
            raise AuthRefusal(500, "unexpected_failure", "Error running hook", internal=f"ERROR: {error}") from None
        return row[0] if row is not None else None


@dataclass(frozen=True)
class HttpHook:
    """An address that is posted to."""

    uri: str
    secrets: Sequence[str]
    """`v1,whsec_…`; while they are rotated, several."""

    async def ask(self, event: Mapping[str, Any], now: float) -> Any:
        body, id, at = json.dumps(event).encode(), f"msg_{uuid.uuid4()}", str(int(now))
        headers = {
            "content-type": "application/json", "webhook-id": id, "webhook-timestamp": at,
            "webhook-signature": ", ".join(_signature(secret, id, at, body) for secret in self.secrets),
        }  # fmt: skip
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self.uri, data=body, headers=headers) as response,
            ):
                text, status = await response.read(), response.status
        except TimeoutError:
            raise AuthRefusal(
                422, "hook_timeout", "Failed to reach hook within maximum time of 5.000000 seconds"
            ) from None
        except aiohttp.ClientError:
            raise AuthRefusal(500, "unexpected_failure", "Failed to reach hook after maximum retries") from None
        if status == 204 or (status in (200, 202) and not text):
            return None
        if status not in (200, 202):
            raise AuthRefusal(500, "unexpected_failure", f"Unexpected status code returned from hook: {status}")
        try:
            return json.loads(text)
        except ValueError:
            raise AuthRefusal(500, "unexpected_failure", "Error unmarshaling JSON output.") from None


def hook_of(uri: str, *, dsn: str = "", secrets: Sequence[str] = ()) -> Hook:
    """The hook of a URI as Auth's configuration has it. Raises ValueError that says what is missing."""
    if uri.startswith("pg-functions://"):
        schema, _, function = uri.removeprefix("pg-functions://").partition("/")[2].partition("/")
        if not schema or not function or not dsn:
            raise ValueError(f"{uri}: write pg-functions://postgres/SCHEMA/FUNCTION, and give the database's address")
        return PostgresHook(dsn, f"{schema}.{function}")
    if not uri.startswith(("http://", "https://")) or not secrets:
        raise ValueError(f"{uri}: write http://… or pg-functions://…, and give the secret of one over HTTP")
    return HttpHook(uri, secrets)


def _signature(secret: str, id: str, at: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("v1,whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, f"{id}.{at}.".encode() + body, hashlib.sha256)).decode()


class Hooks:
    """Those that are switched on."""

    def __init__(self, hooks: Mapping[str, Hook], log: Callable[[str, int, str], None]) -> None:
        """`log`: told of each call: the hook's uri, how long it took in ns, why it said no or failed (empty: not)."""
        self._hooks = dict(hooks)
        self._log = log

    async def before_user_created(self, user: Mapping[str, Any], address: str, now: float) -> None:
        """Raises AuthRefusal."""
        await self._answer(BEFORE_USER_CREATED, {"user": user}, address, now)

    async def password_tried(self, user_id: str, valid: bool, address: str, now: float) -> tuple[str, bool]:
        """(why the attempt is rejected, empty: it is not; whether the user's sessions end). Raises AuthRefusal."""
        found = await self._answer(PASSWORD_ATTEMPT, {"user_id": user_id, "valid": valid}, address, now) or {}
        if found.get("decision") != "reject":
            return "", False
        message = str(found.get("message") or "Further password verification attempts will be rejected.")
        return message, found.get("should_logout_user") is True

    async def claims(self, claims: dict[str, Any], method: str, now: float) -> dict[str, Any]:
        """What the token says. Raises AuthRefusal."""
        event = {"user_id": claims["sub"], "claims": claims, "authentication_method": method}
        found = await self._answer(CUSTOM_ACCESS_TOKEN, event, "", now)
        if found is None:
            return claims
        given = found.get("claims")
        if not isinstance(given, dict):
            raise AuthRefusal(500, "unexpected_failure", "output claims do not conform to the expected schema")
        return given

    async def _answer(self, name: str, event: Mapping[str, Any], address: str, now: float) -> dict[str, Any] | None:
        """None for a hook that is off, or said nothing."""
        hook = self._hooks.get(name)
        if hook is None:
            return None
        about = {"uuid": str(uuid.uuid4()), "time": _stamp(now), "name": name, "ip_address": address}
        began = time.perf_counter_ns()
        try:
            found = await hook.ask({"metadata": about, **event}, now)
            refuse(found)
        except AuthRefusal as refusal:
            # A rejection has its status here, and none in the request's own line.
            why = refusal.logged if refusal.code else f"{refusal.status}: {refusal.message}"
            self._log(hook.uri, time.perf_counter_ns() - began, why)
            raise
        self._log(hook.uri, time.perf_counter_ns() - began, "")
        return found if isinstance(found, dict) else None


def refuse(answer: Any) -> None:
    """Raises AuthRefusal for an answer that is a no."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict) or not error.get("message"):
        return  # a message that is empty is a yes
    # A rejection has no error_code; one without http_code is an error of the server's.
    message = str(error["message"])
    raise AuthRefusal(int(error.get("http_code") or 500), "", message, internal=message)


def _stamp(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
