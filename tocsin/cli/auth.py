"""`tocsin auth`: who is behind an alert about sign-ins; and the end of a signing key that leaked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.options import DURATION, config_option, json_option, load
from tocsin.cli.output import print_json, print_table
from tocsin.cli.store import by_option, now, opened, runs_async

if TYPE_CHECKING:
    from collectors.auth_logs.settings import AuthLogsSettings


@click.group()
def auth() -> None:
    """Sign-ins: the events that were kept in clear, and the keys that sign tokens.

    Series name nobody: an address is ip-1f2e3d4c5b there. Where an auth_logs collector has `events: {keep: 7d}`, its
    events are kept so long with address and e-mail; `erase` takes one person's out before.
    """


@auth.command()
@click.argument("subject", default="")
@click.option("--since", type=DURATION, default="1h", show_default=True, help="How far back.")
@click.option("--collector", default="", help="Its name; needed where several keep events.")
@json_option
@config_option
@runs_async
async def events(subject: str, since: timedelta, collector: str, as_json: bool, config: Path) -> None:
    """The events of SUBJECT: an address as an alert names it, an address, an e-mail or a user's id. Default: all.

    \b
    Examples:
      tocsin auth events ip-1f2e3d4c5b --since 1d
      tocsin auth events ana@example.com --json
    """
    from collectors.auth_logs.collector import salt_in
    from collectors.auth_logs.kept import select

    ((settings, folder),) = _keepers(config, collector, several=False)
    async with opened(config) as state:
        salt = salt_in(await state.checkpoint(settings.name).load())
    if salt is None:
        print_table((), (), empty=f"collector {settings.name} has read nothing yet")
        return
    found = sorted(select(folder, salt, since=now() - since, subject=subject), key=lambda told: told.at)
    if as_json:
        print_json([{"at": told.at, "what": told.what, "address": told.address, "ip": told.ip, "who": told.who,
                     "line": told.line} for told in found])  # fmt: skip
        return
    print_table(
        ("at", "what", "address", "ip", "who"),
        [(told.at, told.what, told.address, told.ip, told.who) for told in found],
        empty="no such event was kept; --since 1d looks further back",
    )


@auth.command()
@click.argument("subjects", nargs=-1, required=True)
@click.option("--collector", default="", help="Its name. Default: every one that keeps events.")
@click.option("--apply", "apply_", is_flag=True, help="Do it. Without, it is only counted.")
@json_option
@config_option
@runs_async
async def erase(subjects: tuple[str, ...], collector: str, apply_: bool, as_json: bool, config: Path) -> None:
    """Take somebody out of the events that were kept in clear, before their time is over.

    SUBJECTS: e-mails, ids, addresses, or the names that an alert gives them. An e-mail is followed to the ids that
    audit events give it; lines that bear an address alone go when you name the address. Series, incidents and messages
    hold hashes and stay; a drain's spool keeps what was counted until the first batch ten minutes later; Auth's own log
    is yours to erase.

    \b
    Examples:
      tocsin auth erase ana@example.com
      tocsin auth erase ana@example.com 203.0.113.9 --apply
    """
    from collectors.auth_logs.collector import salt_in
    from collectors.auth_logs.erase import erase as erase_from

    if not all(subject.strip() for subject in subjects):
        raise click.UsageError("an empty SUBJECT would be everybody")
    rows = []
    async with opened(config) as state:
        for settings, folder in _keepers(config, collector, several=True):
            salt = salt_in(await state.checkpoint(settings.name).load()) or b""
            lines, files = erase_from(folder, salt, subjects, apply=apply_)
            rows.append((settings.name, lines, files))
    if as_json:
        print_json(
            [{"collector": name, "lines": lines, "files": files, "erased": apply_} for name, lines, files in rows]
        )
        return
    print_table(
        ("collector", "lines", "files"), [(name, str(lines), str(files)) for name, lines, files in rows], empty=""
    )
    if not apply_:
        click.echo("nothing is done yet; add --apply", err=True)


@auth.command("purge-keys")
@by_option
@json_option
@config_option
@runs_async
async def purge_keys(by: str, as_json: bool, config: Path) -> None:
    """Forget Supabase's signing keys, and who was proven with them: for one that leaked and was revoked.

    Within 2 seconds every process that reads this allowlist fetches the keys anew and proves each token again: the
    daemon, its replicas, applications behind tocsin.asgi. Without it a revoked key is believed for 10 minutes more.
    Nobody whose key is still published notices anything.
    """
    from tocsin.access.allowlist import Purge
    from tocsin.access.allowlist.documents import audit_document
    from tocsin.cli.allowlist.acting import changed

    lines = await changed(config, Purge(), by, now(), break_glass=False)
    if as_json:
        print_json([audit_document(line) for line in lines])
        return
    click.echo("purged: within 2 s every process that reads this allowlist fetches the signing keys anew")
    click.echo("Supabase's edge keeps the published keys for 10 minutes: look at what it answers before you rely on it")


def _keepers(config: Path, name: str, *, several: bool) -> list[tuple[AuthLogsSettings, Path]]:
    """The collectors that keep events, each with its folder of them; one alone but for `several`. Raises UsageError."""
    from collectors.auth_logs.settings import AuthLogsSettings

    read = load(config)
    keepers = {
        settings.name: settings
        for settings in read.collectors
        if isinstance(settings, AuthLogsSettings) and settings.events is not None
    }
    if not keepers:
        raise click.UsageError("no auth_logs collector keeps events; give one `events: {keep: 7d}` in config.yaml")
    if (name and name not in keepers) or (not name and len(keepers) > 1 and not several):
        raise click.UsageError(f"say which collector with --collector: {', '.join(sorted(keepers))}")
    found = [keepers[name]] if name else list(keepers.values())
    return [(settings, read.folder / settings.events_folder) for settings in found]
