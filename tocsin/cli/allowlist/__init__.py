"""`tocsin allowlist`: who may come in. Works on the state store itself, so it is also the way back in (break-glass)."""

from __future__ import annotations

import click

from tocsin.cli.allowlist import entries, files, settings


@click.group()
def allowlist() -> None:
    """Who may come in: add, expire, remove, list, test, import, export, audit.

    An entry is an address (ana@example.com), a domain (example.com) or the sub-domains of one (*.example.com). It
    allows or denies, and deny wins. A change bites within 2 seconds in every process.
    """


for command in (
    entries.add, entries.expire, entries.remove, entries.list_, entries.test, files.import_, files.export, files.audit,
    settings.folding, settings.install_hook,
):  # fmt: skip
    allowlist.add_command(command)
