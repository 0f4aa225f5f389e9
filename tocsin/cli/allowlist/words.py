"""What `tocsin allowlist` says of entries, rulings and the audit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from tocsin.access.allowlist import AuditLine, Entry, Ruling
from tocsin.access.allowlist.documents import audit_document
from tocsin.cli.output import ago, clock, print_json

_SHOWN: Final = ("effect", "role", "expires_at", "note", "plus", "dots")


def report(lines: Sequence[AuditLine], as_json: bool) -> None:
    if as_json:
        print_json([audit_document(line) for line in lines])
        return
    done = {"add": "added", "change": "changed", "remove": "removed"}
    for line in lines:
        click.echo(f"{line.value} {done[line.action.rstrip('!')]}")
    if not lines:
        click.echo("nothing to change", err=True)


def what_changed(line: AuditLine) -> str:
    before, after = line.before or {}, line.after or {}
    names = [name for name in _SHOWN if before.get(name) != after.get(name)]
    if line.before is None or line.after is None:
        shown = after or before
        return ", ".join(f"{name} {shown[name]}" for name in names if shown.get(name))
    return ", ".join(f"{name} {before.get(name)} -> {after.get(name)}" for name in names)


def verdict(ruling: Ruling, address: str) -> str:
    shown = ruling.address or repr(address)
    if not ruling.allowed:
        return f"{shown} stays out: {ruling.because}"
    role = f"as {ruling.role.value}" if ruling.role else "to the application, not the console"
    return f"{shown} comes in, {role}: {ruling.because}"


def line(entry: Entry) -> str:
    ends = f", until {clock(entry.expires_at)}" if entry.expires_at else ""
    role = f", {entry.role.value}" if entry.role else ""
    return f"{entry.effect.value} {entry.value}{role}{ends}" + (f"  # {entry.note}" if entry.note else "")


def ends_in(entry: Entry, at: datetime) -> str:
    if entry.expires_at is None:
        return "never"
    return ago(entry.expires_at, at) if entry.holds(at) else "expired"


def ignored(flag: bool) -> str:
    return "ignored" if flag else "kept"
