"""Storm control: each destination has a budget of new messages; past it, one summary counts the rest.

A destination may get `Budget.burst` first messages at once, and one more every `Budget.every` seconds. P0 may go
`Budget.reserve` below, so that a flood of lesser incidents never holds a page back. An incident that finds no budget is
folded into the destination's storm summary, which states its own counts, is edited as they change, and ends in its
thread when the last of them has ended. Nothing is dropped: whoever reads the summary is told of every one.

A summary takes in more until none came for `CALM`; what comes later opens another, because an edit rings nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tocsin.durations import format_duration
from tocsin.incidents.calls import EDIT_EVERY
from tocsin.incidents.context import PAGE
from tocsin.incidents.told import Budget
from tocsin.model import (
    Action,
    Incident,
    IncidentState,
    Mention,
    Notification,
    Reason,
    Severity,
    Timeline,
    since,
)

CALM: Final = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How much of a destination's budget is left."""

    tokens: float
    at: datetime
    posted: int = 0
    """First messages since the budget was whole."""

    @classmethod
    def full(cls, budget: Budget, now: datetime) -> Level:
        return cls(tokens=budget.burst, at=now)

    def now(self, budget: Budget, now: datetime) -> Level:
        """With what has come back since."""
        back = since(self.at, now).total_seconds() / budget.every
        tokens = min(budget.burst, self.tokens + back)
        return Level(tokens=tokens, at=now, posted=0 if tokens >= budget.burst else self.posted)

    def spent(self) -> Level:
        return replace(self, tokens=self.tokens - 1, posted=self.posted + 1)

    def until(self, budget: Budget, voice: Severity) -> datetime | None:
        """When there is a message for an incident of severity `voice`; None: now."""
        needed = 1 - (budget.reserve if voice is Severity.P0 else 0)
        if self.tokens >= needed - 1e-9:
            return None
        return self.at + timedelta(seconds=(needed - self.tokens) * budget.every)


@dataclass(frozen=True, kw_only=True, slots=True)
class Storm:
    """One summary at one destination."""

    id: str
    notifier: str
    opened_at: datetime
    folded_at: datetime
    """When the last incident was taken in."""
    incidents: tuple[str, ...]
    """In the order they came; the first one gives the message its identity."""
    posted: int
    """First messages of their own that incidents had before."""
    tells: tuple[str, ...]
    """Where its calls go: its notifier, or those that took over when that did not deliver."""
    severity: Severity
    """The worst that was told."""
    revision: int = 1
    edit_at: datetime | None = None

    def takes(self, now: datetime) -> bool:
        """True while another incident may be folded into it."""
        return now < self.folded_at + CALM


def opened(notifier: str, incidents: Sequence[Incident], severity: Severity, posted: int, now: datetime) -> Storm:
    """A new summary; its id is the same for the same storm on every replay.

    And another than that of a storm which ended in this very instant: the first incident has been revised since.
    """
    seed = f"{notifier}\xff{now.isoformat()}\xff{incidents[0].id}\xff{incidents[0].revision}"
    ids = tuple(incident.id for incident in incidents)
    return Storm(
        id=f"storm-{hashlib.blake2b(seed.encode('utf-8', 'surrogatepass'), digest_size=5).hexdigest()}",
        notifier=notifier, opened_at=now, folded_at=now, incidents=ids, posted=posted, severity=severity,
        tells=(notifier,),
    )  # fmt: skip


def grown(storm: Storm, ids: Iterable[str], now: datetime) -> Storm:
    """With more incidents."""
    more = tuple(id for id in ids if id not in set(storm.incidents))
    return replace(storm, incidents=(*storm.incidents, *more), folded_at=now) if more else storm


def text(storm: Storm, incidents: Sequence[Incident], now: datetime) -> str:
    """`12 incidents in 4m: 10 posts sent, 2 folded in here, 0 dropped; 1 of the 2 is over`."""
    count, over = len(incidents), sum(incident.state is IncidentState.RESOLVED for incident in incidents)
    total = count + storm.posted
    age = format_duration(round(since(min(i.opened_at for i in incidents), now).total_seconds()))
    said = (
        f"{total:,} incident{'' if total == 1 else 's'} in {age}: {storm.posted:,} posts sent, {count:,} folded in "
        "here, 0 dropped"
    )
    return f"{said}; {over:,} of the {count:,} {'is' if over == 1 else 'are'} over" if over else said


def calls(
    storm: Storm, action: Action, incidents: Sequence[Incident], now: datetime, mentions: tuple[Mention, ...] = ()
) -> tuple[Notification, ...]:
    """One call of the summary to each destination that it tells. An edit waits for its time."""
    late = storm.edit_at if action is Action.EDIT and storm.edit_at is not None else now
    what = f"broadcast.{storm.severity}" if action is Action.BROADCAST else action.value
    because, began = text(storm, incidents, now), min(incident.opened_at for incident in incidents)
    return tuple(
        Notification(
            id=f"{storm.id}:{notifier}:{what}:{storm.revision}", notifier=notifier, action=action,
            reason=Reason.OVER_BUDGET, because=because, incidents=tuple(incidents), created_at=now,
            not_before=max(late, now), mentions=mentions, timeline=Timeline(fault_at=began, decided_at=now),
        )
        for notifier in storm.tells
    )  # fmt: skip


def first(
    storm: Storm, incidents: Sequence[Incident], now: datetime, wakes: tuple[Mention, ...]
) -> tuple[Notification, ...]:
    """The summary's own message."""
    return calls(storm, Action.POST, incidents, now, wakes if storm.severity.rank <= PAGE.rank else ())


def next_calls(
    storm: Storm, incidents: Sequence[Incident], now: datetime, wakes: tuple[Mention, ...]
) -> tuple[Storm | None, tuple[Notification, ...]]:
    """What is said when one of its incidents changed → the storm then (None: it is over), and the calls."""
    worst = min((i.severity for i in incidents), key=lambda severity: severity.rank)
    told = replace(storm, revision=storm.revision + 1, severity=min(storm.severity, worst, key=lambda s: s.rank))
    if all(incident.state is IncidentState.RESOLVED for incident in incidents):
        told = replace(told, edit_at=now)
        return None, (*calls(told, Action.RESOLVE, incidents, now), *calls(told, Action.EDIT, incidents, now))
    edit_at = storm.edit_at or storm.opened_at
    told = replace(told, edit_at=edit_at if edit_at > now else max(now, edit_at + timedelta(seconds=EDIT_EVERY)))
    edits = calls(told, Action.EDIT, incidents, now)
    if worst.rank < storm.severity.rank and worst.rank <= PAGE.rank:
        return told, (*calls(told, Action.BROADCAST, incidents, now, wakes), *edits)
    return told, edits


def known(storms: Mapping[str, Storm], notifier: str, now: datetime) -> Storm | None:
    """The summary of `notifier` that takes in more, if there is one."""
    return next((storm for storm in storms.values() if storm.notifier == notifier and storm.takes(now)), None)
