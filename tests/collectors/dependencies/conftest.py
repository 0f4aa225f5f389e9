"""A collector over a folder, a stand-in for the advisory database, and what a poll yields."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.dependencies import SPEC, DependenciesSettings
from collectors.dependencies.collector import DependenciesCollector
from tocsin.model import Blind, Sample
from tocsin.ports import CollectorContext
from tocsin.testing.checkpoint import MemoryCheckpoint
from tocsin.testing.osv import FakeOsv, advisory

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
HIGH = advisory("GHSA-high", "left-pad", "1.0", severity="HIGH", fixed="1.1")
ALIAS = advisory("GHSA-other", "elsewhere", severity="MODERATE")
SHA512 = "sha512-" + b64encode(bytes(64)).decode()
NEW_LOCK = {
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "site", "version": "1.0.0"},
        "web": {"name": "web", "version": "0.1.0"},
        "node_modules/web": {"resolved": "web", "link": True},
        "node_modules/@a/b": {"version": "1.0.0", "license": "MIT", "integrity": SHA512},
        "node_modules/@a/b/node_modules/left-pad": {"version": "1.0.0"},
        "node_modules/pad": {"name": "left-pad", "version": "1.1.0"},
    },
}


class Scanning:
    """A collector, and a way to wait until the scan that a poll began has ended."""

    def __init__(self, folder: Path, osv: str, memory: MemoryCheckpoint, **settings: Any) -> None:
        self._poked = asyncio.Event()
        self.collector: DependenciesCollector = SPEC.build(
            DependenciesSettings.model_validate(
                {
                    "kind": "dependencies",
                    "name": "dependencies",
                    "sources": [{"name": "api", "lock": "requirements.lock"}],
                    "osv_url": osv,
                    **settings,
                }
            ),
            CollectorContext(checkpoint=memory, poke=self._poked.set, folder=folder),
        )  # type: ignore[assignment]

    async def poll(self, at: datetime = AT) -> list[Sample | Blind]:
        return [item async for item in self.collector.collect(at)]

    async def scanned(self, at: datetime = AT) -> list[Sample | Blind]:
        """A poll that begins a scan, and the poll that the scan's end asks for."""
        await self.poll(at)
        async with asyncio.timeout(60):
            await self._poked.wait()
        self._poked.clear()
        return await self.poll(at)


@pytest.fixture
async def osv() -> AsyncIterator[FakeOsv]:
    async with FakeOsv() as fake:
        yield fake


@pytest.fixture
def memory() -> MemoryCheckpoint:
    return MemoryCheckpoint()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text("left-pad==1.0\nright-pad==2.0\n")
    return tmp_path


def values(items: list[Sample | Blind], name: str, label: str) -> dict[str, float]:
    return {item.labels[label]: item.value for item in items if isinstance(item, Sample) and item.name == name}


def up(items: list[Sample | Blind]) -> list[float]:
    return [item.value for item in items if isinstance(item, Sample) and item.name == "tocsin_dependency_scan_up"]
