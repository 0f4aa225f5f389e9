"""The dependencies collector, with the real pip-audit and a stand-in for the advisory database."""

from __future__ import annotations

import asyncio
import json
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import ValidationError

from collectors.dependencies import SPEC, DependenciesSettings
from collectors.dependencies.collector import DependenciesCollector
from collectors.dependencies.cvss import base_score
from collectors.dependencies.package_lock import Package, packages_in
from collectors.dependencies.report import Severity, rated
from collectors.dependencies.sbom import cyclonedx
from tocsin.model import Blind, Sample
from tocsin.ports import CollectorContext
from tocsin.testing.osv import FakeOsv, advisory

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
HIGH = advisory("GHSA-high", "left-pad", "1.0", severity="HIGH", fixed="1.1")
UNRATED = advisory("PYSEC-2026-1", "right-pad", "2.0", aliases=("CVE-2026-1",))
BY_ALIAS = advisory("PYSEC-2026-2", "right-pad", "2.0", aliases=("GHSA-other",))
ALIAS = advisory("GHSA-other", "elsewhere", severity="MODERATE")
SHA512 = "sha512-" + b64encode(bytes(64)).decode()
PACKAGE_LOCK = {
    "name": "site",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "site", "version": "1.0.0", "dependencies": {"left-pad": "1.0.0"}},
        "node_modules/left-pad": {"version": "1.0.0"},
    },
}

BY_NPM = {"name": "site", "npm": "package-lock.json", "ask": "npm"}


class Memory:
    """A checkpoint in memory."""

    blob: bytes | None = None

    async def load(self) -> bytes | None:
        return self.blob

    async def save(self, blob: bytes) -> None:
        self.blob = blob


class Scanning:
    """A collector, and a way to wait until the scan that a poll began has ended."""

    def __init__(self, folder: Path, osv: str, memory: Memory, **settings: Any) -> None:
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
        await asyncio.wait_for(self._poked.wait(), 60)
        self._poked.clear()
        return await self.poll(at)


@pytest.fixture
async def osv() -> AsyncIterator[FakeOsv]:
    async with FakeOsv() as fake:
        yield fake


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text("left-pad==1.0\nright-pad==2.0\n")
    return tmp_path


def values(items: list[Sample | Blind], name: str, label: str) -> dict[str, float]:
    return {item.labels[label]: item.value for item in items if isinstance(item, Sample) and item.name == name}


def up(items: list[Sample | Blind]) -> list[float]:
    return [item.value for item in items if isinstance(item, Sample) and item.name == "tocsin_dependency_scan_up"]


async def test_each_vulnerability_is_counted_by_how_bad_it_is(folder: Path, osv: FakeOsv, memory: Memory) -> None:
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
    folder: Path, osv: FakeOsv, memory: Memory
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
    folder: Path, osv: FakeOsv, memory: Memory
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
    tmp_path: Path, osv: FakeOsv, memory: Memory, status: int
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


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:P", 7.8),
        ("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", 2.4),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("CVSS:3.1/AV:N", None),
        ("CVSS:3.1/AV:Z/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
    ],
)
def test_a_vector_has_the_score_that_its_authors_calculator_gives(vector: str, score: float | None) -> None:
    """Other versions, and vectors that are not whole, have none here."""
    assert base_score(vector) == score


@pytest.mark.parametrize(
    ("record", "severity"),
    [
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}, "critical"),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H"}]}, "high"),
        (
            {"severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}], "database_specific": {"severity": "LOW"}},
            "low",
        ),
        ({"severity": "high", "database_specific": None}, "unknown"),
    ],
)
def test_an_advisory_without_a_word_is_rated_by_its_vector(record: dict[str, Any], severity: str) -> None:
    """As PYSEC's are: a 9.8 is a P1, not a question."""
    assert rated(record) is Severity(severity)


@pytest.mark.parametrize("source", [{"lock": "requirements.lock"}, {"npm": "package-lock.json"}])
async def test_an_sbom_that_can_not_be_written_is_told(
    folder: Path, osv: FakeOsv, memory: Memory, source: dict[str, str]
) -> None:
    """Nobody finds out a year later that there is none."""
    (folder / "package-lock.json").write_text(json.dumps(NEW_LOCK))
    scanning = Scanning(folder, osv.url, memory, sources=[{"name": "api", "sbom": "gone/bom.json", **source}])
    found = await scanning.scanned()
    await scanning.collector.close()
    assert ["can't be written" in item.why for item in found if isinstance(item, Blind)] == [True]


@pytest.mark.parametrize("integrity", ["sha512-AAEC", "md5-AAEC", "sha512-%%", "no"])
def test_a_digest_that_is_none_is_left_out_of_the_sbom(integrity: str) -> None:
    """One of another length would make the whole document invalid by CycloneDX's schema."""
    package = Package(name="a", version="1", integrity=f"{integrity} {SHA512}")
    bom = cyclonedx([package], [], AT.timestamp())
    assert bom["components"][0]["hashes"] == [{"alg": "SHA-512", "content": "00" * 64}]


