"""Which entries somebody looks for: the same in the console, the HTTP API and on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tocsin.access.allowlist.entry import Entry

NO_ROLE: Final = "none"
"""What finds the entries without a role."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """Every field narrows; empty ones do not."""

    text: str = ""
    """Somewhere in the value, the note or who added it; case is ignored."""
    effect: str = ""
    role: str = ""
    """viewer, operator, admin or NO_ROLE."""
    kind: str = ""
    holds: bool | None = None
    """True: counts now. False: has expired."""

    def finds(self, entry: Entry, now: datetime) -> bool:
        """True for what is looked for."""
        text, role = self.text.strip().lower(), entry.role.value if entry.role else NO_ROLE
        return (
            (not text or any(text in part.lower() for part in (entry.value, entry.note, entry.added_by)))
            and self.effect in ("", entry.effect.value)
            and self.role in ("", role)
            and self.kind in ("", entry.kind.value)
            and self.holds in (None, entry.holds(now))
        )
