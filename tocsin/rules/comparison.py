"""Two accounts of the same past beside each other: which pages are gone, new, earlier or later, and what is missed.

An incident that was paged before is *found again* where the other rules page about the same thing at about the same
time: their incidents overlap (or lie within `NEAR` of each other), and they have an alert's name in common, or labels
other than that (service, instance, …) of which none differs. What is not found again is missed, unless it ended by
itself within `brief`, if that is given: then it counts as noise that is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tocsin.model import Alert, Labels

from .backtest import Account, Case, Message

NEAR: Final = timedelta(minutes=5)
_NOT_ABOUT: Final = ("alertname", "severity", "job")
"""Labels that don't say what an alert is about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """An incident that both page about."""

    before: Case
    after: Case
    by: timedelta
    """How much later its first page comes; negative: earlier."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the new rules change."""

    before: Account
    after: Account
    missed: tuple[Case, ...]
    """Paged before, and not any more."""
    noise: tuple[Case, ...]
    """The same, of those that ended by themselves within `brief`."""
    folded: tuple[Moved, ...]
    """Now part of an incident that was paged about already."""
    earlier: tuple[Moved, ...]
    later: tuple[Moved, ...]
    same: tuple[Moved, ...]
    new: tuple[Case, ...]
    """Paged only with the new rules."""

    @property
    def gone(self) -> tuple[Case, ...]:
        """Paged before, and not any more, for whatever reason."""
        return tuple(sorted((*self.missed, *self.noise), key=_opened))


def compare(before: Account, after: Account, *, brief: timedelta = timedelta(0)) -> Comparison:
    """What `after` has otherwise than `before`. `brief`: what ended sooner than that may go."""
    candidates = [case for case in after.cases if case.pages]
    missed: list[Case] = []
    noise: list[Case] = []
    moved: dict[str, list[Moved]] = {"folded": [], "earlier": [], "later": [], "same": []}
    used: set[str] = set()
    found: set[str] = set()
    for case in sorted(before.paged, key=_opened):
        others = [other for other in candidates if _overlap(case, other) and same_matter(case, other)]
        if not others:
            lasted = _lasted(case)
            (noise if lasted is not None and lasted < brief else missed).append(case)
            continue
        found.update(other.incident.id for other in others)
        free = [other for other in others if other.incident.id not in used]
        nearest = min(free or others, key=lambda other: abs(_shift(case, other)))
        used.add(nearest.incident.id)
        by = _shift(case, nearest)
        kind = "folded" if not free else "earlier" if by < timedelta(0) else "later" if by else "same"
        moved[kind].append(Moved(before=case, after=nearest, by=by))
    new = [case for case in after.paged if case.incident.id not in found]
    return Comparison(
        before=before,
        after=after,
        missed=tuple(missed),
        noise=tuple(noise),
        folded=tuple(moved["folded"]),
        earlier=tuple(moved["earlier"]),
        later=tuple(moved["later"]),
        same=tuple(moved["same"]),
        new=tuple(sorted(new, key=_opened)),
    )


def same_matter(one: Case, other: Case) -> bool:
    """True when some alert of the one may be about the same thing as some alert of the other."""
    return any(_same(mine, theirs) for mine in one.incident.members for theirs in other.incident.members)


def _same(one: Alert, other: Alert) -> bool:
    mine, theirs = (_about(alert.labels) for alert in (one, other))
    shared = set(mine) & set(theirs)
    if any(mine[name] != theirs[name] for name in shared):
        return False
    return one.name == other.name or bool(shared)


def _about(labels: Labels) -> Labels:
    return labels.without(*_NOT_ABOUT)


def _overlap(one: Case, other: Case) -> bool:
    return _begins(one) <= _ends(other) and _begins(other) <= _ends(one)


def _begins(case: Case) -> datetime:
    return case.incident.opened_at


def _ends(case: Case) -> datetime:
    ended = case.incident.resolved_at
    return datetime.max.replace(tzinfo=case.incident.opened_at.tzinfo) if ended is None else ended + NEAR


def _shift(case: Case, other: Case) -> timedelta:
    return _first(other.pages) - _first(case.pages)


def _first(pages: Sequence[Message]) -> datetime:
    return min(page.at for page in pages)


def _lasted(case: Case) -> timedelta | None:
    """How long it lasted; None while it lasts."""
    ended = case.incident.resolved_at
    return None if ended is None else ended - case.incident.opened_at


def _opened(case: Case) -> tuple[datetime, str]:
    return case.incident.opened_at, case.incident.id
