"""The nouns of the list: an entry, its kind and effect, and the roles of the console."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from tocsin.access.allowlist.address import BLANKS, BadAddress, parse_domain, parse_typed

MOST_NOTE: Final = 500


class Kind(StrEnum):
    """What an entry names."""

    EMAIL = "email"
    DOMAIN = "domain"
    """Every address at exactly this domain."""
    WILDCARD = "wildcard"
    """Every address at a sub-domain, however deep; not at the domain itself."""


class Effect(StrEnum):
    """What becomes of whom it names. Deny wins, however specific the allowing entry is."""

    ALLOW = "allow"
    DENY = "deny"


class Role(StrEnum):
    """What somebody may do in the console; who has none may use the protected application only."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, other: Role) -> bool:
        """True when this role may do what `other` may."""
        return _RANK[self] >= _RANK[other]


_RANK: Final = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


def rank(role: Role | None) -> int:
    """0 for no role, up to 3 for admin."""
    return 0 if role is None else _RANK[role]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the list. Make it with `entry_of`, which brings `value` to its one spelling."""

    value: str
    """`ana@example.com`, `example.com` or `*.example.com`: also what identifies the entry."""
    kind: Kind
    effect: Effect = Effect.ALLOW
    role: Role | None = None
    note: str = ""
    added_by: str = ""
    added_at: datetime
    expires_at: datetime | None = None
    """The first moment at which it no longer counts."""
    last_seen_at: datetime | None = None
    """When somebody last came in by it, to a quarter of an hour."""

    def holds(self, now: datetime) -> bool:
        """False once it has expired."""
        return self.expires_at is None or now < self.expires_at

    def document(self) -> dict[str, Any]:
        """What the audit keeps and exports show."""
        return {
            "value": self.value,
            "kind": self.kind.value,
            "effect": self.effect.value,
            "role": self.role.value if self.role else None,
            "note": self.note,
            "added_by": self.added_by,
            "added_at": self.added_at,
            "expires_at": self.expires_at,
            "last_seen_at": self.last_seen_at,
        }


def read_value(text: str) -> tuple[str, Kind]:
    """What somebody typed, in its one spelling, and what it names. Raises BadAddress."""
    typed = text.strip(BLANKS)
    if typed.startswith(("*.", ".")):
        domain = parse_domain(typed.lstrip("*")[1:])
        return f"*.{domain}", Kind.WILDCARD
    if typed.startswith("*@"):
        raise BadAddress(f"for everybody at a domain, name the domain: {typed[2:]}")
    if "@" in typed[1:]:
        return parse_typed(typed).text, Kind.EMAIL
    return parse_domain(typed), Kind.DOMAIN


def entry_of(
    text: str,
    now: datetime,
    *,
    by: str,
    effect: Effect = Effect.ALLOW,
    role: Role | None = None,
    note: str = "",
    expires_at: datetime | None = None,
) -> Entry:
    """An entry for what somebody typed. Raises BadAddress that says what is wrong with it."""
    value, kind = read_value(text)
    if effect is Effect.DENY and role is not None:
        raise BadAddress("an entry that denies has no role")
    if role is Role.ADMIN and kind is not Kind.EMAIL:
        raise BadAddress("admin is given to an address, not to a whole domain")
    if len(note) > MOST_NOTE or any(ord(character) < 32 for character in note):
        raise BadAddress(f"a note is one line of at most {MOST_NOTE} characters")
    return Entry(
        value=value, kind=kind, effect=effect, role=role, note=note, added_by=by, added_at=now, expires_at=expires_at
    )
