"""A package-lock.json: which packages, at which versions. Pure; no Node.js needed.

Versions 2 and 3 list what is installed under `packages`, by folder; version 1 nests `dependencies`
(https://docs.npmjs.com/cli/configuring-npm/package-lock-json). The project's own folders and links are not from a
registry and have no advisories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_INSTALLED: Final = "node_modules/"
_NOT_FROM_A_REGISTRY: Final = ("file:", "link:", "workspace:")


@dataclass(frozen=True, kw_only=True, order=True)
class Package:
    """One package that the lock installs."""

    name: str
    version: str
    integrity: str = ""
    """`sha512-…` of its archive, in base64; empty where the lock has none."""
    licence: str = ""


def packages_in(lock: Mapping[str, Any]) -> tuple[Package, ...]:
    """Each package and version once, in order. Raises ValueError for what is no package-lock.json."""
    packages, dependencies = lock.get("packages"), lock.get("dependencies")
    if isinstance(packages, dict):
        found = set(_by_folder(packages))
    elif isinstance(dependencies, dict):
        found = set(_nested(dependencies))
    elif lock.get("lockfileVersion") is not None and packages is None and dependencies is None:
        found = set()
    else:
        raise ValueError("no package-lock.json: neither `packages` nor `dependencies` is in it; run npm install")
    # One entry may leave out the hash or the licence that another of the same release has: it is one component.
    return tuple(sorted({(one.name, one.version): one for one in sorted(found)}.values()))


def _by_folder(packages: Mapping[str, Any]) -> Iterator[Package]:
    for folder, entry in packages.items():
        _, installed, name = folder.rpartition(_INSTALLED)
        if not installed or entry.get("link"):
            continue
        # An alias is installed under a name of its own, and says whose it is.
        yield _package(entry.get("name") or name, entry.get("version"), entry)


def _nested(dependencies: Mapping[str, Any]) -> Iterator[Package]:
    for name, entry in dependencies.items():
        version = str(entry.get("version", ""))
        if not version.startswith(_NOT_FROM_A_REGISTRY):
            alias, _, real = (
                version.removeprefix("npm:").rpartition("@") if version.startswith("npm:") else ("", "", "")
            )
            yield _package(alias or name, real or version, entry)
        yield from _nested(entry.get("dependencies") or {})


def _package(name: str, version: Any, entry: Mapping[str, Any]) -> Package:
    if not version:
        raise ValueError(f"{name} has no version, so that it can't be looked up; run npm install")
    licence = entry.get("license")
    return Package(
        name=name, version=str(version), integrity=str(entry.get("integrity", "")),
        licence=licence if isinstance(licence, str) else "",
    )  # fmt: skip
