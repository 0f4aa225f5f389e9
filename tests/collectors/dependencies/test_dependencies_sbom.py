"""Bills of materials: CycloneDX as its own schema has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from collectors.dependencies.package_lock import Package
from collectors.dependencies.report import Finding, Severity
from collectors.dependencies.sbom import cyclonedx
from tocsin.model import Blind
from tocsin.testing.checkpoint import MemoryCheckpoint
from tocsin.testing.osv import FakeOsv

from .conftest import AT, HIGH, NEW_LOCK, SHA512, Scanning, values


def invalid(bom: dict[str, Any]) -> list[str]:
    """What CycloneDX's own schema of the document's version says against it."""
    import cyclonedx.schema

    folder = Path(cyclonedx.schema.__file__).parent / "_res"

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text())
        return found

    others = ("spdx", "jsf-0.82", "cryptography-defs")
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", read(name)) for name in others]
    )
    validator = jsonschema_rs.validator_for(read(f"bom-{bom['specVersion']}"), registry=registry)
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(bom)]


def test_a_package_locks_bill_of_materials_is_valid() -> None:
    """Whatever the severity, the licence's words and the integrity; and the check finds what is not."""
    words = ("MIT", "(MIT OR Apache-2.0)", "SEE LICENSE IN licence.md", "UNLICENSED", "")
    packages = [
        Package(name="@a/b", version=f"1.{number}", integrity=f"{SHA512} md5-AAEC", licence=licence)
        for number, licence in enumerate(words)
    ]
    findings = [
        Finding(package="@a/b", version="1.0", id=f"GHSA-{severity}", severity=severity) for severity in Severity
    ]
    bom = cyclonedx(packages, findings, AT.timestamp())
    assert invalid(bom) == []
    assert [list(component.get("licenses", [{}])[0]) for component in bom["components"]] == [
        ["expression"], ["expression"], ["license"], ["license"], [],
    ]  # fmt: skip
    bom["components"][0]["hashes"][0]["content"] = "00"
    assert len(invalid(bom)) == 1


@pytest.mark.parametrize("source", [{"lock": "requirements.lock"}, {"npm": "package-lock.json"}])
async def test_an_sbom_that_can_not_be_written_is_told(
    folder: Path, osv: FakeOsv, memory: MemoryCheckpoint, source: dict[str, str]
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


async def test_an_environment_is_scanned_and_its_sbom_written(
    tmp_path: Path, osv: FakeOsv, memory: MemoryCheckpoint
) -> None:
    """What is installed in it, by its metadata; what is installed editable, as one's own code mostly is, included."""
    for name, url in (("left_pad", ""), ("own", '{"url": "file:///srv/own", "dir_info": {"editable": true}}')):
        packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / f"{name}-1.0.dist-info"
        packages.mkdir(parents=True)
        (packages / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        if url:
            (packages / "direct_url.json").write_text(url)
    osv.records = [HIGH]
    source = {"name": "worker", "environment": ".venv", "sbom": "sbom.json"}
    scanning = Scanning(tmp_path, osv.url, memory, sources=[source])
    found = await scanning.scanned()
    await scanning.collector.close()
    assert [item for item in found if isinstance(item, Blind)] == []
    assert values(found, "tocsin_dependency_findings", "severity")["high"] == 1
    assert values(found, "tocsin_dependency_packages", "source") == {"worker": 2}
    bom = json.loads((tmp_path / "sbom.json").read_text())
    assert (invalid(bom), sorted(one["name"] for one in bom["components"])) == ([], ["left_pad", "own"])
