"""`tocsin allowlist`: who may come in. Works on the state store itself, so it is also the way back in (break-glass)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tocsin.access.allowlist import Effect, Entry, Folding, Role
from tocsin.cli import FINDING
from tocsin.cli.allowlist_words import (
    audit_document,
    difference_document,
    ends,
    ignored,
    line,
    report,
    ruling_document,
    verdict,
    what_changed,
)
from tocsin.cli.options import DURATION, TIME, config_option, json_option
from tocsin.cli.output import ago, clock, print_json, print_table
from tocsin.cli.store import by_option, now, opened, runs_async
from tocsin.errors import TocsinError

if TYPE_CHECKING:
    from tocsin.access.allowlist import AuditLine, Change

EMPTY: Final = "the list is empty, so nobody comes in; begin with: tocsin allowlist add you@example.com --role admin"


def break_glass_option(function: Callable[..., None]) -> Callable[..., None]:
    """`--break-glass`: past the guards."""
    return click.option(
        "--break-glass",
        is_flag=True,
        help="Do it even where it leaves no admin. The audit marks it.",
    )(function)


@click.group()
def allowlist() -> None:
    """Who may come in: add, remove, list, test, import, export, audit.

    An entry is an address (ana@example.com), a domain (example.com) or the sub-domains of one (*.example.com). It
    allows or denies, and deny wins. A change bites within 2 seconds in every process.
    """


@allowlist.command()
@click.argument("values", metavar="ADDRESS|DOMAIN|*.DOMAIN...", nargs=-1, required=True)
@click.option("--deny", is_flag=True, help="Keep out instead, whatever else allows it.")
@click.option("--role", type=click.Choice([role.value for role in Role]), help="In the console. Default: none.")
@click.option("--for", "for_", type=DURATION, help="Ends after this long, e.g. 30d.")
@click.option("--until", type=TIME, help="Ends then, e.g. 2026-12-31.")
@click.option("--note", default="", help="Why, for who reads the list later.")
@click.option("--change", is_flag=True, help="Replace entries that are on the list already.")
@by_option
@break_glass_option
@json_option
@config_option
@runs_async
async def add(
    values: tuple[str, ...], deny: bool, role: str | None, for_: timedelta | None, until: datetime | None, note: str,
    change: bool, by: str, break_glass: bool, as_json: bool, config: Path,
) -> None:  # fmt: skip
    """Add entries, all of them or none.

    \b
    Examples:
      tocsin allowlist add ana@example.com --role admin
      tocsin allowlist add example.com *.example.com --note "our staff"
      tocsin allowlist add guest@agency.example --for 30d
      tocsin allowlist add mallory@example.com --deny --note "left in May"
    """
    from tocsin.access.allowlist import Put

    if for_ is not None and until is not None:
        raise click.UsageError("give --for or --until, not both")
    at = now()
    until = at + for_ if for_ is not None else until
    if until is not None and until <= at:
        raise click.BadParameter("is in the past", param_hint="--for/--until")
    effect = Effect.DENY if deny else Effect.ALLOW
    entries = tuple(
        _entry(value, at, by, effect=effect, role=Role(role) if role else None, note=note, expires_at=until)
        for value in values
    )
    if len({entry.value for entry in entries}) != len(entries):
        raise click.UsageError("an entry is named twice")
    asked = Put(entries, only_new=not change)
    report(await _change(config, asked, by, at, break_glass=break_glass, create=True), as_json)


@allowlist.command()
@click.argument("values", metavar="ENTRY...", nargs=-1, required=True)
@by_option
@break_glass_option
@json_option
@config_option
@runs_async
async def remove(values: tuple[str, ...], by: str, break_glass: bool, as_json: bool, config: Path) -> None:
    """Take entries out, all of them or none. The last admin stays, unless with --break-glass."""
    from tocsin.access.allowlist import Remove
    from tocsin.access.allowlist.entry import read_value

    try:
        spelled = tuple(read_value(value)[0] for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ENTRY") from None
    report(await _change(config, Remove(spelled), by, now(), break_glass=break_glass), as_json)


@allowlist.command("list")
@click.argument("search", required=False, default="")
@json_option
@config_option
@runs_async
async def list_(search: str, as_json: bool, config: Path) -> None:
    """The entries, or those whose value or note has SEARCH in it."""
    at = now()
    listed = await _listed(config)
    found = [entry for entry in listed.entries if search.lower() in f"{entry.value} {entry.note}".lower()]
    if as_json:
        print_json([{**entry.document(), "holds": entry.holds(at)} for entry in found])
        return
    rows = [
        (
            entry.value,
            entry.effect.value,
            entry.role.value if entry.role else "-",
            ends(entry, at),
            ago(entry.last_seen_at, at),
            entry.added_by,
            entry.note,
        )
        for entry in found
    ]
    empty = f"no entry has {search!r} in it" if search and listed.entries else EMPTY
    print_table(("entry", "effect", "role", "ends", "seen", "by", "note"), rows, empty=empty)


@allowlist.command()
@click.argument("address")
@json_option
@config_option
@runs_async
async def test(address: str, as_json: bool, config: Path) -> None:
    """May this address come in, and why? Exits 1 when not."""
    from tocsin.access.allowlist import Roll

    at = now()
    ruling = Roll(await _listed(config)).ruling(address, at)
    if as_json:
        print_json(ruling_document(ruling))
    else:
        click.echo(verdict(ruling, address))
        for entry in ruling.considered:
            decides = "  <- decides" if entry is ruling.entry else "" if entry.holds(at) else "  (expired)"
            role = f", {entry.role.value}" if entry.role else ""
            click.echo(f"  {entry.effect.value:<5}  {entry.value}{role}{decides}")
    if not ruling.allowed:
        sys.exit(FINDING)


@allowlist.command("import")
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
    found = difference((await _listed(config, create=True)).entries, entries, prune=prune)
    # A dry run asks the guards too: what it shows is what --apply does.
    change = Replace(entries) if prune else Put(entries)
    await _change(config, change, by, at, break_glass=break_glass, dry_run=not apply_)
    if as_json:
        print_json({"applied": apply_, **difference_document(found)})
        return
    for sign, entry in [("+", entry) for entry in found.added] + [("-", entry) for entry in found.removed]:
        click.echo(f"{sign} {line(entry)}")
    for was, would_be in found.changed:
        click.echo(f"~ {line(was)}\n  {line(would_be)}")
    counts = f"{len(found.added)} added, {len(found.changed)} changed, {len(found.removed)} removed"
    click.echo(counts if apply_ else f"{counts}: nothing is done yet; add --apply", err=True)


@allowlist.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of CSV.")
@config_option
@runs_async
async def export(file: Path, as_json: bool, config: Path) -> None:
    """Write the list as CSV, which `import` reads back. Cells that a spreadsheet would run get a ' in front."""
    from tocsin.access.allowlist.csv_file import export_csv

    entries = (await _listed(config)).entries
    if as_json:
        print_json([entry.document() for entry in entries])
    elif str(file) == "-":
        click.echo(export_csv(entries), nl=False)
    else:
        await asyncio.to_thread(file.write_text, export_csv(entries), encoding="utf-8")
        click.echo(f"{len(entries)} entries in {file}", err=True)


