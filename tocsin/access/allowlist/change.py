"""What may be changed, and by whom: pure, run inside the transaction that stores it.

Nobody removes the last admin, and nobody ends or lessens their own access: whoever does either by mistake can't mend
it. Both are asked of the outcome and not of the operation, so a deny, an expiry, a smaller role or an import that
would do it is refused like a removal. On the host `tocsin allowlist … --break-glass` is not asked.

Each change gives the lines that the audit keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tocsin.access.allowlist.address import Folding
from tocsin.access.allowlist.entry import Effect, Entry, Kind, Role, rank
from tocsin.access.allowlist.roll import Listed, Roll
from tocsin.errors import TocsinError


class ChangeRefused(TocsinError):
    """The list stays as it is; the message says why, and what would do."""


@dataclass(frozen=True, slots=True)
class Put:
    """Add entries, or change those of the same value: all of them or none."""

    entries: tuple[Entry, ...]
    only_new: bool = False
    """Refuse when one is there already."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Take entries out."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expire:
    """Let entries end at a moment; they stay on the list, for who looks for them later."""

    values: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Replace:
    """The list becomes these entries: what is not among them is taken out."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """Ignore plus tags, or Gmail's dots, or no longer."""

    folding: Folding


@dataclass(frozen=True, slots=True)
class Purge:
    """Forget the signing keys, and every token that was proven with them, in every process that reads the list.

    No entry changes. It travels with the list because that reaches every process, and within two seconds.
    """


Change = Put | Expire | Remove | Replace | Fold | Purge


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditLine:
    """Who did what to which entry."""

    at: datetime
    actor: str
    action: str
    """add, change, remove, fold, purge; with `!` where the guards were not asked."""
    value: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def apply(
    change: Change, listed: Listed, actor: str, now: datetime, *, guarded: bool = True
) -> tuple[Listed, tuple[AuditLine, ...]]:
    """(the list after it, what the audit keeps). Raises ChangeRefused. An actor with an `@` is somebody on the list."""
    after = _changed(change, listed)
    if guarded:
        _keep_an_admin(listed, after, now)
        _keep_self(listed, after, actor, now)
    return after, tuple(_lines(listed, after, actor, now, "" if guarded else "!"))


def _changed(change: Change, listed: Listed) -> Listed:
    entries = {entry.value: entry for entry in listed.entries}
    match change:
        case Put(wanted, only_new):
            there = [entry.value for entry in wanted if entry.value in entries]
            if only_new and there:
                raise ChangeRefused(f"{', '.join(there)} on the list already: nothing was added; change or remove it")
            _put(entries, wanted)
        case Expire(values, at):
            for value in values:
                entries[value] = replace(_there(entries, value), expires_at=at)
        case Remove(values):
            for value in values:
                del entries[_there(entries, value).value]
        case Replace(wanted):
            kept = {entry.value for entry in wanted}
            entries = {value: entry for value, entry in entries.items() if value in kept}
            _put(entries, wanted)
        case Fold(folding):
            return replace(listed, folding=folding)
        case Purge():
            return replace(listed, purges=listed.purges + 1)
    return replace(listed, entries=tuple(entries.values()))


def _there(entries: Mapping[str, Entry], value: str) -> Entry:
    if value not in entries:
        raise ChangeRefused(f"{value} is not on the list; see: tocsin allowlist list")
    return entries[value]


def _put(entries: dict[str, Entry], wanted: Iterable[Entry]) -> None:
    """Who added one first, and when it was last used, outlive a change."""
    for entry in wanted:
        known = entries.get(entry.value)
        if known is not None:
            entry = replace(entry, added_by=known.added_by, added_at=known.added_at, last_seen_at=known.last_seen_at)
        entries[entry.value] = entry


def _admins(listed: Listed, now: datetime) -> tuple[set[str], set[str]]:
    """(all who are admins now, those of them who stay so)."""
    roll = Roll(listed)
    names = {
        entry.value
        for entry in listed.entries
        if entry.kind is Kind.EMAIL and entry.effect is Effect.ALLOW and entry.role is Role.ADMIN
    }
    rulings = {name: roll.ruling(name, now) for name in names}
    current = {name for name, ruling in rulings.items() if ruling.allowed and ruling.role is Role.ADMIN}
    return current, {
        name for name in current if (entry := rulings[name].entry) is not None and entry.expires_at is None
    }


def _keep_an_admin(before: Listed, after: Listed, now: datetime) -> None:
    had, has = _admins(before, now), _admins(after, now)
    if (had[0] and not has[0]) or (had[1] and not has[1]):
        last = ", ".join(sorted(had[1] or had[0]))
        raise ChangeRefused(f"that would leave no lasting admin ({last} is the last): make another one first")


def _keep_self(before: Listed, after: Listed, actor: str, now: datetime) -> None:
    if "@" not in actor:
        return
    had, has = Roll(before).ruling(actor, now), Roll(after).ruling(actor, now)
    if not had.allowed:
        return
    if not has.allowed or rank(has.role) < rank(had.role) or _end(has.entry) < _end(had.entry):
        raise ChangeRefused("that would end or lessen your own access: ask another admin to do it")


def _end(entry: Entry | None) -> float:
    return entry.expires_at.timestamp() if entry is not None and entry.expires_at is not None else float("inf")


def _lines(before: Listed, after: Listed, actor: str, now: datetime, mark: str) -> Iterator[AuditLine]:
    old, new = ({entry.value: entry for entry in listed.entries} for listed in (before, after))
    for value in sorted(old.keys() | new.keys()):
        was, is_ = old.get(value), new.get(value)
        if was != is_:
            action = "add" if was is None else "remove" if is_ is None else "change"
            yield AuditLine(
                at=now, actor=actor, action=action + mark, value=value,
                before=was.document() if was else None, after=is_.document() if is_ else None,
            )  # fmt: skip
    if before.folding != after.folding:
        was_folded, is_folded = ({"plus": f.plus, "dots": f.dots} for f in (before.folding, after.folding))
        yield AuditLine(at=now, actor=actor, action="fold" + mark, value="", before=was_folded, after=is_folded)
    if before.purges != after.purges:
        yield AuditLine(at=now, actor=actor, action="purge" + mark, value="signing keys", before=None, after=None)
