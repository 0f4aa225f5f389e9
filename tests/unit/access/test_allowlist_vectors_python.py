"""The shared vectors, asked of Python. tests/unit/access/test_allowlist_gate_sql.py asks Postgres the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.access.allowlist import BadAddress, Effect, Entry, Folding, Listed, Role, Roll, entry_of
from tocsin.access.allowlist.address import parse_address

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
VECTORS = json.loads(Path(__file__).with_name("allowlist_vectors.json").read_text())


def entry(given: dict[str, Any], now: datetime) -> Entry:
    ends = given.get("expires_in")
    return entry_of(
        given["value"],
        now,
        by="test",
        effect=Effect(given.get("effect", "allow")),
        role=Role(given["role"]) if given.get("role") else None,
        expires_at=None if ends is None else now + timedelta(seconds=ends),
    )


@pytest.mark.parametrize("case", VECTORS["addresses"], ids=lambda case: repr(case["text"])[:40])
def test_an_address_has_one_spelling_or_none(case: dict[str, Any]) -> None:
    """Exactly the one in the vectors."""
    try:
        found: str | None = parse_address(case["text"]).text
    except BadAddress:
        found = None
    assert found == case["normal"]


@pytest.mark.parametrize("group", VECTORS["lists"], ids=lambda group: group["name"])
def test_rulings_are_those_of_the_vectors(group: dict[str, Any]) -> None:
    """Who comes in, and with which role."""
    folding = Folding(**dict.fromkeys(group["folding"], True))
    roll = Roll(Listed(entries=tuple(entry(given, NOW) for given in group["entries"]), folding=folding))
    found = []
    for case in group["cases"]:
        ruling = roll.ruling(case["text"], NOW)
        role = {"role": ruling.role.value if ruling.role else None} if ruling.allowed else {}
        found.append({"text": case["text"], "allowed": ruling.allowed, **role})
    assert found == group["cases"]
