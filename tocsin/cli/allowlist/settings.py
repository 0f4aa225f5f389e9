"""How the list is compared, and where else it holds: folding, install-hook."""

from __future__ import annotations

from pathlib import Path

import click

from tocsin.access.allowlist import Folding
from tocsin.cli.allowlist.acting import break_glass_option, changed, listed
from tocsin.cli.allowlist.words import ignored
from tocsin.cli.options import config_option, json_option
from tocsin.cli.output import print_json
from tocsin.cli.store import by_option, now, opened, runs_async
from tocsin.errors import TocsinError


@click.command()
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

    have = (await listed(config, create=True)).folding
    want = Folding(plus=have.plus if plus is None else plus, dots=have.dots if gmail_dots is None else gmail_dots)
    if want != have:
        await changed(config, Fold(want), by, now(), break_glass=break_glass)
    if as_json:
        print_json({"plus": want.plus, "gmail_dots": want.dots})
        return
    click.echo(f"plus tags: {ignored(want.plus)}; dots at Gmail: {ignored(want.dots)}")


@click.command("install-hook")
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
        import psycopg
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
            try:
                await raw.execute(sql)
            except psycopg.Error as error:
                raise TocsinError(_refused(str(error))) from None
    click.echo(f"installed in the schema {GATE_SCHEMA}. Now switch it on:", err=True)
    click.echo(switch_on(access_token_hook=access_token_hook))


def _refused(said: str) -> str:
    """What Postgres said, and how to mend it; nothing was installed then."""
    what = said.strip().splitlines()[0]
    if "supabase_auth_admin" in what:
        return f"{what}: this is not the database that Supabase Auth uses; point state.url at that one"
    if "permission denied" in what or "must be owner" in what:
        return f"{what}: give it to the owner of the tables with --print, or let state.url name that role"
    return f"Postgres did not take the gate, and nothing was changed: {what}"
