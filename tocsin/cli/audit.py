"""What `tocsin doctor dependencies` prints: one scan of each lock, now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli import FINDING
from tocsin.cli.output import clock, print_json

if TYPE_CHECKING:
    from collectors.dependencies.report import Report


def audited(locks: tuple[Path, ...], osv_url: str, *, unknown_passes: bool, as_json: bool) -> int:
    """Scan, print, and give the exit code."""
    from collectors.dependencies.report import Severity

    found = asyncio.run(_scanned(locks, osv_url))
    if as_json:
        print_json([_object(lock, outcome) for lock, outcome in found])
    else:
        for lock, outcome in found:
            _show(lock, outcome)
    harmless = {Severity.MODERATE, Severity.LOW}
    reports = [outcome for _, outcome in found if not isinstance(outcome, Exception)]
    bad = any(finding.severity not in harmless for report in reports for finding in report.findings)
    unknown = len(reports) < len(found)
    return FINDING if bad or (unknown and not unknown_passes) else 0


async def _scanned(locks: tuple[Path, ...], osv_url: str) -> list[tuple[Path, Report | Exception]]:
    from collectors.dependencies.scan import Scanner
    from collectors.dependencies.settings import Source
    from tocsin.cli.store import now
    from tocsin.errors import CollectError

    scanner = Scanner(osv_url=osv_url, deadline=300, folder=Path.cwd())
    found: list[tuple[Path, Report | Exception]] = []
    for lock in locks:
        try:
            kind = "npm" if lock.suffix == ".json" else "lock"
            source = Source.model_validate({"name": "lock", kind: str(lock)})
            outcome: Report | Exception = await scanner.scan(source, now().timestamp())
        except CollectError as error:
            outcome = error
        found.append((lock, outcome))
    return found


def _object(lock: Path, outcome: Report | Exception) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        return {"lock": str(lock), "unknown": str(outcome)}
    return {"lock": str(lock), **outcome.model_dump(mode="json")}


def _show(lock: Path, outcome: Report | Exception) -> None:
    if isinstance(outcome, Exception):
        click.echo(f"{click.style('unknown', fg='yellow')} {lock}: {outcome}")
        return
    as_of = clock(datetime.fromtimestamp(outcome.as_of, UTC))
    for one in outcome.worst_first():
        mend = f"mended by {one.fixed_in}" if one.fixed_in else "no release mends it"
        click.echo(f"{click.style(one.severity, fg='red')} {lock}: {one.package} {one.version}: {one.id}, {mend}")
    click.echo(f"{lock}: {len(outcome.findings)} known vulnerabilities in {outcome.packages} packages, as of {as_of}")
