"""One scan of one source, by the ecosystem's own auditor as a process of its own.

pip-audit (https://github.com/pypa/pip-audit) and `npm audit` know how to read locks and environments, and ask the
advisory database; a fault in either, or its memory, is not the daemon's. What pip-audit leaves out of its report, how
bad a finding is, is asked of OSV by id. A package-lock.json says all by itself: it is read here, and OSV asked of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors.dependencies.osv import Osv
from collectors.dependencies.package_lock import packages_in
from collectors.dependencies.report import Finding, Report, lowest_above, severity_of
from collectors.dependencies.sbom import cyclonedx
from collectors.dependencies.settings import Source
from tocsin.errors import CollectError
from tocsin.model import Seconds

_NPM_SAID_NOTHING = "npm audit gave no report"


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """Scans sources. `folder` is what relative paths are relative to."""

    osv_url: str
    deadline: Seconds
    folder: Path

    async def scan(self, source: Source, now: Seconds) -> Report:
        """What is known at `now` of every package of `source`. Raises CollectError when one could not be looked up."""
        try:
            async with asyncio.timeout(self.deadline):
                if source.npm is not None and source.ask == "npm":
                    return await self._npm_audit(self._there(source.npm), now)
                if source.npm is not None:
                    return await self._npm(source, self._there(source.npm), now)
                return await self._python(source, now)
        except TimeoutError:
            raise CollectError(
                f"{source.name}: the scan took longer than {self.deadline:g}s; raise scan_deadline, or see whether "
                f"{self.osv_url} can be reached from here"
            ) from None

    async def _python(self, source: Source, now: Seconds) -> Report:
        wanted = arguments_for(source, self.folder)
        told = await self._pip_audit(source, *wanted, "--format=json", "--desc=off", "--aliases=on")
        if source.sbom is not None:
            # Beside its place, and moved there when it is whole.
            place = self.folder / source.sbom
            made = place.with_name(f"{place.name}.new")
            await self._pip_audit(source, *wanted, "--format=cyclonedx-json", f"--output={made}")
            try:
                made.replace(place)
            except OSError as error:
                raise CollectError(f"{source.name}: the sbom {place} can't be written: {error.strerror}") from None
        packages = _object(told, source.name).get("dependencies", [])
        skipped = [entry["name"] for entry in packages if "skip_reason" in entry]
        if skipped:
            raise CollectError(f"{source.name}: could not be looked up: {', '.join(skipped[:5])}")
        findings = [
            Finding(
                package=entry["name"],
                version=entry["version"],
                id=found["id"],
                aliases=tuple(found.get("aliases", ())),
                fixed_in=lowest_above(found.get("fix_versions") or (), entry["version"]),
            )
            for entry in packages
            for found in entry["vulns"]
        ]
        async with Osv(self.osv_url) as osv:
            rated = [
                finding.model_copy(update={"severity": await osv.severity((finding.id, *finding.aliases))})
                for finding in findings
            ]
        return Report(as_of=now, packages=len(packages), findings=tuple(rated))

    async def _pip_audit(self, source: Source, *arguments: str) -> bytes:
        code, out, said = await _run(
            [
                sys.executable, "-m", "pip_audit", "--strict", "--progress-spinner=off",
                "--vulnerability-service=osv", f"--osv-url={self.osv_url.rstrip('/')}/v1/query", *arguments,
            ]
        )  # fmt: skip
        if "No module named pip_audit" in said:
            raise CollectError("pip-audit is not installed; install it with: pip install 'tocsin[scan]'")
        # 1 is "found something" and "could not look" alike: only the first comes with a report.
        if code not in (0, 1) or (code == 1 and not out and "--output" not in " ".join(arguments)):
            raise CollectError(f"{source.name}: pip-audit: {_last_line(said)}")
        return out

    async def _npm(self, source: Source, lock: Path, now: Seconds) -> Report:
        try:
            packages = packages_in(_object(await asyncio.to_thread(lock.read_bytes), source.name))
        except (OSError, ValueError) as error:
            raise CollectError(f"{lock}: {error}") from None
        async with Osv(self.osv_url) as osv:
            findings = await osv.npm(packages)
        if source.sbom is not None:
            text = json.dumps(cyclonedx(packages, findings, now), indent=1)
            try:
                await asyncio.to_thread((self.folder / source.sbom).write_text, text, encoding="utf-8")
            except OSError as error:
                raise CollectError(
                    f"{source.name}: the sbom {source.sbom} can't be written: {error.strerror}"
                ) from None
        return Report(as_of=now, packages=len(packages), findings=tuple(findings))

    async def _npm_audit(self, lock: Path, now: Seconds) -> Report:
        npm = shutil.which("npm")
        if npm is None:
            raise CollectError("npm is not installed; install Node.js, or scan this lock where it is built")
        code, out, said = await _run([npm, "audit", "--json", "--package-lock-only"], cwd=lock.parent)
        found = _object(out, str(lock)) if out.strip() else {}
        # An npm that could not ask exits with 1 as well, and says `error` or `message` instead of a report.
        if code not in (0, 1) or "vulnerabilities" not in found:
            error = found.get("error")
            summary = error.get("summary") if isinstance(error, dict) else found.get("message")
            raise CollectError(f"{lock}: npm audit: {summary or _last_line(said) or _NPM_SAID_NOTHING}")
        packages = found.get("metadata", {}).get("dependencies", {}).get("total", 0)
        return Report(as_of=now, packages=packages, findings=tuple(_npm_findings(found["vulnerabilities"])))

    def _there(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise CollectError(f"{path} is not there; name the lock file, relative to config.yaml")
        return path


def arguments_for(source: Source, folder: Path) -> list[str]:
    """How pip-audit is told what to look at. Raises CollectError."""
    if source.environment is not None:
        home = folder / source.environment
        packages = sorted(home.glob("lib*/python*/site-packages")) or sorted(home.glob("Lib/site-packages"))
        if not packages:
            raise CollectError(f"{home} is no virtual environment; name its folder, the one with bin/ and lib/")
        # What is installed editable is looked up like the rest: left out it would, by --strict, fail every scan.
        return [f"--path={path}" for path in packages]
    lock = folder / (source.lock or "")
    try:
        text = lock.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CollectError(f"{lock} can't be read: {error}") from None
    if "--hash=" in text:
        return ["--disable-pip", f"--requirement={lock}"]
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    if all("==" in line for line in lines if line and not line.startswith("-")):
        return ["--disable-pip", "--no-deps", f"--requirement={lock}"]
    raise CollectError(
        f"{lock} leaves versions open, so that what is installed is not known; write a lock "
        "(uv pip compile --generate-hashes), or scan the environment"
    )


def _npm_findings(packages: dict[str, Any]) -> list[Finding]:
    """npm lists packages, and under `via` their advisories (objects) or the packages they inherit them from (names)."""
    return [
        Finding(
            package=name,
            version=str(entry.get("range", "")),
            id=str(via.get("url", "")).rsplit("/", 1)[-1] or str(via.get("source", "")),
            fixed_in=str(fix.get("version", "")) if isinstance(fix := entry.get("fixAvailable"), dict) else "",
            severity=severity_of(via.get("severity")),
        )
        for name, entry in packages.items()
        for via in entry.get("via", [])
        if isinstance(via, dict)
    ]


def _object(out: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(out)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CollectError(f"{name}: no JSON object: {out[:80]!r}")
    return found


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


async def _run(command: Sequence[str], cwd: Path | None = None) -> tuple[int, bytes, str]:
    """(exit code, stdout, stderr) of a process that ends with us: cancelled, its whole group is killed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return process.returncode or 0, out, err.decode(errors="replace")
