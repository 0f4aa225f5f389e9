"""The form of an allowlist entry: what was typed, what is wrong with which field, and the entry that it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from tocsin.access.allowlist import BadAddress, Effect, Entry, Role, entry_of
from tocsin.access.allowlist.entry import read_value
from tocsin.web.form import Form

FIELDS: Final = ("value", "effect", "role", "note", "expires_at")


class NotAnEntry(Exception):
    """What was typed makes none; `typed` says for each field why."""

    def __init__(self, typed: Typed) -> None:
        super().__init__("; ".join(typed.wrong.values()))
        self.typed = typed


@dataclass(frozen=True, kw_only=True)
class Typed:
    """The texts of the fields, and what is wrong with them: nobody types a form twice."""

    value: str = ""
    effect: str = Effect.ALLOW.value
    role: str = ""
    note: str = ""
    expires_at: str = ""
    wrong: Mapping[str, str] = field(default_factory=dict)
    """By field."""
    refused: str = ""
    """Why the list did not take it, where each field by itself is right."""

    @classmethod
    def of_form(cls, form: Form) -> Typed:
        """As it came; an effect that is not named is `allow`."""
        value, effect, role, note, expires_at = (form.one(name).strip() for name in FIELDS)
        return cls(value=value, effect=effect or Effect.ALLOW.value, role=role, note=note, expires_at=expires_at)

    @classmethod
    def of_entry(cls, entry: Entry) -> Typed:
        """What changes an entry begins with."""
        return cls(
            value=entry.value, effect=entry.effect.value, role=entry.role.value if entry.role else "", note=entry.note,
            expires_at=entry.expires_at.strftime("%Y-%m-%dT%H:%M:%S") if entry.expires_at else "",
        )  # fmt: skip

    def entry(self, now: datetime, by: str) -> Entry:
        """The entry. Raises NotAnEntry with every field that is wrong, not only the first."""
        checks: dict[str, Callable[[], object]] = {
            "value": lambda: read_value(self.value),
            "effect": lambda: _one_of(self.effect, [*Effect]),
            "role": lambda: _one_of(self.role, ["", *Role]),
            "expires_at": lambda: _time(self.expires_at),
            "note": lambda: entry_of("example.com", now, by=by, note=self.note),
        }
        wrong = {name: why for name, check in checks.items() if (why := _why_not(check))}
        if wrong:
            raise NotAnEntry(replace(self, wrong=wrong))
        try:
            return entry_of(
                self.value, now, by=by, effect=Effect(self.effect), role=Role(self.role) if self.role else None,
                note=self.note, expires_at=_time(self.expires_at),
            )  # fmt: skip
        except BadAddress as error:
            # Each field is right by itself: what is left is a role that this kind or effect can't have.
            raise NotAnEntry(replace(self, wrong={"role": str(error)})) from None


def _why_not(check: Callable[[], object]) -> str:
    try:
        check()
    except BadAddress as error:
        return str(error)
    return ""


def _one_of(text: str, known: list[str]) -> None:
    if text not in known:
        raise BadAddress(f"{text!r} is none of {', '.join(filter(None, known))}")


def _time(text: str) -> datetime | None:
    """What the field says, in UTC. Raises BadAddress."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadAddress(f"{text!r} is no time; write it like 2026-07-01T12:00, in UTC") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
