"""The book: every incident that is open or may reopen, and what each destination was told of it.

A `Book` is immutable: an entry point of `tocsin.incidents.desk` takes one and gives the next. `Outcome` is what must
be stored with it in one transaction: the incidents that changed, what was decided and why, and what is to be sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain

from tocsin.incidents.calls import Withdrawal
from tocsin.incidents.dependencies import Dependency
from tocsin.incidents.grouping import Key
from tocsin.incidents.routes import Route, Router
from tocsin.incidents.storms import Level, Storm
from tocsin.incidents.told import Destination, Hidden, Told, by_silence
from tocsin.incidents.windows import Window
from tocsin.model import Alert, AlertState, Decision, Incident, IncidentState, Mention, Notification, Silence


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The configuration as policy sees it. A reload makes another."""

    router: Router
    destinations: Mapping[str, Destination]
    contacts: Mapping[str, tuple[Mention, ...]] = field(default_factory=dict)
    """Names that an escalation may use → whom they wake. A notifier's name may be used too."""
    windows: tuple[Window, ...] = ()
    dependencies: tuple[Dependency, ...] = ()

    def destination(self, name: str) -> Destination:
        """The destination; one that is not configured can nothing but be posted to, and its rows wait."""
        return self.destinations.get(name) or Destination(name=name)

    def route_of(self, incident: Incident) -> Route:
        """The route it was opened by, or the one that its worst member would take today."""
        known = self.router.named(incident.route)
        if known is not None or not incident.members:
            return known or self.router.fallback
        member = min(incident.members, key=lambda alert: alert.severity.rank)
        return self.router.routes_of(member.labels)[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One incident and all that policy knows of it."""

    incident: Incident
    alerts: Mapping[str, Alert]
    """By id, in the order they joined; the incident's members."""
    told: Mapping[str, Told]
    """By notifier. A destination is here from the incident's beginning, told or not."""
    last: Mapping[str, Decision] = field(default_factory=dict)
    """The last decision, by notifier."""
    look: datetime | None = None
    """When `tick` looks at it again."""


@dataclass(frozen=True, kw_only=True)
class Book:
    """All of it. Mappings are not changed once they are in here."""

    plan: Plan
    files: Mapping[str, File] = field(default_factory=dict)
    """By incident id."""
    by_group: Mapping[Key, str] = field(default_factory=dict)
    """Route and group → the incident that is open, or may reopen."""
    by_alert: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Alert id → the incidents that have it as a member."""
    silences: Mapping[str, Silence] = field(default_factory=dict)
    storms: Mapping[str, Storm] = field(default_factory=dict)
    """Summaries that are not over, by id."""
    levels: Mapping[str, Level] = field(default_factory=dict)
    """What is left of each destination's budget."""
    hidden: Mapping[str, Mapping[str, tuple[Hidden, ...]]] = field(default_factory=dict)
    """What silences hide, by silence and incident, until that was told."""
    restored_at: datetime | None = None
    """When the daemon started with what the state store had; None: nothing was restored."""

    @property
    def open(self) -> tuple[Incident, ...]:
        """The incidents that have not ended."""
        return tuple(f.incident for f in self.files.values() if f.incident.state is not IncidentState.RESOLVED)

    def strangers(self) -> frozenset[str]:
        """Notifiers that were told something and are not configured any more."""
        return frozenset({name for file in self.files.values() for name in file.told} - set(self.plan.destinations))

    @property
    def next_look(self) -> datetime | None:
        """When `tick` has something to do, if nothing happens before."""
        looks = (file.look for file in self.files.values() if file.look is not None)
        return min(chain(looks, (self.silences[id].ends_at for id in self.hidden)), default=None)


def told_of(files: Iterable[File]) -> Iterator[Alert]:
    """The alerts that somebody is told of, or was until they ended: what may explain others."""
    for file in files:
        if file.told:
            ended = file.incident.state is IncidentState.RESOLVED
            yield from (a for a in file.alerts.values() if not ended or a.state is AlertState.RESOLVED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A decision as it is kept: about which incident, for whom, when."""

    incident: str
    notifier: str
    decision: Decision
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it: the next book, and what is stored with it."""

    book: Book
    incidents: tuple[Incident, ...] = ()
    """Changed ones, as they are now."""
    members: tuple[tuple[str, Alert], ...] = ()
    """(incident id, alert) of members that joined or changed."""
    dropped: tuple[tuple[str, str], ...] = ()
    """(incident id, alert id) of ended members that are no longer kept."""
    told: tuple[Told, ...] = ()
    untold: tuple[tuple[str, str], ...] = ()
    """(incident id, notifier) of destinations that are not configured any more, their debt taken over."""
    decisions: tuple[Decided, ...] = ()
    """What was decided anew: every action, and each hold whose reason is another than before."""
    calls: tuple[Notification | Withdrawal, ...] = ()
    """For the outbox, in this order."""
    silences: tuple[Silence, ...] = ()
    storms: tuple[Storm, ...] = ()
    """Storm summaries, as they are now."""
    calmed: tuple[str, ...] = ()
    """Ids of storm summaries that are over."""
    hidden: tuple[Hidden, ...] = ()
    """What silences hid, or was told of it."""

    @property
    def next_look(self) -> datetime | None:
        """When `tick` has something to do, if nothing happens before."""
        return self.book.next_look

    @property
    def queue(self) -> tuple[Notification, ...]:
        """What is to be sent, whatever becomes of withdrawals."""
        return tuple(call for call in self.calls if isinstance(call, Notification))

    @property
    def withdraw(self) -> tuple[Withdrawal, ...]:
        return tuple(call for call in self.calls if isinstance(call, Withdrawal))

    @property
    def empty(self) -> bool:
        """Nothing to store."""
        return not (
            self.incidents or self.members or self.dropped or self.told or self.untold or self.decisions
            or self.calls or self.silences or self.storms or self.calmed or self.hidden
        )  # fmt: skip


def restore(
    plan: Plan,
    files: Iterable[tuple[Incident, Mapping[str, Told]]],
    silences: Iterable[Silence],
    now: datetime,
    storms: Iterable[Storm] = (),
    hidden: Iterable[Hidden] = (),
) -> Book:
    """The book after a restart. Everything is looked at by the next `tick`: what was owed is still owed."""
    made = {silence.id: silence for silence in silences}
    book = Book(
        plan=plan,
        silences=made,
        storms={storm.id: storm for storm in storms},
        hidden=by_silence(entry for entry in hidden if entry.silence in made),
        restored_at=now,
    )
    return adopt(book, files, now)


def adopt(book: Book, files: Iterable[tuple[Incident, Mapping[str, Told]]], now: datetime) -> Book:
    """The book with incidents that the store has and it has not. The next `tick` looks at them."""
    kept, by_group, by_alert = dict(book.files), dict(book.by_group), dict(book.by_alert)
    for incident, told in files:
        alerts = {alert.id: alert for alert in incident.members}
        kept[incident.id] = File(incident=incident, alerts=alerts, told=dict(told), look=now)
        key = (incident.route, incident.group)
        rival = kept.get(by_group.get(key, ""))
        if rival is None or rival.incident.opened_at < incident.opened_at:
            by_group[key] = incident.id
        for alert in alerts:
            by_alert[alert] = (*by_alert.get(alert, ()), incident.id)
    return replace(book, files=kept, by_group=by_group, by_alert=by_alert)