def test_a_release_is_one_component() -> None:
    """Also where one of its entries leaves out the licence: a bill of materials lists nothing twice."""
    entry = {"version": "1.0.0", "integrity": SHA512}
    packages = {"node_modules/a": {**entry, "license": "MIT"}, "node_modules/b/node_modules/a": entry}
    assert packages_in({"packages": packages}) == (Package(name="a", version="1.0.0", integrity=SHA512, licence="MIT"),)


async def test_a_scan_that_is_not_due_is_not_made(folder: Path, osv: FakeOsv, memory: Memory) -> None:
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
    folder: Path, osv: FakeOsv, memory: Memory
) -> None:
    """What would be installed is not known, so nothing is said of it."""
    (folder / "requirements.lock").write_text("left-pad>=1.0\n")
    scanning = Scanning(folder, osv.url, memory)
    found = await scanning.scanned()
    await scanning.collector.close()
    assert ["leaves versions open" in item.why for item in found if isinstance(item, Blind)] == [True]
    assert osv.asked == []


async def test_an_environment_is_scanned_and_its_sbom_written(tmp_path: Path, osv: FakeOsv, memory: Memory) -> None:
    """What is installed in it, by its metadata."""
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "left_pad-1.0.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text("Metadata-Version: 2.1\nName: left-pad\nVersion: 1.0\n")
    osv.records = [HIGH]
    source = {"name": "worker", "environment": ".venv", "sbom": "sbom.json"}
    scanning = Scanning(tmp_path, osv.url, memory, sources=[source])
    found = await scanning.scanned()
    await scanning.collector.close()
    assert values(found, "tocsin_dependency_findings", "severity")["high"] == 1
    assert '"CycloneDX"' in (tmp_path / "sbom.json").read_text()


async def test_the_worst_findings_have_series_of_their_own_and_all_are_counted(
    folder: Path, osv: FakeOsv, memory: Memory
) -> None:
    """A package with a hundred advisories does not fill the store."""
    osv.records = [HIGH, UNRATED]
    scanning = Scanning(folder, osv.url, memory, max_findings=1)
    found = await scanning.scanned()
    await scanning.collector.close()
    assert values(found, "tocsin_dependency_finding", "id") == {"GHSA-high": 1}
    assert sum(values(found, "tocsin_dependency_findings", "severity").values()) == 2


async def test_closing_ends_a_scan_that_runs(folder: Path, osv: FakeOsv, memory: Memory) -> None:
    """The daemon's stop does not wait for a database that is slow, and leaves no process."""
    scanning = Scanning(folder, osv.url, memory)
    await scanning.poll()
    await asyncio.wait_for(scanning.collector.close(), 5)
    assert memory.blob is None


OLD_LOCK = {
    "lockfileVersion": 1,
    "dependencies": {
        "@a/b": {"version": "1.0.0", "dependencies": {"left-pad": {"version": "1.0.0"}}},
        "pad": {"version": "npm:left-pad@1.1.0"},
        "own": {"version": "file:../own"},
    },
}
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


@pytest.mark.parametrize("lock", [OLD_LOCK, NEW_LOCK], ids=["version 1", "version 3"])
def test_a_package_lock_of_any_version_is_read(lock: dict[str, Any]) -> None:
    """Nested, scoped and renamed packages; own folders and links are not from a registry."""
    assert [(package.name, package.version) for package in packages_in(lock)] == [
        ("@a/b", "1.0.0"), ("left-pad", "1.0.0"), ("left-pad", "1.1.0"),
    ]  # fmt: skip


