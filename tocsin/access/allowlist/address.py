"""One spelling per address, so that what is compared can't be written two ways.

Blanks at the ends go, ASCII is lowered, a domain becomes its IDNA form. What is left must be plain: one `@`, a local
part of the characters that Supabase Auth itself takes, labels of letters, digits and hyphens. Control and zero-width
characters, a trailing dot and a second `@` are refused. Nothing is folded by NFKC: a full-width `ａ` would become the
`a` of somebody else's address.

`gate.sql` does the same inside Postgres, where there are no IDNA tables. So that both agree, letters outside ASCII are
not lowered, and a domain that was written with them is let in only by an entry that names it whole (see roll).
Plus tags and dots are kept unless the list says otherwise (`Folding`). The vectors that hold both to the same answers
are in tests/unit/access/allowlist_vectors.json.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from typing import Final

import idna

BLANKS: Final = " \t\r\n"
MOST: Final = 254
MOST_DOMAIN: Final = 253
DOTLESS: Final = frozenset({"gmail.com", "googlemail.com"})
"""Mail hosts that ignore dots. Elsewhere an address without them is another person's."""

_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
_LOCAL: Final = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ZERO_WIDTH: Final = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")


class BadAddress(ValueError):
    """Not an address (or domain) that can be compared safely; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A person's address in its one spelling."""

    local: str
    domain: str
    """ASCII: labels outside it in their xn-- form."""
    spelled: bool = False
    """The domain was written with letters outside ASCII."""

    @property
    def text(self) -> str:
        return f"{self.local}@{self.domain}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Folding:
    """Which differences between addresses are ignored; none by default."""

    plus: bool = False
    """`ana+tag@…` is `ana@…`."""
    dots: bool = False
    """`a.n.a@gmail.com` is `ana@gmail.com`; at Gmail only."""

    def key(self, address: Address) -> str:
        """What addresses are compared by."""
        local = address.local
        if self.plus:
            local = local.partition("+")[0] or local
        if self.dots and address.domain in DOTLESS:
            local = local.replace(".", "") or local
        return f"{local}@{address.domain}"


AS_WRITTEN: Final = Folding()
"""Nothing is ignored."""


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address:
    """The one spelling of an address. Raises BadAddress."""
    found = text.strip(BLANKS).translate(_LOWER)
    if len(found) > MOST:
        raise BadAddress(f"longer than {MOST} characters")
    if found.count("@") != 1:
        raise BadAddress("an address has exactly one @")
    local, _, domain = found.partition("@")
    if not _LOCAL.fullmatch(local):
        raise BadAddress("the part before the @ is empty, too long or has a character that Supabase Auth does not take")
    return Address(local, ascii_domain(domain), not domain.isascii())


def parse_domain(text: str) -> str:
    """The one spelling of a domain that somebody typed: `Bücher.example`, `@example.com`. Raises BadAddress."""
    found = text.strip(BLANKS).removeprefix("@").translate(_LOWER)
    # A person typed it, so É means é; in a token it would be an unlike domain.
    return ascii_domain(found if found.isascii() else found.lower())


def parse_typed(text: str) -> Address:
    """An address that somebody typed, its domain as in `parse_domain`. Raises BadAddress."""
    local, at, domain = text.strip(BLANKS).rpartition("@")
    return parse_address(f"{local}{at}{domain if domain.isascii() else domain.lower()}")


def ascii_domain(domain: str) -> str:
    """`domain`, already lowered, with its labels in ASCII. Raises BadAddress."""
    if _ZERO_WIDTH.search(domain):
        raise BadAddress("the domain has an invisible character")
    if domain.endswith("."):
        raise BadAddress("the domain ends with a dot")
    labels = [label if label.isascii() else _a_label(label) for label in domain.split(".")]
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise BadAddress(f"{label!r} is no part of a domain name" if label else "the domain has an empty part")
    if len(labels) < 2 or labels[-1].isdigit():
        raise BadAddress("the domain is not of the form example.com")
    found = ".".join(labels)
    if len(found) > MOST_DOMAIN:
        raise BadAddress(f"the domain is longer than {MOST_DOMAIN} characters")
    return found


def _a_label(label: str) -> str:
    try:
        # Strict IDNA 2008: no mapping of full-width letters, upper case or other dots.
        return idna.alabel(label).decode()
    except idna.IDNAError:
        raise BadAddress(f"{label!r} is not a label of an international domain name") from None
