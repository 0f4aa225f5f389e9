"""A package-lock.json: looked up in OSV without Node.js, or by the real npm."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from collectors.dependencies.package_lock import Package, packages_in
from tocsin.model import Blind, Sample
from tocsin.testing.checkpoint import MemoryCheckpoint
from tocsin.testing.osv import FakeOsv, advisory

from .conftest import ALIAS, NEW_LOCK, SHA512, Scanning, up, values

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


OLD_LOCK = {
    "lockfileVersion": 1,
    "dependencies": {
        "@a/b": {"version": "1.0.0", "dependencies": {"left-pad": {"version": "1.0.0"}}},
        "pad": {"version": "npm:left-pad@1.1.0"},
        "own": {"version": "file:../own"},
    },
}


def test_a_release_is_one_component() -> None:
    """Also where one of its entries leaves out the licence: a bill of materials lists nothing twice."""
    entry = {"version": "1.0.0", "integrity": SHA512}
    packages = {"node_modules/a": {**entry, "license": "MIT"}, "node_modules/b/node_modules/a": entry}
    assert packages_in({"packages": packages}) == (Package(name="a", version="1.0.0", integrity=SHA512, licence="MIT"),)


@pytest.mark.parametrize("lock", [OLD_LOCK, NEW_LOCK], ids=["version 1", "version 3"])
def test_a_package_lock_of_any_version_is_read(lock: dict[str, Any]) -> None:
    """Nested, scoped and renamed packages; own folders and links are not from a registry."""
    assert [(package.name, package.version) for package in packages_in(lock)] == [
        ("@a/b", "1.0.0"), ("left-pad", "1.0.0"), ("left-pad", "1.1.0"),
    ]  # fmt: skip


async def test_a_package_lock_is_looked_up_in_osv_without_npm(
    tmp_path: Path, osv: FakeOsv, memory: MemoryCheckpoint, monkeypatch: pytest.MonkeyPatch
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
    tmp_path: Path, osv: FakeOsv, memory: MemoryCheckpoint, lock: str | None, status: int, why: str
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


async def test_an_advisory_database_that_is_not_there_is_blind(tmp_path: Path, memory: MemoryCheckpoint) -> None:
    """A closed port is no clean lock."""
    (tmp_path / "package-lock.json").write_text(json.dumps(NEW_LOCK))
    source = {"name": "site", "npm": "package-lock.json"}
    scanning = Scanning(tmp_path, "http://127.0.0.1:1", memory, sources=[source])
    found = await scanning.scanned()
    await scanning.collector.close()
    assert (up(found), ["can't be asked" in item.why for item in found if isinstance(item, Blind)]) == ([0.0], [True])


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed (Node.js brings it)")
async def test_a_package_lock_is_audited_by_npm(
    tmp_path: Path, osv: FakeOsv, memory: MemoryCheckpoint, monkeypatch: pytest.MonkeyPatch
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
    unasked = Scanning(tmp_path, osv.url, MemoryCheckpoint(), sources=[BY_NPM])
    found = await unasked.scanned()
    await unasked.collector.close()
    assert (up(found), values(found, "tocsin_dependency_findings", "severity")) == ([0.0], {})
