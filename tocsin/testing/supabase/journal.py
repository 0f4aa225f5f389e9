"""The log lines of Supabase Auth, one JSON object each, with the keys in the order its logger sorts them.

Three kinds matter to whoever watches: the request (`msg: request completed`, with status and error_code), the audit
event (`auth_audit_event`), and `Login`, which a refresh writes too (login_method `token`). Before 2.194 an error made
two lines, of which only the second had a status, and most 4xx were logged as `info`.

Source: supabase/auth, internal/observability/request-logger.go, internal/models/audit_log_entry.go,
internal/metering/record.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

NIL: Final = "00000000-0000-0000-0000-000000000000"

LOG_TYPE: Final[Mapping[str, str]] = {
    "login": "account",
    "logout": "account",
    "user_signedup": "team",
    "user_confirmation_requested": "user",
    "user_repeated_signup": "user",
    "user_recovery_requested": "user",
    "user_invited": "team",
    "user_deleted": "team",
    "factor_in_progress": "factor",
    "factor_unenrolled": "factor",
    "challenge_created": "factor",
    "verification_attempted": "factor",
    "token_refreshed": "token",
    "token_revoked": "token",
}
"""The log_type of each action that is written here."""


class Era(StrEnum):
    """Which release's habits the lines follow."""

    BEFORE_2_194 = "before-2.194"
    CURRENT = "current"


class Journal:
    """Appends whole lines to a file, or only keeps them in memory where there is none."""

    def __init__(self, path: Path | None, *, era: Era = Era.CURRENT) -> None:
        self.path = path
        self.era = era
        self.lines: list[dict[str, Any]] = []
        """Every line written, for tests."""
        self._file = path.open("ab", buffering=0) if path is not None else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def reopen(self) -> None:
        """After a rotation: go on in a new file of the same name."""
        self.close()
        if self.path is not None:
            self._file = self.path.open("ab", buffering=0)

    # Kinds of lines

    def request(self, about: Mapping[str, Any], *, status: int, nanoseconds: int, code: str, now: float) -> None:
        """A request that was answered; `about` is what was known when it came in, and what was learnt on the way."""
        fields = {"component": "api", **about, "status": status, "duration": nanoseconds}
        if code:
            fields["error_code"] = code
        if self.era is Era.BEFORE_2_194 and "error" in fields:
            late = {"status", "duration", "error_code", "grant_type"}
            first = {name: value for name, value in fields.items() if name not in late}
            self._write(first["error"], first, "error" if status >= 500 else "info", now)
            del fields["error"]
            self._write("request completed", fields, "error" if status >= 500 else "info", now)
            return
        level = "error" if status >= 500 else "warning" if status >= 400 else "info"
        self._write("request completed", fields, level, now)

    def audit(
        self, event: Mapping[str, Any], *, id: str, address: str, request_id: str, user_agent: str, now: float
    ) -> None:
        """An audit event, as a line of its own."""
        details = {
            **event,
            "audit_log_id": id,
            "ip_address": address,
            "created_at": datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
            "request_id": request_id,
        }
        if user_agent:
            details["user_agent"] = user_agent
        self._write("audit_event", {"auth_audit_event": details}, "info", now)

    def login(self, user_id: str, method: str, *, now: float, provider: str = "", **extra: Any) -> None:
        """A sign-in (`password`), or what merely looks like one (`token`, a refresh)."""
        fields = {"action": "login", "instance_id": NIL, "login_method": method, "metering": True, "user_id": user_id}
        if provider:
            fields["provider"] = provider
        self._write("Login", {**fields, **extra}, "info", now)

    def hook(self, about: Mapping[str, Any], uri: str, nanoseconds: int, error: str, *, now: float) -> None:
        """A hook that was called for the request `about`. `error`: that it said no, or failed; empty: neither."""
        took = nanoseconds // 1000  # of a hook it is microseconds
        fields = {"component": "api", **about, "action": "run_hook", "hook": uri, "duration": took}
        if error:
            self._write("Hook errored out", {**fields, "success": False, "error": error}, "warning", now)
        else:
            self._write("Hook ran successfully", {**fields, "success": True}, "info", now)

    def _write(self, message: str, fields: Mapping[str, Any], level: str, now: float) -> None:
        time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = {**fields, "level": level, "msg": message, "time": time}
        self.lines.append(line)
        if self._file is not None:
            # One write per line: a reader sees whole lines, and two of ours never mix.
            self._file.write(_go_json(line) + b"\n")


def audit_event(action: str, user_id: str, email: str, traits: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The payload of an audit event, as `auth_event` of the request line has it too."""
    event: dict[str, Any] = {
        "action": action,
        "actor_id": user_id,
        "actor_username": email,
        "actor_via_sso": False,
        "log_type": LOG_TYPE[action],
    }
    if traits:
        event["traits"] = dict(traits)
    return event


def _go_json(line: Mapping[str, Any]) -> bytes:
    """As Go's encoding/json writes a map: keys sorted, no spaces, and <, > and & escaped."""
    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "replace")
