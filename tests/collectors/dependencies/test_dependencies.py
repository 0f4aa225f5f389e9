"""The dependencies collector, with the real pip-audit and a stand-in for the advisory database."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from collectors.dependencies import SPEC, DependenciesSettings
from tocsin.model import Blind, Sample
from tocsin.testing.checkpoint import MemoryCheckpoint
from tocsin.testing.osv import FakeOsv, advisory

from .conftest import ALIAS, AT, HIGH, NEW_LOCK, Scanning, up, values

UNRATED = advisory("PYSEC-2026-1", "right-pad", "2.0", aliases=("CVE-2026-1",))
BY_ALIAS = advisory("PYSEC-2026-2", "right-pad", "2.0", aliases=("GHSA-other",))


async def test_each_vulnerability_is_counted_by_how_bad_it_is(
    folder: Path, osv: FakeOsv, memory: MemoryCheckpoint
) -> None:
    """By its own word or an alias'; what nobody rated is unknown, and what nobody has is 0."""
    osv.records = [HIGH, UNRATED, BY_ALIAS, ALIAS]
    scanning = Scanning(folder, osv.url, memory)
    found = await scanning.scanned()
    await scanning.collector.close()
    assert values(found, "tocsin_dependency_findings", "severity") == {
        "critical": 0, "high": 1, "unknown": 1, "moderate": 1, "low": 0,
    }  # fmt: skip
    assert values(found, "tocsin_dependency_packages", "source") == {"api": 2}
    assert values(found, "tocsin_dependency_scan_timestamp_seconds", "source") == {"api": AT.timestamp()}
    assert up(found) == [1.0]
    named = [item.labels for item in found if isinstance(item, Sample) and item.name == "tocsin_dependency_finding"]
    assert [(one["id"], one["package"], one["version"], one["severity"], one.get("fixed_in")) for one in named] == [
        ("GHSA-high", "left-pad", "1.0", "high", "1.1"),
        ("PYSEC-2026-1", "right-pad", "2.0", "unknown", None),
        ("PYSEC-2026-2", "right-pad", "2.0", "moderate", None),
    ]
    declared = {metric.name: set(metric.labels) for metric in SPEC.metrics}
    assert {item.name for item in found if isinstance(item, Sample)} == set(declared)
    assert [item for item in found if isinstance(item, Sample) and not set(item.labels) <= declared[item.name]] == []


async def test_a_source_that_was_never_scanned_is_blind_and_not_clean(
    folder: Path, osv: FakeOsv, memory: MemoryCheckpoint
) -> None:
    """With the advisories out of reach there is no figure at all, and the reason is said."""
    osv.status = 503
    scanning = Scanning(folder, osv.url, memory)
    found = await scanning.scanned()
    await scanning.collector.close()
    assert values(found, "tocsin_dependency_findings", "severity") == {}
    assert up(found) == [0.0]
    assert [item.why[:14] for item in found if isinstance(item, Blind)] == ["api: pip-audit"]


async def test_a_scan_that_fails_keeps_the_last_findings_with_their_date(
    folder: Path, osv: FakeOsv, memory: MemoryCheckpoint
) -> None:
    """Across a restart too; the failure is told by scan_up, and the next try comes after `retry`."""
    osv.records = [HIGH]
    first = Scanning(folder, osv.url, memory)
    await first.scanned()
    await first.collector.close()
    osv.status = 503
    later = AT + timedelta(hours=7)
    second = Scanning(folder, osv.url, memory)
    found = await second.scanned(later)
    asked = len(osv.asked)
    await second.poll(later + timedelta(minutes=9))
    assert values(found, "tocsin_dependency_findings", "severity")["high"] == 1
    assert values(found, "tocsin_dependency_scan_timestamp_seconds", "source") == {"api": AT.timestamp()}
    assert (up(found), [item for item in found if isinstance(item, Blind)]) == ([0.0], [])
    assert len(osv.asked) == asked
    osv.status, osv.records = 200, []
    mended = await second.scanned(later + timedelta(minutes=10))
    await second.collector.close()
    assert (up(mended), values(mended, "tocsin_dependency_findings", "severity")["high"]) == ([1.0], 0)


