"""Single entries: add, change, expire, remove, list, test."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from tocsin.access.allowlist import Effect, Kind, Role
from tocsin.access.allowlist.documents import entry_document, ruling_document
from tocsin.access.allowlist.search import NO_ROLE, Search
from tocsin.cli import FINDING
from tocsin.cli.allowlist.acting import break_glass_option, changed, entry_at, listed, spelled
from tocsin.cli.allowlist.words import ends_in, report, verdict
from tocsin.cli.options import DURATION, TIME, config_option, json_option
from tocsin.cli.output import ago, print_json, print_table
from tocsin.cli.store import by_option, now, runs_async

EMPTY: Final = "the list is empty, so nobody comes in; begin with: tocsin allowlist add you@example.com --role admin"


@click.command()
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
        entry_at(value, at, by, effect=effect, role=Role(role) if role else None, note=note, expires_at=until)
        for value in values
    )
    if len({entry.value for entry in entries}) != len(entries):
        raise click.UsageError("an entry is named twice")
    asked = Put(entries, only_new=not change)
    report(await changed(config, asked, by, at, break_glass=break_glass, create=True), as_json)


@click.command()
@click.argument("values", metavar="ENTRY...", nargs=-1, required=True)
@click.option("--in", "in_", type=DURATION, help="After this long. Default: now.")
@click.option("--at", "moment", type=TIME, help="Then, e.g. 2026-12-31.")
@by_option
@break_glass_option
@json_option
@config_option
@runs_async
async def expire(
    values: tuple[str, ...], in_: timedelta | None, moment: datetime | None, by: str, break_glass: bool, as_json: bool,
    config: Path,
) -> None:  # fmt: skip
    """Let entries end, now or later. They stay on the list, and `add --change` brings them back."""
    from tocsin.access.allowlist import Expire

    if in_ is not None and moment is not None:
        raise click.UsageError("give --in or --at, not both")
    at = now()
    ends = moment if moment is not None else at + (in_ or timedelta(0))
    report(await changed(config, Expire(spelled(values), max(ends, at)), by, at, break_glass=break_glass), as_json)


@click.command()
@click.argument("values", metavar="ENTRY...", nargs=-1, required=True)
@by_option
@break_glass_option
@json_option
@config_option
@runs_async
async def remove(values: tuple[str, ...], by: str, break_glass: bool, as_json: bool, config: Path) -> None:
    """Take entries out, all of them or none. The last admin stays, unless with --break-glass."""
    from tocsin.access.allowlist import Remove

    report(await changed(config, Remove(spelled(values)), by, now(), break_glass=break_glass), as_json)


@click.command("list")
@click.argument("search", required=False, default="")
@click.option("--effect", type=click.Choice([each.value for each in Effect]), help="Only those that do this.")
@click.option(
    "--role",
    type=click.Choice([*(each.value for each in Role), NO_ROLE]),
    help="Only those with this role.",
)
@click.option(
    "--kind",
    type=click.Choice([each.value for each in Kind]),
    help="Only these: addresses, domains, sub-domains.",
)
@click.option("--expired/--holding", default=None, help="Only those that have ended, or that count.")
@json_option
@config_option
@runs_async
async def list_(
    search: str,
    effect: str | None,
    role: str | None,
    kind: str | None,
    expired: bool | None,
    as_json: bool,
    config: Path,
) -> None:
    """The entries, or those in whose value, note or author SEARCH is."""
    at = now()
    wanted = Search(
        text=search,
        effect=effect or "",
        role=role or "",
        kind=kind or "",
        holds=None if expired is None else not expired,
    )
    entries = (await listed(config)).entries
    found = [entry for entry in entries if wanted.finds(entry, at)]
    if as_json:
        print_json([entry_document(entry, at) for entry in found])
        return
    rows = [
        (
            entry.value,
            entry.effect.value,
            entry.role.value if entry.role else "-",
            ends_in(entry, at),
            ago(entry.last_seen_at, at),
            entry.added_by,
            entry.note,
        )
        for entry in found
    ]
    empty = "no entry is like that" if entries else EMPTY
    print_table(("entry", "effect", "role", "ends", "seen", "by", "note"), rows, empty=empty)


@click.command()
@click.argument("address")
@json_option
@config_option
@runs_async
async def test(address: str, as_json: bool, config: Path) -> None:
    """May this address come in, and why? Exits 1 when not."""
    from tocsin.access.allowlist import Roll

    at = now()
    ruling = Roll(await listed(config)).ruling(address, at)
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
