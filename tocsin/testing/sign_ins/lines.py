"""Log lines of Supabase Auth 2.196, as far as they are counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from tocsin.model import Seconds


class Line(NamedTuple):
    """`at` in seconds since the epoch."""

    at: Seconds
    text: bytes


def request(at: Seconds, path: str, ip: str, status: int = 200, method: str = "POST", **fields: Any) -> Line:
    """A request's line."""
    line = {
        "component": "api", "duration": 84_311_250, "level": "info", "method": method, "msg": "request completed",
        "path": path, "remote_addr": ip, "status": status, "time": _time(at), **fields,
    }  # fmt: skip
    return Line(at, orjson.dumps(line))


def signed_in(at: Seconds, ip: str, user: str) -> Iterator[Line]:
    """With the right password."""
    login = {"action": "login", "level": "info", "login_method": "password", "metering": True, "msg": "Login"}
    yield Line(at, orjson.dumps({**login, "provider": "email", "time": _time(at), "user_id": user}))
    yield request(at, "/token", ip, grant_type="password")


def wrong_password(at: Seconds, ip: str, user: str, *, hook: bool) -> Iterator[Line]:
    """`hook`: password_verification_attempt is answered by something that writes to the log; not for unknown users."""
    if hook and user:
        metadata = {"uuid": "", "time": _time(at), "name": "password-verification-attempt", "ip_address": ip}
        yield Line(at, orjson.dumps({"metadata": metadata, "user_id": user, "valid": False}))
    refused = {"error": "400: Invalid login credentials", "error_code": "invalid_credentials"}
    yield request(at, "/token", ip, 400, grant_type="password", **refused)


def refreshed(at: Seconds, ip: str, error_code: str = "") -> Line:
    """A session that goes on, or does not."""
    if error_code:
        return request(at, "/token", ip, 400, grant_type="refresh_token", error_code=error_code)
    return request(at, "/token", ip, grant_type="refresh_token")


def code(at: Seconds, ip: str, *, right: bool) -> Line:
    """A one-time code."""
    if right:
        return request(at, "/verify", ip)
    return request(at, "/verify", ip, 403, error_code="otp_expired", error="token has expired or is invalid")


def second_factor(at: Seconds, ip: str, factor: str, *, right: bool) -> Line:
    """TOTP."""
    path = f"/factors/{factor}/verify"
    return request(at, path, ip) if right else request(at, path, ip, 422, error_code="mfa_verification_failed")


def denied_by_hook(at: Seconds, ip: str) -> Iterator[Line]:
    """A sign-up that before_user_created refuses."""
    hook = {"hook": "pg-functions://postgres/gate/before_user_created", "error": "not on the list"}
    yield Line(at, orjson.dumps({"msg": "Hook errored out", "action": "run_hook", "time": _time(at), **hook}))
    yield request(at, "/signup", ip, 403)


def _time(at: Seconds) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
