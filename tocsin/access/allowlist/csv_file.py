"""The list as CSV: `value,effect,role,expires_at,note`, one header line; or with `;`, which a spreadsheet
writes where the comma is a decimal sign.

A spreadsheet takes a cell that begins with = + - @ for a formula, and runs it. Such cells are written with a `'` in
front, and read back without it. A file with one bad line changes nothing: every finding says its line.
Source: https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final

from tocsin.access.allowlist.address import BadAddress
from tocsin.access.allowlist.entry import Effect, Entry, Role, entry_of
from tocsin.errors import Finding, InputError

COLUMNS: Final = ("value", "effect", "role", "expires_at", "note")
MOST_BYTES: Final = 5_000_000
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


def export_csv(entries: Iterable[Entry]) -> str:
    """The list, in the order of its values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in sorted(entries, key=lambda entry: entry.value):
        ends = entry.expires_at.isoformat().replace("+00:00", "Z") if entry.expires_at else ""
        cells = (entry.value, entry.effect.value, entry.role.value if entry.role else "", ends, entry.note)
        writer.writerow([_guarded(cell) for cell in cells])
    return out.getvalue()


def import_csv(data: bytes, file: str, now: datetime, *, by: str) -> tuple[Entry, ...]:
    """The entries of a file, in its order. Raises InputError with a finding for each bad line."""
    rows = _rows(data, file)
    entries: dict[str, tuple[int, Entry]] = {}
    findings: list[Finding] = []
    for line, row in rows:
        try:
            entry = _entry(row, now, by)
        except ValueError as error:
            findings.append(Finding(file=file, line=line, what=f"{row['value']!r}: {error}"))
            continue
        if entry.value in entries:
            first = entries[entry.value][0]
            findings.append(Finding(file=file, line=line, what=f"{entry.value} is in line {first} already"))
            continue
        entries[entry.value] = (line, entry)
    if findings:
        raise InputError(*findings)
    return tuple(entry for _, entry in entries.values())


def _rows(data: bytes, file: str) -> list[tuple[int, dict[str, str]]]:
    """(line, cells by column) of each row that is not blank."""
    if len(data) > MOST_BYTES:
        raise InputError.at(file, 0, f"larger than {MOST_BYTES} bytes", "split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError.at(file, line, "not UTF-8", "save it as CSV UTF-8") from None
    header_line = text.lstrip("\r\n").partition("\n")[0]
    separator = ";" if ";" in header_line and "," not in header_line else ","
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        rows = [
            (reader.line_num, [_plain(cell) for cell in row]) for row in reader if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise InputError.at(file, reader.line_num, f"not CSV: {error}") from None
    if not rows:
        raise InputError.at(file, 0, "empty", f"write a header first: {','.join(COLUMNS)}")
    header = _header(rows[0][1], file, rows[0][0])
    for line, row in rows[1:]:
        if len(row) > len(header):
            raise InputError.at(
                file, line, f"{len(row)} cells under {len(header)} columns", f"quote cells with {separator}"
            )
    blank = dict.fromkeys(COLUMNS, "")
    return [(line, {**blank, **dict(zip(header, row, strict=False))}) for line, row in rows[1:]]


def _header(cells: list[str], file: str, line: int) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    for name in names:
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, n=1)
            mend = f"did you mean {near[0]}?" if near else f"the columns are {', '.join(COLUMNS)}"
            raise InputError.at(file, line, f"unknown column {name!r}", mend)
    if "value" not in names or len(set(names)) != len(names):
        raise InputError.at(file, line, "no column value, or one twice", f"write the header {','.join(COLUMNS)}")
    return names


def _entry(row: Mapping[str, str], now: datetime, by: str) -> Entry:
    effect, role = row["effect"].strip().lower() or "allow", row["role"].strip().lower()
    if effect not in set(Effect):
        raise BadAddress(f"effect is allow or deny, not {effect!r}")
    if role and role not in set(Role):
        raise BadAddress(f"role is {', '.join(Role)} or empty, not {role!r}")
    return entry_of(
        row["value"],
        now,
        by=by,
        effect=Effect(effect),
        role=Role(role) if role else None,
        note=row["note"].strip(),
        expires_at=_time(row["expires_at"].strip()),
    )


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadAddress(f"expires_at {text!r} is no time; write it like 2026-07-01T12:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _guarded(cell: str) -> str:
    # What has quotes before a formula sign is guarded too, or reading back would take one of them away.
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What an import would do."""

    added: tuple[Entry, ...]
    changed: tuple[tuple[Entry, Entry], ...]
    """(as it is, as it would be)."""
    removed: tuple[Entry, ...]

    @property
    def empty(self) -> bool:
        return not (self.added or self.changed or self.removed)


def difference(current: Iterable[Entry], wanted: Iterable[Entry], *, prune: bool) -> Difference:
    """`wanted` against the list. Who added an entry and when it was used make no difference."""
    have = {entry.value: entry for entry in current}
    want = {entry.value: entry for entry in wanted}
    return Difference(
        added=tuple(entry for value, entry in want.items() if value not in have),
        changed=tuple(
            (have[value], entry)
            for value, entry in want.items()
            if value in have and _said(have[value]) != _said(entry)
        ),
        removed=tuple(entry for value, entry in have.items() if value not in want) if prune else (),
    )


def _said(entry: Entry) -> tuple[object, ...]:
    return (entry.effect, entry.role, entry.expires_at, entry.note)
