"""A bill of materials of a package-lock.json, as CycloneDX 1.5 JSON (https://cyclonedx.org/docs/1.5/json/). Pure.

pip-audit writes its own for Python. Where packages were downloaded from is left out: a registry's address is the
builder's business.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from collectors.dependencies.package_lock import Package
from collectors.dependencies.report import Finding, Severity
from tocsin.model import Seconds

_ALGORITHMS: Final = {
    "sha512": ("SHA-512", 64),
    "sha384": ("SHA-384", 48),
    "sha256": ("SHA-256", 32),
    "sha1": ("SHA-1", 20),
}
"""CycloneDX's names, and how many bytes a digest has: one of another length would make the whole document invalid."""
_ONE: Final = r"\(*[A-Za-z0-9][A-Za-z0-9.+:-]*\)*"
_SPDX: Final = re.compile(rf"{_ONE}(?: (?:AND|OR|WITH) {_ONE})*")
"""As https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/, without its list of names."""


def cyclonedx(packages: Sequence[Package], findings: Sequence[Finding], as_of: Seconds) -> dict[str, Any]:
    """What is installed, and what is known of it."""
    vulnerable: dict[str, list[Finding]] = {}
    for finding in findings:
        vulnerable.setdefault(finding.id, []).append(finding)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(as_of, UTC).isoformat(),
            "tools": {"components": [{"type": "application", "name": "tocsin"}]},
        },
        "components": [_component(package) for package in packages],
        "vulnerabilities": [
            {
                "id": name,
                "ratings": [{"severity": _word(found[0].severity)}],
                "affects": [{"ref": _purl(one.package, one.version)} for one in found],
            }
            for name, found in sorted(vulnerable.items())
        ],
    }


def _component(package: Package) -> dict[str, Any]:
    purl = _purl(package.name, package.version)
    component: dict[str, Any] = {
        "type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl,
    }  # fmt: skip
    if hashes := [hash_ for part in package.integrity.split() if (hash_ := _hash(part)) is not None]:
        component["hashes"] = hashes
    if package.licence:
        component["licenses"] = [_licence(package.licence)]
    return component


def _licence(text: str) -> dict[str, Any]:
    """npm allows words that are no SPDX expression: `SEE LICENSE IN …`, `UNLICENSED`."""
    spdx = _SPDX.fullmatch(text) is not None and text != "UNLICENSED"
    return {"expression": text} if spdx else {"license": {"name": text}}


def _purl(name: str, version: str) -> str:
    """`pkg:npm/%40scope/name@1.0.0` (https://github.com/package-url/purl-spec)."""
    return f"pkg:npm/{quote(name, safe='/')}@{quote(version, safe='')}"


def _hash(integrity: str) -> dict[str, str] | None:
    algorithm, _, digest = integrity.partition("-")
    try:
        content = base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        return None
    name, length = _ALGORITHMS.get(algorithm, ("", -1))
    return {"alg": name, "content": content.hex()} if len(content) == length else None


def _word(severity: Severity) -> str:
    return "medium" if severity is Severity.MODERATE else str(severity)
