"""A process that follows a log with a checkpoint until it is killed. Run by test_auth_kill.py.

python kill_me.py FOLDER [SETTINGS METRIC]    polls without pause; prints a line per poll: METRIC's sum, bytes unread
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from collectors.auth_logs import SPEC
from tocsin.model import Sample
from tocsin.ports import CollectorContext


class FileCheckpoint:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self) -> bytes | None:
        return self._path.read_bytes() if self._path.exists() else None

    async def save(self, blob: bytes) -> None:
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


async def main(folder: Path, more: str = "{}", metric: str = "tocsin_auth_failures_total") -> None:
    settings = SPEC.settings.model_validate(
        {
            "kind": "auth_logs", "name": "auth", "source": {"file": "auth.jsonl"}, "start": "beginning",
            "bytes_per_poll": 65_536, "watch": 0, **json.loads(more),
        }
    )  # fmt: skip
    context = CollectorContext(checkpoint=FileCheckpoint(folder / "checkpoint"), poke=lambda: None, folder=folder)
    collector = SPEC.build(settings, context)
    while True:
        failures, unread = 0.0, -1.0
        at = datetime.now(UTC)
        async for item in collector.collect(at):
            if isinstance(item, Sample) and item.at == at and item.name == metric:
                failures += item.value
            elif isinstance(item, Sample) and item.name == "tocsin_auth_log_unread_bytes":
                unread = item.value
        print(int(failures), int(unread), flush=True)


asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
