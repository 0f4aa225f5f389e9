"""`tocsin state`: the state store's upkeep."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tocsin.cli import FINDING
from tocsin.cli.options import config_option, load
from tocsin.cli.store import opened, runs_async


@click.group()
def state() -> None:
    """The state store: migrate, back up, check.

    It holds incidents, silences, what was said to whom, and tokens. Series are elsewhere.
    """


@state.command()
@config_option
@runs_async
async def migrate(config: Path) -> None:
    """Create the store, or bring one of an older Tocsin up to date. Stop the daemon and back it up before."""
    from tocsin.state import State
    from tocsin.state.schema import HEAD

    store = await State.open(load(config).state_url)
    where = store.file or "the database"
    await store.close()
    click.echo(f"{where} is at version {HEAD}")


@state.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@runs_async
async def backup(file: Path, config: Path) -> None:
    """Copy a SQLite store to FILE, consistent while the daemon runs. To restore, put FILE in its place.

    \b
    Example:
      tocsin state backup /var/backups/tocsin-$(date +%F).db
    """
    async with opened(config) as store:
        await store.backup(file)
    click.echo(f"{file} written")


@state.command()
@config_option
@runs_async
async def check(config: Path) -> None:
    """Look for damage and for rows that contradict each other; exit 1 when there are any."""
    async with opened(config) as store:
        found = await store.check()
    for line in found:
        click.echo(line)
    click.echo(f"{len(found)} findings" if found else "sound", err=bool(found))
    if found:
        sys.exit(FINDING)
