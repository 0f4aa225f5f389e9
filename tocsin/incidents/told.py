"""What each destination knows of an incident, and what a destination can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tocsin.model import IncidentState, Seconds, Severity


class Via(StrEnum):
    """How a destination was told first."""

    NOTHING = "nothing"
    POST = "post"
    """A message of its own, which is edited and has a thread."""
    DIGEST = "digest"
    STORM = "storm"
    """A line of a storm summary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What one destination knows of one incident, or is about to: a call counts as soon as it is queued.

    That is what makes resolution debt safe: whoever may have been told "firing" is here, delivered or not.
    """

    incident: str
    notifier: str
    via: Via = Via.NOTHING
    post: str = ""
    """The id of the notification that told it."""
    at: datetime | None = None
    """When that was decided; of a digest or storm, when it was told there last."""
    revision: int = 0
    """The incident's revision that it knows."""
    severity: Severity = Severity.P3
    """The worst that it was told."""
    state: IncidentState = IncidentState.OPEN
    """Resolved once the end was told; open again once it was told that it fires again."""
    delta_at: datetime | None = None
    """The thread knows who joined and left until then."""
    edit_at: datetime | None = None
    """When the newest edit is, or was, to go out."""
    edits_paid: datetime | None = None
    """Until when the edits so far would have lasted at their usual pace (calls.EDIT_EVERY)."""
    escalated: int = 0
    """Steps of the route's escalation that were taken."""
    reminded_at: datetime | None = None
    reminders: int = 0
    owed: str = ""
    """It takes over the debt of this notifier, which is not configured any more."""

    @property
    def ended(self) -> bool:
        return self.state is IncidentState.RESOLVED


@dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """A beginning that a silence kept from a destination."""

    silence: str
    incident: str
    notifier: str
    at: datetime
    told_at: datetime | None = None
    """When the silence had ended, and that it hid this was to be told; None: it holds."""
    told_by: str = ""
    """The notification that told it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """What destinations know otherwise than the book thinks: delivery tells, `incidents.heard` listens."""

    told: tuple[Told, ...] = ()
    """A destination that was told in another's stead, or whose first message was taken back."""
    gone: tuple[tuple[str, str], ...] = ()
    """(incident, notifier) of destinations that refused: they get nothing more of it."""
    storms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(storm, the destinations that its summary is at now)."""

    def __bool__(self) -> bool:
        return bool(self.told or self.gone or self.storms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How many new messages a destination may get: `burst` at once, and then one more every `every` seconds.

    P0 may go `reserve` below zero, so that a flood of lesser incidents never holds a page back.
    """

    burst: float = 10.0
    every: Seconds = 30.0
    reserve: float = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A notifier as policy sees it."""

    name: str
    edits: bool = False
    """It can edit and thread. Where not, it gets no edits and no thread replies."""
    failover: str | None = None
    budget: Budget = Budget()


def by_silence(entries: Iterable[Hidden]) -> dict[str, Mapping[str, tuple[Hidden, ...]]]:
    """As a book keeps them: by silence and incident."""
    found: dict[str, dict[str, tuple[Hidden, ...]]] = {}
    for entry in entries:
        of = found.setdefault(entry.silence, {})
        of[entry.incident] = (*of.get(entry.incident, ()), entry)
    return dict(found)
