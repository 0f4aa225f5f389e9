"""The list as JSON: what `tocsin allowlist … --json` and the HTTP API say, in the same words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tocsin.access.allowlist.change import AuditLine
from tocsin.access.allowlist.csv_file import Difference
from tocsin.access.allowlist.entry import Entry
from tocsin.access.allowlist.roll import Ruling


def entry_document(entry: Entry, now: datetime) -> dict[str, Any]:
    """`holds` is false once it has expired."""
    return {**entry.document(), "holds": entry.holds(now)}


def audit_document(line: AuditLine) -> dict[str, Any]:
    """Who did what when, with the entry before and after."""
    names = ("at", "actor", "action", "value", "before", "after")
    return {name: getattr(line, name) for name in names}


def ruling_document(ruling: Ruling) -> dict[str, Any]:
    """`reason` is a word of tocsin.access.verdicts; `considered` are the entries that name the address."""
    return {
        "allowed": ruling.allowed,
        "address": ruling.address or None,
        "role": ruling.role.value if ruling.role else None,
        "reason": ruling.reason.value if ruling.reason else None,
        "because": ruling.because,
        "entry": ruling.entry.value if ruling.entry else None,
        "considered": [entry.document() for entry in ruling.considered],
    }


def difference_document(found: Difference) -> dict[str, Any]:
    """What an import changes."""
    return {
        "added": [entry.document() for entry in found.added],
        "changed": [{"before": was.document(), "after": is_.document()} for was, is_ in found.changed],
        "removed": [entry.document() for entry in found.removed],
    }
