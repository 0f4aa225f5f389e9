"""A book that is being changed: a copy that is changed in place and given back as a new book, with what is stored.

One copy for however many transitions come at once. What changes it and how is decided elsewhere (`membership`,
`telling`, `summaries`); a draft keeps the indexes true and notes all that the state store must know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tocsin.incidents.book import Book, Decided, File, Outcome
from tocsin.incidents.calls import Withdrawal
from tocsin.incidents.storms import Level, Storm
from tocsin.incidents.told import Hidden, Told
from tocsin.model import Alert, Incident, IncidentState, Notification, Silence


class Draft:
    """The files, indexes, silences, storms and budgets as they become."""

    def __init__(self, book: Book, now: datetime) -> None:
        self.plan = book.plan
        self.now = now
        self.files = dict(book.files)
        self.by_group = dict(book.by_group)
        self.by_alert = dict(book.by_alert)
        self.silences = dict(book.silences)
        self.storms = dict(book.storms)
        self.levels = dict(book.levels)
        self.hidden = dict(book.hidden)
        self.restored_at = book.restored_at
        self.touched: dict[str, None] = {}
        """Incidents that are looked at when all that happened is in."""
        self.changes: dict[str, dict[str, Alert]] = {}
        """Incident → its members that changed, by alert id."""
        self.joins: set[str] = set()
        """Incidents that an alert has joined: what ended reopens."""
        self.sampled: dict[str, datetime] = {}
        """Incident → the newest sample that its changes are made of."""
        self.why: dict[str, dict[str, str]] = {}
        """Incident → alert → why that ended, where it did not recover."""
        self.stirred: set[str] = set()
        """Storm summaries that may have something to say."""
        self._all_touched = False
        self._incidents: dict[str, Incident] = {}
        self._told: dict[tuple[str, str], Told] = {}
        self._untold: list[tuple[str, str]] = []
        self._dropped: list[tuple[str, str]] = []
        self._decisions: list[Decided] = []
        self._calls: list[Notification | Withdrawal] = []
        self._silences: list[Silence] = []
        self._storms: dict[str, Storm] = {}
        self._calmed: list[str] = []
        self._hidden: dict[tuple[str, str, str], Hidden] = {}

    # What is to be looked at -----------------------------------------------------------------------------------------

    def touch(self, incident: str) -> None:
        """Have the incident looked at."""
        self.touched[incident] = None

    def touch_open(self) -> None:
        """Have every open incident looked at."""
        for id, file in self.files.items():
            if file.incident.state is not IncidentState.RESOLVED:
                self.touch(id)

    def touch_children(self, alerts: Iterable[Alert]) -> None:
        """What waits for a parent is looked at when one begins, changes or ends."""
        if not self._all_touched and any(d.has_parent(a.labels) for d in self.plan.dependencies for a in alerts):
            self._all_touched = True
            self.touch_open()

    # Incidents and their members -------------------------------------------------------------------------------------

    def change(self, incident: str, alert: Alert) -> None:
        """Remember that a member changed; the incident is rebuilt once, however many did."""
        self.changes.setdefault(incident, {})[alert.id] = alert
        self.touch(incident)
        self.touch_children((alert,))

    def is_changed(self, incident: str) -> bool:
        """True when the incident became another in this draft."""
        return incident in self._incidents

    def keep(self, file: File) -> None:
        """The file as it became, and its incident, which changed."""
        self.files[file.incident.id] = file
        self._incidents[file.incident.id] = file.incident

    def put(self, incident: Incident) -> None:
        """The incident as a person changed it."""
        self.keep(replace(self.files[incident.id], incident=incident))
        self.touch(incident.id)
        self.touch_children(incident.members)

    def add_holder(self, alert: str, incident: str) -> None:
        """The incident has the alert as a member."""
        if incident not in (known := self.by_alert.get(alert, ())):
            self.by_alert[alert] = (*known, incident)

    def remove_holder(self, alert: str, incident: str) -> None:
        """It has it no more."""
        left = tuple(holder for holder in self.by_alert.get(alert, ()) if holder != incident)
        if left:
            self.by_alert[alert] = left
        else:
            self.by_alert.pop(alert, None)

    def drop_member(self, incident: str, alert: str) -> None:
        """An ended member that is kept no longer."""
        self._dropped.append((incident, alert))
        self.remove_holder(alert, incident)

    def close(self, id: str) -> None:
        """Out of the book; the incident's history stays in the state store."""
        file = self.files.pop(id)
        key = (file.incident.route, file.incident.group)
        if self.by_group.get(key) == id:
            del self.by_group[key]
        for alert in file.alerts:
            self.remove_holder(alert, id)

    # What destinations know ------------------------------------------------------------------------------------------

    def note_told(self, told: Told) -> None:
        """To be stored: the destination knows this. The file is the caller's to change."""
        self._told[told.incident, told.notifier] = told

    def set_told(self, told: Told) -> None:
        """The destination knows this, if it belongs to the incident and knew something else."""
        file = self.files.get(told.incident)
        if file is None or file.told.get(told.notifier) in (None, told):
            return
        self.files[told.incident] = replace(file, told={**file.told, told.notifier: told})
        self.note_told(told)

    def forget_told(self, incident: str, notifiers: Iterable[str]) -> None:
        """Destinations that are not configured any more, their debt taken over."""
        self._untold += [(incident, name) for name in notifiers]

    def decided(self, decided: Decided) -> None:
        self._decisions.append(decided)

    def call(self, *calls: Notification | Withdrawal) -> None:
        """For the outbox, in this order."""
        self._calls += calls

    # Silences, budgets and storms ------------------------------------------------------------------------------------

    def put_silence(self, silence: Silence) -> None:
        """A silence that is new, or other than before."""
        self.silences[silence.id] = silence
        self._silences.append(silence)

    def hide(self, entry: Hidden) -> None:
        """A silence keeps a beginning from a destination; that it does is noted once."""
        of = self.hidden.get(entry.silence, {})
        before = of.get(entry.incident, ())
        if all(each.notifier != entry.notifier for each in before):
            self.hidden[entry.silence] = {**of, entry.incident: (*before, entry)}
            self._hidden[entry.silence, entry.incident, entry.notifier] = entry

    def is_hidden(self, incident: str) -> bool:
        """True while it is to be told that a silence hid it."""
        return any(incident in of for of in self.hidden.values())

    def revealed(self, entry: Hidden) -> None:
        """It is told that a silence hid this."""
        self.hidden.pop(entry.silence, None)
        self._hidden[entry.silence, entry.incident, entry.notifier] = entry
        self.touch(entry.incident)

    def level(self, notifier: str) -> Level:
        """What is left of the destination's budget."""
        budget = self.plan.destination(notifier).budget
        level = self.levels.get(notifier)
        return Level.full(budget, self.now) if level is None else level.now(budget, self.now)

    def spend(self, notifier: str) -> None:
        """The destination gets a first message."""
        self.levels[notifier] = self.level(notifier).spent()

    def put_storm(self, storm: Storm) -> None:
        """A summary as it became."""
        self._storms[storm.id] = self.storms[storm.id] = storm

    def move_storm(self, storm: Storm) -> None:
        """Its summary is somewhere else: what was edited into the old one is edited into the new."""
        self.storms[storm.id] = storm
        self.stirred.add(storm.id)

    def calm(self, storm: Storm) -> None:
        """A summary that is over."""
        del self.storms[storm.id]
        self._storms.pop(storm.id, None)
        self._calmed.append(storm.id)

    # What came of it -------------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        """The next book, and what is stored with it."""
        members = ((id, alert) for id, changed in self.changes.items() for alert in changed.values())
        dropped = set(self._dropped)
        return Outcome(
            book=Book(
                plan=self.plan,
                files=self.files,
                by_group=self.by_group,
                by_alert=self.by_alert,
                silences=self.silences,
                storms=self.storms,
                levels=self.levels,
                hidden=self.hidden,
                restored_at=self.restored_at,
            ),
            incidents=tuple(self._incidents.values()),
            members=tuple((id, alert) for id, alert in members if (id, alert.id) not in dropped),
            dropped=tuple(self._dropped),
            told=tuple(self._told.values()),
            untold=tuple(self._untold),
            decisions=tuple(self._decisions),
            calls=tuple(self._calls),
            silences=tuple(self._silences),
            storms=tuple(self._storms.values()),
            calmed=tuple(self._calmed),
            hidden=tuple(self._hidden.values()),
        )
