"""What `tocsin doctor queries` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tocsin.cli import FINDING
from tocsin.cli.output import print_json, print_table
from tocsin.errors import InputError

if TYPE_CHECKING:
    from collectors.postgres.plans import Planned
    from tocsin.config import Config

_SHOWN = 60
"""Letters of a statement."""


def advised(config: Config, collector: str, top: int, *, as_json: bool) -> int:
    """Plan, print, and give the exit code. Raises InputError where there is no such collector."""
    from collectors.postgres.link import connection_string
    from collectors.postgres.plans import planned
    from collectors.postgres.settings import PostgresSettings
    from collectors.postgres.state import Unreachable

    known = {one.name: one for one in config.collectors if isinstance(one, PostgresSettings)}
    if collector not in known:
        names = ", ".join(sorted(known)) or "none is configured"
        raise InputError.at(
            str(config.file), 0, f"there is no postgres collector {collector!r}", f"name one of: {names}"
        )
    try:
        dsn = connection_string(known[collector], config.folder, None)
    except Unreachable as error:
        raise InputError.at(str(config.file), 0, str(error), "set it and try again") from None
    found = planned(dsn, top)
    if as_json:
        print_json([_object(one) for one in found])
    else:
        _show(found)
    return FINDING if any(one.advice for one in found) else 0


def _object(one: Planned) -> dict[str, object]:
    advice = [{**vars_of(advice), "mend": advice.mend} for advice in one.advice]
    return {**vars_of(one), "advice": advice}


def vars_of(thing: object) -> dict[str, object]:
    """A dataclass' fields."""
    from dataclasses import fields

    return {field.name: getattr(thing, field.name) for field in fields(thing)}  # type: ignore[arg-type]


def _show(found: list[Planned]) -> None:
    rows = [
        [
            f"{one.seconds:,.2f}",
            f"{one.calls:,}",
            f"{one.seconds / max(one.calls, 1) * 1e3:,.2f}",
            one.text if len(one.text) <= _SHOWN else one.text[: _SHOWN - 1] + "…",
            one.unknown or ("reads a whole table" if one.advice else ""),
        ]
        for one in found
    ]
    print_table(["seconds", "calls", "ms each", "statement", "finding"], rows, empty="no statement was counted yet")
    for advice in dict.fromkeys(advice for one in found for advice in one.advice):
        click.echo(f"{advice.table} ({advice.rows:,.0f} rows) is read whole; if that is not meant:\n  {advice.mend}")
