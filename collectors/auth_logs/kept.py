"""Events in clear, for a while: what an alert's `ip-1f2e3d4c5b` was, and whom it concerned.

Series name nobody. With `events` the lines that refused somebody, signed somebody in or were audited are kept as they
were logged, in one file an hour that only the daemon's user may read, and deleted after `keep`, whether or not new ones
come. `tocsin auth events` shows them, `tocsin auth erase` takes one person's out. Refreshes of tokens are not kept.

A line may stand twice after a crash: it is kept before it is counted. Everything here but `select` blocks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from collectors.auth_logs.naming import hashed, network_of
from tocsin.model import Seconds

_HOUR: Final = timedelta(hours=1)
_NAME: Final = "%Y-%m-%dT%H.jsonl"
_TELLS: Final = (
    b'"error_code"',
    b'"Login"',
    b"audit_event",
    b"Invalid login",
    b"password-verification-attempt",
    b"session moved",
)
_TOO_MANY: Final = (b'"token_refreshed"', b'"token_revoked"', b'"login_method":"token"')


class Kept:
    """The events in `folder`. `keep` of 0: none, and those that are there go."""

    def __init__(self, folder: Path, keep: Seconds) -> None:
        self._folder = folder
        self._keep = timedelta(seconds=keep)
        self._forgot: datetime | None = None

    def add(self, lines: Iterable[bytes], at: datetime) -> None:
        """Keep those of `lines` that tell of somebody. Raises OSError."""
        told = [line for line in lines if is_kept(line)]
        if told:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = locked(self._folder / at.astimezone(UTC).strftime(_NAME), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with os.fdopen(fd, "ab") as file:
                file.write(b"".join(line + b"\n" for line in told))

    def forget(self, at: datetime) -> None:
        """Delete what is too old, four times an hour at most. Raises OSError, and is then tried at the next call."""
        if self._forgot is not None and timedelta(0) <= at - self._forgot < _HOUR / 4:
            return
        before = at - self._keep - _HOUR
        for path, begin in files(self._folder):
            if begin < before or not self._keep:
                path.unlink(missing_ok=True)
        self._forgot = at

    def size(self) -> int:
        """Bytes."""
        return sum(path.stat().st_size for path, _ in files(self._folder))


def locked(path: Path, flags: int) -> int:
    """A descriptor of the file that `path` names, for us alone until it is closed: the daemon adds to a file, and
    `erase` puts another in its place. Raises OSError."""
    while True:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def is_kept(line: bytes) -> bool:
    """True for a line that refused somebody, signed somebody in or was audited, and is no refresh."""
    return any(word in line for word in _TELLS) and not any(word in line for word in _TOO_MANY)


def files(folder: Path) -> Iterator[tuple[Path, datetime]]:
    """(file, when its hour began), the oldest first."""
    for path in sorted(folder.glob("*.jsonl")):
        with suppress(ValueError):
            yield path, datetime.strptime(path.name, _NAME).replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event, as it is shown."""

    at: str
    what: str
    address: str
    ip: str
    """The address as series name it; empty where there is none."""
    who: str
    """E-mail or id; empty: the line does not say."""
    names: tuple[str, ...]
    """What else series call somebody of it: user-…, factor-…."""
    line: dict[str, Any]


def select(folder: Path, salt: bytes, *, since: datetime, subject: str = "") -> Iterator[Told]:
    """Events since a time, each once. `subject`: of this address, hashed address, e-mail or id only."""
    seen: set[bytes] = set()
    for path, begin in files(folder):
        if begin + _HOUR < since:
            continue
        for line in path.read_bytes().splitlines():
            if line in seen:
                continue
            seen.add(line)
            told = told_by(line, salt)
            if (
                told is not None
                and (not subject or subject in (told.address, told.ip, told.who, *told.names))
                and _is_since(told, since)
            ):
                yield told


def _is_since(told: Told, since: datetime) -> bool:
    try:
        at = datetime.fromisoformat(told.at)
    except ValueError:
        return True
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) >= since


def told_by(line: bytes, salt: bytes) -> Told | None:
    """What a kept line tells; None for what is no event."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    audit = fields.get("auth_audit_event") or fields.get("auth_event")
    audit = audit if isinstance(audit, dict) else {}
    hook = fields.get("metadata")
    hook = hook if isinstance(hook, dict) else {}
    address = str(fields.get("remote_addr") or audit.get("ip_address") or hook.get("ip_address") or "")
    network = network_of(address)
    path, user = str(fields.get("path", "")), str(fields.get("user_id") or audit.get("actor_id") or "")
    what = (
        audit.get("action") or fields.get("error_code") or fields.get("action") or fields.get("msg") or hook.get("name")
    )
    factor = path.removeprefix("/auth/v1").removeprefix("/factors/").partition("/")[0] if "/factors/" in path else ""
    named = (("user", user), ("factor", factor))
    return Told(
        at=str(fields.get("time") or audit.get("created_at") or hook.get("time") or ""),
        what=f"{what or ''} {path}".strip(),
        address=address,
        ip=hashed(salt, "ip", network) if network else "",
        who=str(audit.get("actor_username") or user),
        names=tuple(hashed(salt, kind, value) for kind, value in named if value),
        line=fields,
    )