async def test_a_package_lock_is_looked_up_in_osv_without_npm(
    tmp_path: Path, osv: FakeOsv, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pages of the answer; rated by its own word or an alias'; what is itself an attack is critical."""
    monkeypatch.setenv("PATH", "")
    (tmp_path / "package-lock.json").write_text(json.dumps(NEW_LOCK))
    npm = {"ecosystem": "npm"}
    withdrawn = advisory("GHSA-gone", "left-pad", "1.0.0", severity="HIGH", **npm) | {"withdrawn": "2026-01-01"}
    osv.page = 2
    osv.records = [
        advisory("GHSA-npm", "left-pad", "1.0.0", severity="HIGH", fixed="1.0.10", **npm),
        advisory("CVE-2026-3", "left-pad", "1.0.0", "1.1.0", aliases=("GHSA-other",), fixed="1.1.1", **npm),
        ALIAS,
        advisory("MAL-2026-1", "@a/b", "1.0.0", **npm),
        advisory("GHSA-python", "left-pad", "1.0.0", severity="HIGH"),
        withdrawn,
    ]
    source = {"name": "site", "npm": "package-lock.json", "sbom": "bom.json"}
    scanning = Scanning(tmp_path, osv.url, memory, sources=[source])
    found = await scanning.scanned()
    await scanning.collector.close()
    named = [item.labels for item in found if isinstance(item, Sample) and item.name == "tocsin_dependency_finding"]
    assert [(one["id"], one["package"], one["version"], one["severity"], one.get("fixed_in")) for one in named] == [
        ("MAL-2026-1", "@a/b", "1.0.0", "critical", None),
        ("GHSA-npm", "left-pad", "1.0.0", "high", "1.0.10"),
        ("CVE-2026-3", "left-pad", "1.0.0", "moderate", "1.1.1"),
        ("CVE-2026-3", "left-pad", "1.1.0", "moderate", "1.1.1"),
    ]
    assert (up(found), values(found, "tocsin_dependency_packages", "source")) == ([1.0], {"site": 3})
    bom = json.loads((tmp_path / "bom.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5")
    assert bom["components"][0] == {
        "type": "library", "bom-ref": "pkg:npm/%40a/b@1.0.0", "name": "@a/b", "version": "1.0.0",
        "purl": "pkg:npm/%40a/b@1.0.0", "hashes": [{"alg": "SHA-512", "content": "00" * 64}],
        "licenses": [{"expression": "MIT"}],
    }  # fmt: skip
    assert [(one["id"], one["ratings"][0]["severity"]) for one in bom["vulnerabilities"]] == [
        ("CVE-2026-3", "medium"), ("GHSA-npm", "high"), ("MAL-2026-1", "critical"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lock", "status", "why"),
    [
        (json.dumps(NEW_LOCK), 503, "answered 503"),
        ('{"a": 1}', 200, "no package-lock.json"),
        ("not json", 200, "no JSON object"),
        (None, 200, "is not there"),
        ('{"packages": {"node_modules/a": {}}}', 200, "has no version"),
    ],
)
async def test_a_package_lock_that_could_not_be_looked_up_is_blind_and_not_clean(
    tmp_path: Path, osv: FakeOsv, memory: Memory, lock: str | None, status: int, why: str
) -> None:
    """With the reason, and no figure."""
    osv.status = status
    if lock is not None:
        (tmp_path / "package-lock.json").write_text(lock)
    scanning = Scanning(tmp_path, osv.url, memory, sources=[{"name": "site", "npm": "package-lock.json"}])
    found = await scanning.scanned()
    await scanning.collector.close()
    assert (up(found), values(found, "tocsin_dependency_findings", "severity")) == ([0.0], {})
    assert [why in item.why for item in found if isinstance(item, Blind)] == [True]


async def test_an_advisory_database_that_is_not_there_is_blind(tmp_path: Path, memory: Memory) -> None:
    """A closed port is no clean lock."""
    (tmp_path / "package-lock.json").write_text(json.dumps(NEW_LOCK))
    source = {"name": "site", "npm": "package-lock.json"}
    scanning = Scanning(tmp_path, "http://127.0.0.1:1", memory, sources=[source])
    found = await scanning.scanned()
    await scanning.collector.close()
    assert (up(found), ["can't be asked" in item.why for item in found if isinstance(item, Blind)]) == ([0.0], [True])


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed (Node.js brings it)")
async def test_a_package_lock_is_audited_by_npm(
    tmp_path: Path, osv: FakeOsv, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real npm, asking a registry on loopback; an empty registry's answer is unknown, not clean."""
    (tmp_path / "package.json").write_text(
        '{"name": "site", "version": "1.0.0", "dependencies": {"left-pad": "1.0.0"}}'
    )
    (tmp_path / "package-lock.json").write_text(json.dumps(PACKAGE_LOCK))
    advisories = {"left-pad": [{
        "id": 1, "url": "https://github.com/advisories/GHSA-npm", "title": "it can be misused", "severity": "critical",
        "vulnerable_versions": "<1.1.0",
    }]}  # fmt: skip

    async def bulk(_: web.Request) -> web.Response:
        return web.json_response(advisories)

    async def packument(_: web.Request) -> web.Response:
        versions = {number: {"name": "left-pad", "version": number} for number in ("1.0.0", "1.1.0")}
        return web.json_response({"name": "left-pad", "dist-tags": {"latest": "1.1.0"}, "versions": versions})

    app = web.Application()
    app.router.add_post("/-/npm/v1/security/advisories/bulk", bulk)
    app.router.add_get("/left-pad", packument)
    async with TestServer(app) as registry:
        monkeypatch.setenv("npm_config_registry", str(registry.make_url("/")))
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
        monkeypatch.setenv("npm_config_update_notifier", "false")
        scanning = Scanning(tmp_path, osv.url, memory, sources=[BY_NPM])
        found = await scanning.scanned()
        await scanning.collector.close()
    assert values(found, "tocsin_dependency_finding", "id") == {"GHSA-npm": 1}
    assert values(found, "tocsin_dependency_findings", "severity")["critical"] == 1
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    unasked = Scanning(tmp_path, osv.url, Memory(), sources=[BY_NPM])
    found = await unasked.scanned()
    await unasked.collector.close()
    assert (up(found), values(found, "tocsin_dependency_findings", "severity")) == ([0.0], {})


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