@allowlist.command()
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


@allowlist.command()
@click.option("--plus/--no-plus", default=None, help="Ignore plus tags: ana+x@… is ana@…")
@click.option("--gmail-dots/--no-gmail-dots", default=None, help="Ignore dots at gmail.com and googlemail.com.")
@by_option
@break_glass_option
@json_option
@config_option
@runs_async
async def folding(
    plus: bool | None, gmail_dots: bool | None, by: str, break_glass: bool, as_json: bool, config: Path
) -> None:
    """Which differences between addresses are ignored; none at first. Without an option: what is set."""
    from tocsin.access.allowlist import Fold

    have = (await _listed(config, create=True)).folding
    want = Folding(plus=have.plus if plus is None else plus, dots=have.dots if gmail_dots is None else gmail_dots)
    if want != have:
        await _change(config, Fold(want), by, now(), break_glass=break_glass)
    if as_json:
        print_json({"plus": want.plus, "gmail_dots": want.dots})
        return
    click.echo(f"plus tags: {ignored(want.plus)}; dots at Gmail: {ignored(want.dots)}")


@allowlist.command("install-hook")
@click.option("--print", "print_", is_flag=True, help="Show the SQL, to be run by hand.")
@click.option("--apply", "apply_", is_flag=True, help="Run it in the state store's database.")
@click.option("--access-token-hook", is_flag=True, help="Also the hook that is asked at each sign-in and refresh.")
@config_option
@runs_async
async def install_hook(print_: bool, apply_: bool, access_token_hook: bool, config: Path) -> None:
    """Let Supabase refuse sign-ups of who is not on the list: a Postgres function for its before-user-created hook.

    The state store must be in the application's database (state.url: postgresql://...), with a role that may create
    schemas there. It may be run again.
    """
    from tocsin.access.allowlist.gate import GATE_SCHEMA, gate_sql, switch_on

    if print_ == apply_:
        raise click.UsageError("give --print or --apply")
    async with opened(config) as state:
        if state.dialect != "postgresql":
            raise TocsinError(
                "the state store is SQLite, which Supabase Auth can't ask: set state.url to the application's "
                "database (postgresql://...), run `tocsin state migrate`, and then this"
            )
        import sqlalchemy as sa

        async with state.reading() as connection:
            schema = str((await connection.execute(sa.text("select current_schema()"))).scalar_one())
        sql = gate_sql(schema, access_token_hook=access_token_hook)
        if print_:
            click.echo(sql, nl=False)
            return
        async with state.writing() as connection:
            # Many statements in one text: only the driver itself takes that.
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            await raw.execute(sql)
    click.echo(f"installed in the schema {GATE_SCHEMA}. Now switch it on:", err=True)
    click.echo(switch_on(access_token_hook=access_token_hook))


# What they share -----------------------------------------------------------------------------------------------------


def _entry(value: str, at: datetime, by: str, **fields: Any) -> Entry:
    from tocsin.access.allowlist import entry_of

    try:
        return entry_of(value, at, by=by, **fields)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}", param_hint="ENTRY") from None


async def _listed(config: Path, *, create: bool = False) -> Any:
    from tocsin.state.allowlist import AllowlistTable

    async with opened(config, create=create) as state:
        return await AllowlistTable(state).load()


async def _change(
    config: Path, change: Change, by: str, at: datetime, *,
    break_glass: bool, create: bool = False, dry_run: bool = False,
) -> tuple[AuditLine, ...]:  # fmt: skip
    from tocsin.state.allowlist import AllowlistTable

    # An address is somebody on the list, who can't end their own access; a login name of the host is not.
    actor = by if "@" in by else f"cli:{by}"
    async with opened(config, create=create) as state:
        return await AllowlistTable(state).change(change, actor, at, guarded=not break_glass, dry_run=dry_run)
