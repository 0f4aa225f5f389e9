"""The list, made ready for look-ups, and its rulings.

    ruling = roll.ruling("ana@example.com", now)
    ruling.allowed, ruling.role, ruling.because        # True, Role.VIEWER, "example.com is allowed"

What holds: 1. any entry that denies, 2. of those that allow, the most specific (address, domain, nearest wildcard),
which gives the role, 3. nothing: who is not listed stays out. A domain written with letters outside ASCII comes in only
by an entry that names it whole: under a wildcard, its labels could not be checked the same way in Postgres.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tocsin.access.allowlist.address import AS_WRITTEN, Address, BadAddress, Folding, parse_address
from tocsin.access.allowlist.entry import Effect, Entry, Kind, Role
from tocsin.access.verdicts import Reason

MOST_LASTING: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """The stored list at one version."""

    entries: tuple[Entry, ...] = ()
    folding: Folding = AS_WRITTEN
    version: int = 0
    purges: int = 0
    """How often signing keys were to be forgotten, ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """May this address come in, and why."""

    allowed: bool
    because: str
    """One line for people who may see the list."""
    address: str = ""
    """As it was compared; empty for what is no address."""
    role: Role | None = None
    reason: Reason | None = None
    """Why not; None when allowed."""
    entry: Entry | None = None
    """What decided."""
    considered: tuple[Entry, ...] = ()
    """Every entry that names the address, expired ones too, the most specific first."""


class Roll:
    """A list, indexed. Never changes."""

    def __init__(self, listed: Listed) -> None:
        self.listed = listed
        # Most rulings are asked for again and again, and depend on the time only where an entry ends.
        self._lasting: dict[str, Ruling] = {}
        self._by_address: dict[str, list[Entry]] = {}
        self._by_domain: dict[str, list[Entry]] = {}
        self._by_parent: dict[str, list[Entry]] = {}
        for entry in listed.entries:
            match entry.kind:
                case Kind.EMAIL:
                    local, _, domain = entry.value.partition("@")
                    key = listed.folding.key(Address(local, domain))
                    self._by_address.setdefault(key, []).append(entry)
                case Kind.DOMAIN:
                    self._by_domain.setdefault(entry.value, []).append(entry)
                case Kind.WILDCARD:
                    self._by_parent.setdefault(entry.value[2:], []).append(entry)

    def ruling(self, email: str, now: datetime) -> Ruling:
        """What the list says of an address, as it stands in a token."""
        found = self._lasting.get(email)
        if found is None:
            found = self._ruled(email, now)
            if len(self._lasting) < MOST_LASTING and all(entry.expires_at is None for entry in found.considered):
                self._lasting[email] = found
        return found

    def _ruled(self, email: str, now: datetime) -> Ruling:
        try:
            address = parse_address(email)
        except BadAddress as error:
            because = f"not an address that is compared: {error}" if email else "there is no e-mail address"
            return Ruling(allowed=False, reason=Reason.BAD_ADDRESS, because=because)
        found = tuple(self._naming(address))
        denies = next((entry for entry in found if entry.effect is Effect.DENY and entry.holds(now)), None)
        if denies is not None:
            return Ruling(
                allowed=False,
                reason=Reason.DENIED,
                because=f"{denies.value} is denied" + _noted(denies),
                address=address.text,
                entry=denies,
                considered=found,
            )
        allows = next((entry for entry in found if _lets_in(entry, address, now)), None)
        if allows is None:
            return Ruling(
                allowed=False,
                reason=Reason.NOT_LISTED,
                because=_why_not(found, address, now),
                address=address.text,
                considered=found,
            )
        return Ruling(
            allowed=True,
            because=f"{allows.value} is allowed" + _noted(allows),
            address=address.text,
            role=allows.role,
            entry=allows,
            considered=found,
        )

    def _naming(self, address: Address) -> Iterator[Entry]:
        yield from self._by_address.get(self.listed.folding.key(address), ())
        yield from self._by_domain.get(address.domain, ())
        if self._by_parent:
            parent = address.domain
            while "." in parent:
                parent = parent.partition(".")[2]
                yield from self._by_parent.get(parent, ())


def _lets_in(entry: Entry, address: Address, now: datetime) -> bool:
    if entry.kind is Kind.WILDCARD and address.spelled:
        return False
    return entry.effect is Effect.ALLOW and entry.holds(now)


def _why_not(found: Iterable[Entry], address: Address, now: datetime) -> str:
    allowing = [entry for entry in found if entry.effect is Effect.ALLOW]
    if not allowing:
        return "no entry names it"
    expired = next((entry for entry in allowing if not entry.holds(now)), None)
    if expired is not None and expired.expires_at is not None:
        return f"{expired.value} expired {expired.expires_at:%Y-%m-%d %H:%M}Z"
    return f"{allowing[0].value} does not cover a domain written with letters outside ASCII: list {address.domain}"


def _noted(entry: Entry) -> str:
    return f" ({entry.note})" if entry.note else ""
