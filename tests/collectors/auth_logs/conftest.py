"""Log lines as GoTrue writes them, a checkpoint on disk, and one poll of the auth_logs collector."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collectors.auth_logs import SPEC
from tocsin.errors import StateError
from tocsin.model import Blind, Sample
from tocsin.ports import CollectorContext
from tocsin.testing.postgres import EmbeddedPostgres


class FileCheckpoint:
    """A Checkpoint in a file. `broken`: the disk is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.broken = False

    async def load(self) -> bytes | None:
        return self._path.read_bytes() if self._path.exists() else None

    async def save(self, blob: bytes) -> None:
        if self.broken:
            raise StateError("no space left on device")
        new = self._path.with_suffix(".new")
        new.write_bytes(blob)
        new.replace(self._path)


class Lines:
    """GoTrue's lines, newest era."""

    def request(self, path: str = "/token", status: int = 200, **fields: Any) -> bytes:
        line = {
            "component": "api",
            "method": "POST",
            "msg": "request completed",
            "path": path,
            "remote_addr": "203.0.113.7",
            "status": status,
            "duration": 84_311_250,
            "time": "2026-08-20T09:12:44Z",
            **fields,
        }
        return json.dumps({name: value for name, value in line.items() if value is not None}).encode()

    def failed(self, ip: str = "203.0.113.7", **fields: Any) -> bytes:
        refused = {"status": 400, "grant_type": "password", "error_code": "invalid_credentials", "remote_addr": ip}
        return self.request(**{**refused, **fields})

    def login(self, method: str = "password") -> bytes:
        return json.dumps({"msg": "Login", "metering": True, "action": "login", "login_method": method}).encode()

    def audit(self, action: str, actor: str = "ana@example.com", request_id: str = "") -> bytes:
        event = {"action": action, "actor_username": actor, "request_id": request_id}
        return json.dumps({"msg": "audit_event", "auth_audit_event": event}).encode()

    def attempt(self, user: str, ip: str = "203.0.113.7", *, valid: bool = False) -> bytes:
        """What the hook password_verification_attempt is called with."""
        metadata = {"name": "password-verification-attempt", "ip_address": ip, "time": "2026-08-20T09:12:44Z"}
        return json.dumps({"metadata": metadata, "user_id": user, "valid": valid}).encode()

    def granted(self, ip: str = "203.0.113.7") -> bytes:
        return self.request(grant_type="password", remote_addr=ip)


@dataclass
class Seen:
    """What one poll yielded."""

    items: list[Sample | Blind]

    @property
    def samples(self) -> list[Sample]:
        return [item for item in self.items if isinstance(item, Sample)]

    @property
    def blind(self) -> list[str]:
        return [item.why for item in self.items if isinstance(item, Blind)]

    def of(self, name: str, **labels: str) -> list[Sample]:
        """The samples of `name` with `labels`, at the poll's own time."""
        newest = max(sample.at for sample in self.samples)
        return [s for s in self.samples if s.name == name and s.labels.contains(labels) and s.at == newest]

    def value(self, name: str, **labels: str) -> float | None:
        """The sum over the samples of `name` with `labels`; None when there is none."""
        found = [sample.value for sample in self.of(name, **labels)]
        return sum(found) if found else None


class Auth:
    """A log, and a collector that reads it and can be restarted."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.log = folder / "auth.jsonl"
        self.checkpoint = FileCheckpoint(folder / "checkpoint")
        self.pokes = 0
        self.now = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
        self._folder = folder
        self._stack = stack
        self.collector: Any = None

    def start(self, **settings: Any) -> None:
        read = SPEC.settings.model_validate(
            {"kind": "auth_logs", "name": "auth", "source": {"file": "auth.jsonl"}, "watch": 0, **settings}
        )

        def poke() -> None:
            self.pokes += 1

        context = CollectorContext(checkpoint=self.checkpoint, poke=poke, folder=self._folder)
        self.collector = SPEC.build(read, context)
        self._stack.push_async_callback(self.collector.close)

    def write(self, *lines: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    async def poll(self, after: float = 10.0) -> Seen:
        self.now += timedelta(seconds=after)
        return Seen([item async for item in self.collector.collect(self.now)])


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the modules that want one; each leaves it as it was: no schema auth, no role."""
    with EmbeddedPostgres.start() as running:
        yield running


@pytest.fixture
async def auth(tmp_path: Path) -> AsyncIterator[Auth]:
    async with AsyncExitStack() as stack:
        yield Auth(tmp_path, stack)


@pytest.fixture
def lines() -> Lines:
    return Lines()
