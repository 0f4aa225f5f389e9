"""What commands print: tables for people, JSON for programs, and a sentence where there is nothing to list."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import click

NARROW: Final = 80
_GAP: Final = 2
_LEAST: Final = 8
"""A column isn't made narrower than this."""
SEVERITY_COLOURS: Final = {"P0": "red", "P1": "yellow", "P2": "blue", "P3": "white"}


def print_json(value: Any) -> None:
    """Indented JSON with sorted keys; times as RFC 3339."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
    click.echo(orjson.dumps(value, option=options, default=_plain).decode())


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "items"):
        return dict(value.items())
    return str(value)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Columns as wide as their content; on a terminal long cells are cut so that a row stays a line.

    `empty` is said instead where there are no rows: what that means, or how to get one.
    """
    if not rows:
        click.echo(empty)
        return
    cells = [[_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (list(headings), *cells)) for column in range(len(headings))]
    if sys.stdout.isatty():
        widths = _fitted(widths, shutil.get_terminal_size((NARROW, 24)).columns)
    click.echo(_row(headings, widths).upper())
    for row in cells:
        click.echo(_row(row, widths))


def _one_line(cell: str) -> str:
    return " ".join(cell.split())


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    cut = [cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, widths, strict=True)]
    text = (" " * _GAP).join(cell.ljust(width) for cell, width in zip(cut, widths, strict=True)).rstrip()
    severity = next((cell for cell in cells if cell in SEVERITY_COLOURS), None)
    return click.style(text, fg=SEVERITY_COLOURS[severity]) if severity in ("P0", "P1") else text


def _fitted(widths: list[int], total: int) -> list[int]:
    """The widths with the widest columns narrowed until a row fits."""
    widths = list(widths)
    while sum(widths) + _GAP * (len(widths) - 1) > total and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return widths


def ago(then: datetime | None, now: datetime) -> str:
    """`5m` since, or `in 2h`; the largest two units."""
    if then is None:
        return "-"
    from tocsin.durations import format_duration

    seconds = round(abs((now - then).total_seconds()))
    grain = 1 if seconds < 3600 else 60 if seconds < 86_400 else 3600
    text = format_duration(seconds - seconds % grain)
    return f"in {text}" if then > now else text


def clock(at: datetime | None) -> str:
    """A time for people, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at is not None else "-"


def lasts(duration: timedelta) -> str:
    """A duration for people."""
    from tocsin.durations import format_duration

    return format_duration(round(duration.total_seconds()))
