"""The list as a file, and its past: import, export, audit."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from tocsin.access.allowlist.documents import audit_document, difference_document
from tocsin.cli.allowlist.acting import break_glass_option, changed, listed
from tocsin.cli.allowlist.words import line, what_changed
from tocsin.cli.options import config_option, json_option
from tocsin.cli.output import clock, print_json, print_table
from tocsin.cli.store import by_option, now, opened, runs_async


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--prune", is_flag=True, help="Also remove what is not in the file.")
@click.option("--apply", "apply_", is_flag=True, help="Do it. Without, it is only shown what would change.")
@by_option
@break_glass_option
@json_option
@config_option
@runs_async
async def import_(
    file: Path, prune: bool, apply_: bool, by: str, break_glass: bool, as_json: bool, config: Path
) -> None:
    """Read entries from a CSV file: a dry run, until --apply.

    The columns are value, effect, role, expires_at and note; only value is needed. One bad line, and the list stays as
    it is.

    \b
    Examples:
      tocsin allowlist import staff.csv                    what would change
      tocsin allowlist import staff.csv --prune --apply    the list becomes the file
    """
    from tocsin.access.allowlist import Put, Replace
    from tocsin.access.allowlist.csv_file import difference, import_csv

    at, dash = now(), str(file) == "-"
    data = sys.stdin.buffer.read() if dash else await asyncio.to_thread(file.read_bytes)
    entries = import_csv(data, "standard input" if dash else str(file), at, by=by)
    found = difference((await listed(config, create=True)).entries, entries, prune=prune)
    # A dry run asks the guards too: what it shows is what --apply does.
    change = Replace(entries) if prune else Put(entries)
    await changed(config, change, by, at, break_glass=break_glass, dry_run=not apply_)
    if as_json:
        print_json({"applied": apply_, **difference_document(found)})
        return
    for sign, entry in [("+", entry) for entry in found.added] + [("-", entry) for entry in found.removed]:
        click.echo(f"{sign} {line(entry)}")
    for was, would_be in found.changed:
        click.echo(f"~ {line(was)}\n  {line(would_be)}")
    counts = f"{len(found.added)} added, {len(found.changed)} changed, {len(found.removed)} removed"
    click.echo(counts if apply_ else f"{counts}: nothing is done yet; add --apply", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of CSV.")
@config_option
@runs_async
async def export(file: Path, as_json: bool, config: Path) -> None:
    """Write the list as CSV, which `import` reads back. Cells that a spreadsheet would run get a ' in front."""
    from tocsin.access.allowlist.csv_file import export_csv

    entries = (await listed(config)).entries
    if as_json:
        print_json([entry.document() for entry in entries])
    elif str(file) == "-":
        click.echo(export_csv(entries), nl=False)
    else:
        await asyncio.to_thread(file.write_text, export_csv(entries), encoding="utf-8")
        click.echo(f"{len(entries)} entries in {file}", err=True)


@click.command()
@click.argument("entry", required=False, default="")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most this many lines.")
@json_option
@config_option
@runs_async
async def audit(entry: str, limit: int, as_json: bool, config: Path) -> None:
    """Who changed what, the newest first; of one ENTRY, or of all."""
    from tocsin.state.allowlist import AllowlistTable

    async with opened(config) as state:
        found = [audited.line for audited in await AllowlistTable(state).audit(value=entry, limit=limit)]
    if as_json:
        print_json([audit_document(line) for line in found])
        return
    rows = [(clock(line.at), line.actor, line.action, line.value, what_changed(line)) for line in found]
    print_table(("at", "by", "did", "entry", "what"), rows, empty="nothing was ever changed")
