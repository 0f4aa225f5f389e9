"""The list that the configuration's state store keeps, read and changed by a command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.store import opened

if TYPE_CHECKING:
    from tocsin.access.allowlist import AuditLine, Change, Entry, Listed


def break_glass_option(function: Callable[..., None]) -> Callable[..., None]:
    """`--break-glass`: past the guards."""
    return click.option(
        "--break-glass",
        is_flag=True,
        help="Do it even where it leaves no admin. The audit marks it.",
    )(function)


def entry_at(value: str, at: datetime, by: str, **fields: Any) -> Entry:
    """An entry of what was typed. Raises BadParameter."""
    from tocsin.access.allowlist import entry_of

    try:
        return entry_of(value, at, by=by, **fields)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}", param_hint="ENTRY") from None


def spelled(values: tuple[str, ...]) -> tuple[str, ...]:
    """What was typed, in the spelling that entries go by. Raises BadParameter."""
    from tocsin.access.allowlist.entry import read_value

    try:
        return tuple(read_value(value)[0] for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ENTRY") from None


async def listed(config: Path, *, create: bool = False) -> Listed:
    """The whole list."""
    from tocsin.state.allowlist import AllowlistTable

    async with opened(config, create=create) as state:
        return await AllowlistTable(state).load()


async def changed(
    config: Path, change: Change, by: str, at: datetime, *,
    break_glass: bool, create: bool = False, dry_run: bool = False,
) -> tuple[AuditLine, ...]:  # fmt: skip
    """Make the change. Raises ChangeRefused."""
    from tocsin.state.allowlist import AllowlistTable

    # An address is somebody on the list, who can't end their own access; a login name of the host is not.
    actor = by if "@" in by else f"cli:{by}"
    async with opened(config, create=create) as state:
        return await AllowlistTable(state).change(change, actor, at, guarded=not break_glass, dry_run=dry_run)
