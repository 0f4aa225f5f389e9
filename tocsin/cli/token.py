"""`tocsin token`: service tokens for Grafana, Prometheus, scripts."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from tocsin.access.tokens import Scope, ServiceToken, mint
from tocsin.cli import FINDING
from tocsin.cli.options import DURATION, config_option, json_option
from tocsin.cli.output import ago, clock, print_json, print_table
from tocsin.cli.store import now, opened, runs_async


@click.group()
def token() -> None:
    """Service tokens: create, list, revoke.

    A token lets a machine in: Grafana reads with query:read, Prometheus scrapes with metrics:read, an Alertmanager
    client works with alerts:read and alerts:write. Shown as `Authorization: Bearer TOKEN`, or as the password of Basic.
    """


@token.command()
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What it may do; may be repeated. `admin` is everything.",
)
@click.option("--expires-in", type=DURATION, help="Not valid after this long, e.g. 90d. Default: until it is revoked.")
@click.option("--note", default="", help="What it is for, to be recognised in the list.")
@json_option
@config_option
@runs_async
async def create(scopes: tuple[str, ...], expires_in: timedelta | None, note: str, as_json: bool, config: Path) -> None:
    """Make a token and show it, this once: only its hash is kept.

    \b
    Examples:
      tocsin token create --scope query:read --note grafana
      tocsin token create --scope metrics:read --expires-in 90d --json
    """
    if expires_in is not None and expires_in <= timedelta(0):
        raise click.BadParameter("must be above 0", param_hint="--expires-in")
    at = now()
    expires_at = None if expires_in is None else at + expires_in
    clear, row = mint([Scope(scope) for scope in scopes], at, expires_at=expires_at, note=note)
    async with opened(config, create=True) as state:
        await state.tokens.put(row)
    if as_json:
        print_json({"id": row.id, "token": clear, "scopes": sorted(row.scopes), "expires_at": row.expires_at})
        return
    click.echo(clear)
    ends = f"until {clock(expires_at)}" if expires_at else "until it is revoked"
    click.echo(f"id {row.id}, {', '.join(sorted(row.scopes))}, {ends}. It is not shown again.", err=True)


@token.command("list")
@json_option
@config_option
@runs_async
async def list_(as_json: bool, config: Path) -> None:
    """The tokens there are, without their secrets."""
    async with opened(config) as state:
        tokens = await state.tokens.list()
    at = now()
    if as_json:
        print_json([_document(row) for row in tokens])
        return
    rows = [
        (row.id, _standing(row), ago(row.last_used_at, at), " ".join(sorted(row.scopes)), row.note) for row in tokens
    ]
    print_table(
        ("id", "valid", "used", "scopes", "note"),
        rows,
        empty="no tokens; make one: tocsin token create --scope query:read",
    )


@token.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@config_option
@runs_async
async def revoke(ids: tuple[str, ...], config: Path) -> None:
    """Make tokens invalid. A running daemon refuses them within 2 seconds."""
    unknown = False
    async with opened(config) as state:
        for id in ids:
            found = await state.tokens.revoke(id, now())
            click.echo(f"{id} revoked" if found else f"there is no token {id}; see: tocsin token list", err=not found)
            unknown |= not found
    if unknown:
        sys.exit(FINDING)


def _standing(row: ServiceToken) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is None:
        return "always"
    return "expired" if row.expires_at <= now() else f"until {row.expires_at:%Y-%m-%d}"


def _document(row: ServiceToken) -> dict[str, object]:
    names = ("id", "note", "created_at", "expires_at", "revoked_at", "last_used_at")
    return {**{name: getattr(row, name) for name in names}, "scopes": sorted(row.scopes)}