@pytest.mark.parametrize("status", [429, 500])
async def test_a_rating_that_can_not_be_asked_for_ends_no_alert(
    tmp_path: Path, osv: FakeOsv, memory: MemoryCheckpoint, status: int
) -> None:
    """The advisories answer and their ratings don't: what was high stays so with its date, and the scan has failed."""
    (tmp_path / "package-lock.json").write_text(json.dumps(NEW_LOCK))
    osv.records = [advisory("GHSA-npm", "left-pad", "1.0.0", severity="HIGH", ecosystem="npm")]
    scanning = Scanning(tmp_path, osv.url, memory, sources=[{"name": "site", "npm": "package-lock.json"}])
    await scanning.scanned()
    osv.records_status = status
    found = await scanning.scanned(AT + timedelta(hours=7))
    await scanning.collector.close()
    counts = values(found, "tocsin_dependency_findings", "severity")
    assert (up(found), counts["high"], counts["unknown"]) == ([0.0], 1, 0)
    assert values(found, "tocsin_dependency_scan_timestamp_seconds", "source") == {"site": AT.timestamp()}


async def test_a_scan_that_is_not_due_is_not_made(folder: Path, osv: FakeOsv, memory: MemoryCheckpoint) -> None:
    """Polls repeat the last one, after a restart as well."""
    first = Scanning(folder, osv.url, memory)
    await first.scanned()
    await first.collector.close()
    asked = len(osv.asked)
    second = Scanning(folder, osv.url, memory)
    found = await second.poll(AT + timedelta(hours=5))
    await second.collector.close()
    assert up(found) == [1.0]
    assert len(osv.asked) == asked


async def test_a_lock_that_leaves_versions_open_is_refused_with_the_mend(
    folder: Path, osv: FakeOsv, memory: MemoryCheckpoint
) -> None:
    """What would be installed is not known, so nothing is said of it."""
    (folder / "requirements.lock").write_text("left-pad>=1.0\n")
    scanning = Scanning(folder, osv.url, memory)
    found = await scanning.scanned()
    await scanning.collector.close()
    assert ["leaves versions open" in item.why for item in found if isinstance(item, Blind)] == [True]
    assert osv.asked == []


async def test_the_worst_findings_have_series_of_their_own_and_all_are_counted(
    folder: Path, osv: FakeOsv, memory: MemoryCheckpoint
) -> None:
    """A package with a hundred advisories does not fill the store."""
    osv.records = [HIGH, UNRATED]
    scanning = Scanning(folder, osv.url, memory, max_findings=1)
    found = await scanning.scanned()
    await scanning.collector.close()
    assert values(found, "tocsin_dependency_finding", "id") == {"GHSA-high": 1}
    assert sum(values(found, "tocsin_dependency_findings", "severity").values()) == 2


async def test_closing_ends_a_scan_that_runs(folder: Path, osv: FakeOsv, memory: MemoryCheckpoint) -> None:
    """The daemon's stop does not wait for a database that is slow, and leaves no process."""
    scanning = Scanning(folder, osv.url, memory)
    await scanning.poll()
    async with asyncio.timeout(30):
        await scanning.collector.close()
    assert memory.blob is None


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"name": "a"}, "exactly one of lock, environment, npm"),
        ({"name": "a", "lock": "x", "npm": "y"}, "exactly one of lock, environment, npm"),
        ({"name": "a", "npm": "x", "sbom": "y", "ask": "npm"}, "gives no SBOM"),
        ({"name": "a", "lock": "x", "ask": "npm"}, "`ask` is for npm"),
    ],
)
def test_a_source_is_one_thing(source: dict[str, str], why: str) -> None:
    """And the error says which."""
    with pytest.raises(ValidationError, match=why):
        DependenciesSettings.model_validate({"kind": "dependencies", "name": "d", "sources": [source]})
