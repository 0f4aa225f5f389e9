"""The entry points: each takes a book and what happened, and gives the outcome.

Inside, a `_Work` is a copy of the book that is changed in place and given back as a new book: one copy for however many
transitions come at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property

from tocsin.incidents.book import Book, Decided, File, Outcome, Plan, told_of
from tocsin.incidents.calls import Withdrawal, carry_out, digest, withdrawal
from tocsin.incidents.dependencies import Parents
from tocsin.incidents.grouping import forgotten, incident_id, new_incident, with_alerts
from tocsin.incidents.mutes import Hushing, hush, off_hours
from tocsin.incidents.policy import Context, decide, next_look
from tocsin.incidents.routes import Route
from tocsin.incidents.silences import in_force
from tocsin.incidents.storms import Level, Storm, first, grown, known, next_calls, opened
from tocsin.incidents.told import Correction, Told, Via
from tocsin.incidents.windows import open_windows
from tocsin.model import (
    Action,
    Alert,
    AlertState,
    Decision,
    Incident,
    IncidentState,
    Mention,
    Notification,
    Reason,
    Silence,
    Transition,
)


def react(book: Book, transitions: Iterable[Transition], now: datetime) -> Outcome:
    """Alerts began to fire, changed (frozen, thawed) or ended. Pending ones are no news."""
    work = _Work(book, now)
    for transition in transitions:
        work.take(transition)
    return work.outcome()


def tick(book: Book, now: datetime) -> Outcome:
    """What time alone brings about: whatever's `look` has come."""
    work = _Work(book, now)
    for id, file in book.files.items():
        if file.look is not None and file.look <= now:
            work.touch(id)
    return work.outcome()


def ack(book: Book, incident: str, by: str, now: datetime) -> Outcome:
    """`by` takes an open incident. Nothing changes for one that was taken or has ended. Raises KeyError."""
    found = book.files[incident].incident
    work = _Work(book, now)
    if found.state is IncidentState.OPEN:
        work.put(incident, found.changed(now, state=IncidentState.ACKED, acked_at=now, acked_by=by))
    return work.outcome()


def resolve(book: Book, incident: str, by: str, why: str, now: datetime) -> Outcome:
    """`by` closes an incident, whatever its alerts do. Raises KeyError."""
    found = book.files[incident].incident
    work = _Work(book, now)
    if found.state is not IncidentState.RESOLVED:
        said = f"{by} closed it" + (f": {why}" if why else "")
        work.put(incident, found.changed(now, state=IncidentState.RESOLVED, resolved_at=now, resolved_why=said))
    return work.outcome()


def silence(book: Book, silence: Silence, now: datetime) -> Outcome:
    """A silence is made, changed or ended early (its `ends_at` is now). What it hides is looked at at once."""
    work = _Work(book, now)
    work.silences[silence.id] = silence
    work.new_silences.append(silence)
    work.touch_open()
    return work.outcome()


def retire(book: Book, lives: Callable[[Alert], bool], now: datetime) -> Outcome:
    """After a reload: the members whose rule is gone have ended, and whoever was told of them is told so."""
    work = _Work(book, now)
    for id, file in book.files.items():
        gone = [alert for alert in file.alerts.values() if alert.state is AlertState.FIRING and not lives(alert)]
        for alert in gone:
            work.change(id, replace(alert, state=AlertState.RESOLVED, resolved_at=now))
        if gone:
            work.why[id] = "its rule was removed"
    return work.outcome()


def reconfigure(book: Book, plan: Plan, now: datetime, unheard: Collection[tuple[str, str]] = ()) -> Outcome:
    """A reload. What was told stays told; a notifier that is gone hands its debts to those of the route.

    `unheard`: (incident or storm, notifier) of whom the end waits in the outbox, so that it is a debt still.
    """
    work = _Work(replace(book, plan=plan), now)
    for id, file in book.files.items():
        if set(file.told) - set(plan.destinations):
            work.hand_over(id, unheard)
        work.touch(id)
    return work.outcome()


def heard(book: Book, correction: Correction, now: datetime) -> Outcome:
    """Delivery told somebody else (fail-over), or took a first message back: what destinations know is corrected."""
    work = _Work(book, now)
    for entry in correction.told:
        if (file := work.files.get(entry.incident)) is not None:
            work.files[entry.incident] = replace(file, told={**file.told, entry.notifier: entry})
            work.touch(entry.incident)
    for id, tells in correction.storms:
        if (storm := work.storms.get(id)) is not None:
            work.move_storm(replace(storm, tells=tells))
    for incident, notifier in correction.gone:
        if (file := work.files.get(incident)) is not None:
            told = {name: entry for name, entry in file.told.items() if name != notifier}
            work.files[incident] = replace(file, told=told)
            work.touch(incident)
    return work.outcome()


class _Work:
    """A book that is being changed."""

    def __init__(self, book: Book, now: datetime) -> None:
        self.plan = book.plan
        self.now = now
        self.files = dict(book.files)
        self.by_group = dict(book.by_group)
        self.by_alert = dict(book.by_alert)
        self.silences = dict(book.silences)
        self.storms = dict(book.storms)
        self.levels = dict(book.levels)
        self.restored_at = book.restored_at
        self._all_touched = False
        self.new_silences: list[Silence] = []
        self.told: dict[tuple[str, str], Told] = {}
        self.why: dict[str, str] = {}
        self._changes: dict[str, dict[str, Alert]] = {}
        self._joins: set[str] = set()
        self._sampled: dict[str, datetime] = {}
        self._touched: dict[str, None] = {}
        self._incidents: dict[str, Incident] = {}
        self._dropped: list[tuple[str, str]] = []
        self._untold: list[tuple[str, str]] = []
        self._decisions: list[Decided] = []
        self._calls: list[Notification | Withdrawal] = []
        self._digests: dict[str, list[tuple[Incident, Decision]]] = {}
        self._folded: dict[str, list[str]] = {}
        self._stirred: set[str] = set()
        self._storms: dict[str, Storm] = {}
        self._calmed: list[str] = []

    # What happened ---------------------------------------------------------------------------------------------------

    def take(self, transition: Transition) -> None:
        """One transition: into the incidents that have the alert, or those that its routes give."""
        alert, id = transition.alert, transition.alert.id
        if alert.state is AlertState.PENDING:
            return
        holders = [holder for holder in self.by_alert.get(id, ()) if self._holds(holder, id)]
        if alert.state is AlertState.FIRING and not holders:
            holders = [self._opened(route, alert) for route in self.plan.router.routes_of(alert.labels)]
            self._joins.update(holders)
            for holder in holders:
                if holder not in (known := self.by_alert.get(id, ())):
                    self.by_alert[id] = (*known, holder)
        for holder in holders:
            self.change(holder, alert)
            if transition.sampled_at is not None:
                self._sampled[holder] = max(transition.sampled_at, self._sampled.get(holder, transition.sampled_at))

    def _holds(self, incident: str, alert: str) -> bool:
        """True while the alert fires as a member of the incident, and that has not been closed."""
        if (pending := self._changes.get(incident, {}).get(alert)) is not None:
            return pending.state is AlertState.FIRING
        file = self.files.get(incident)
        if file is None or file.incident.state is IncidentState.RESOLVED or alert not in file.alerts:
            return False
        return file.alerts[alert].state is AlertState.FIRING

    def _opened(self, route: Route, alert: Alert) -> str:
        """The incident of the alert's group in `route`: open, reopened within its flap window, or new."""
        group = route.group_of(alert.labels)
        found = self.by_group.get((route.name, group))
        if found is not None:
            file = self.files.get(found)
            if file is None or file.incident.resolved_at is None:
                return found
            if self.now < file.incident.resolved_at + timedelta(seconds=route.flap_seconds):
                return found
        id = incident_id(route.name, group, self.now, lambda id: id in self.files or id in self._changes)
        self.by_group[route.name, group] = id
        return id

    def change(self, incident: str, alert: Alert) -> None:
        """Remember that a member changed; `outcome` rebuilds the incident once, however many did."""
        self._changes.setdefault(incident, {})[alert.id] = alert
        self.touch(incident)
        self._touch_children((alert,))

    def _touch_children(self, alerts: Iterable[Alert]) -> None:
        """What waits for a parent is looked at when one begins, changes or ends."""
        if not self._all_touched and any(d.has_parent(a.labels) for d in self.plan.dependencies for a in alerts):
            self._all_touched = True
            self.touch_open()

    def touch(self, incident: str) -> None:
        self._touched[incident] = None

    def touch_open(self) -> None:
        for id, file in self.files.items():
            if file.incident.state is not IncidentState.RESOLVED:
                self.touch(id)

    def put(self, id: str, incident: Incident) -> None:
        """The incident as a person changed it."""
        self.files[id] = replace(self.files[id], incident=incident)
        self._incidents[id] = incident
        self.touch(id)
        self._touch_children(incident.members)

    def hand_over(self, id: str, unheard: Collection[tuple[str, str]]) -> None:
        """Destinations that are gone leave the file; those of the route today take over what was owed."""
        file = self.files[id]
        gone = {name: told for name, told in file.told.items() if name not in self.plan.destinations}
        told = {name: entry for name, entry in file.told.items() if name not in gone}
        owes = (
            name
            for name, entry in gone.items()
            if (entry.post, name) in unheard
            or (entry.via is not Via.NOTHING and (not entry.ended or (id, name) in unheard))
        )
        owed = next(owes, "")
        if owed or not told:
            for name in self.plan.route_of(file.incident).receivers:
                if name not in told:
                    heir = Told(incident=id, notifier=name, owed=owed)
                    told[name] = self.told[id, name] = heir
        self._untold += [(id, name) for name in gone]
        self.files[id] = replace(file, told=told)

    # What comes of it ------------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        members = [(id, alert) for id, changed in self._changes.items() for alert in changed.values()]
        for id in self._changes:
            self._rebuild(id)
        # The worst first: they have the first claim to a destination's budget.
        for id in sorted(self._touched, key=self._rank):
            self._look_at(id)
        self._tell_storms()
        for notifier, entries in self._digests.items():
            self._calls.append(digest(notifier, entries, self.now))
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
                restored_at=self.restored_at,
            ),
            incidents=tuple(self._incidents.values()),
            members=tuple((id, alert) for id, alert in members if (id, alert.id) not in dropped),
            dropped=tuple(self._dropped),
            told=tuple(self.told.values()),
            untold=tuple(self._untold),
            decisions=tuple(self._decisions),
            calls=tuple(self._calls),
            silences=tuple(self.new_silences),
            storms=tuple(self._storms.values()),
            calmed=tuple(self._calmed),
        )

    def _rank(self, id: str) -> int:
        file = self.files.get(id)
        return 9 if file is None else file.incident.severity.rank

    def _rebuild(self, id: str) -> None:
        """The incident with its changed members; a new file for a new incident."""
        changed, file = self._changes[id], self.files.get(id)
        if file is None:
            self._open(id, changed)
            return
        alerts = {**file.alerts, **changed}
        for old in forgotten(alerts):
            del alerts[old]
            self._dropped.append((id, old))
            self.by_alert[old] = tuple(holder for holder in self.by_alert[old] if holder != id)
            if not self.by_alert[old]:
                del self.by_alert[old]
        if file.incident.state is IncidentState.RESOLVED and id not in self._joins:
            incident = replace(file.incident, members=tuple(alerts.values()))
        else:
            incident = with_alerts(file.incident, alerts, changed.values(), self.now)
        if id in self.why and incident.state is IncidentState.RESOLVED:
            incident = replace(incident, resolved_why=self.why[id])
        self.files[id] = replace(file, incident=incident, alerts=alerts)
        self._incidents[id] = incident

    def _open(self, id: str, alerts: dict[str, Alert]) -> None:
        """A new incident. Alerts that began and ended within the same batch open it and end it."""
        first = next(iter(alerts.values()))
        route = next(
            route
            for route in self.plan.router.routes_of(first.labels)
            if self.by_group.get((route.name, route.group_of(first.labels))) == id
        )
        incident = new_incident(id, route, route.group_of(first.labels), alerts, self.now)
        if not incident.firing:
            incident = with_alerts(incident, alerts, alerts.values(), self.now)
        told = {name: Told(incident=id, notifier=name) for name in route.receivers}
        self.files[id] = File(incident=incident, alerts=alerts, told=told)
        self._incidents[id] = incident
        for name, entry in told.items():
            self.told[id, name] = entry

    def _look_at(self, id: str) -> None:
        """Decide for each destination, carry it out, and note when to look again."""
        file = self.files.get(id)
        if file is None:
            return
        route = self.plan.route_of(file.incident)
        last, looks = dict(file.last), []
        told = dict(file.told)
        for name, entry in file.told.items():
            context = self._context(file, route, entry)
            decision = decide(file.incident, context, self.now)
            told[name] = self._carry_out(file.incident, context, decision)
            self._note_storm(file.incident, entry, decision)
            self._keep(id, name, decision, last)
            if told[name] is not entry:
                self.told[id, name] = told[name]
                context = self._context(file, route, told[name])
            if (due := next_look(file.incident, context, self.now)) is not None:
                looks.append(due)
            if decision.action is Action.ESCALATE:
                self._escalate_to(file, route, told, context, decision)
                looks.append(self.now)
        if not looks and self._closes(file.incident, route, told):
            self._close(id)
            return
        if file.incident.state is IncidentState.RESOLVED and file.incident.resolved_at is not None:
            # It leaves the book once it can't reopen any more.
            looks.append(max(file.incident.resolved_at + self._kept(route), self.now))
        self.files[id] = replace(file, told=told, last=last, look=min(looks, default=None))

    def _context(self, file: File, route: Route, told: Told) -> Context:
        hushed = hush(file.incident, self._hushing)
        mute = hushed.mute or off_hours(route, self.now)
        destination = self.plan.destination(told.notifier)
        return Context(
            route=route,
            destination=destination,
            told=told,
            mute=mute,
            voice=hushed.voice,
            hushed_until=hushed.until,
            budget_until=self._level(told.notifier).until(destination.budget, hushed.voice),
        )

    @cached_property
    def _hushing(self) -> Hushing:
        """What holds alerts back. Asked for once all that happened is in the files."""
        parents = None
        if self.plan.dependencies:
            parents = Parents(self.plan.dependencies, told_of(self.files.values()), self.now, self.restored_at)
        return Hushing(
            silences=in_force(self.silences.values(), self.now),
            windows=open_windows(self.plan.windows, self.now),
            parents=parents,
        )

    def _level(self, notifier: str) -> Level:
        budget = self.plan.destination(notifier).budget
        level = self.levels.get(notifier)
        return Level.full(budget, self.now) if level is None else level.now(budget, self.now)

    def _carry_out(self, incident: Incident, context: Context, decision: Decision) -> Told:
        if decision.action is Action.HOLD:
            return context.told
        calls, told = carry_out(
            incident, context, decision, self.now,
            mentions=self.plan.contacts, sampled_at=self._sampled.get(incident.id),
        )  # fmt: skip
        if decision.action is Action.POST:
            self.levels[told.notifier] = self._level(told.notifier).spent()
        if decision.action is Action.DIGEST:
            self._digests.setdefault(context.destination.name, []).append((incident, decision))
        elif decision.action is Action.RESOLVE and (back := withdrawal(incident, context.told, calls)):
            self._calls.append(back)
        else:
            self._calls += calls
        return told

    def _note_storm(self, incident: Incident, told: Told, decision: Decision) -> None:
        """What belongs into a storm summary, or changes one."""
        if incident.id in self._incidents or (told.via is Via.STORM and told.revision < incident.revision):
            # Also where it has a message of its own by now: the summary counts it, and ends with the last.
            self._stirred.update(self._storms_of.get(incident.id, ()))
        over = decision.action is Action.HOLD and decision.reason is Reason.OVER_BUDGET
        if over and told.via is not Via.STORM and incident.state is not IncidentState.RESOLVED:
            self._folded.setdefault(told.notifier, []).append(incident.id)

    @cached_property
    def _storms_of(self) -> dict[str, list[str]]:
        """Incident → the summaries that count it, as the work began."""
        found: dict[str, list[str]] = {}
        for storm in self.storms.values():
            for id in storm.incidents:
                found.setdefault(id, []).append(storm.id)
        return found

    def _tell_storms(self) -> None:
        """Open, grow and end the summaries."""
        for notifier, ids in self._folded.items():
            storm = known(self.storms, notifier, self.now)
            if storm is None:
                worst = min((self.files[id].incident.severity for id in ids), key=lambda severity: severity.rank)
                posted = self._level(notifier).posted
                storm = opened(notifier, ids, worst, posted, self.now)
                self._calls += first(storm, self._incidents_of(storm), self.now, self._wakes(storm))
            else:
                storm = grown(storm, ids, self.now)
                self._stirred.add(storm.id)
            self._storms[storm.id] = self.storms[storm.id] = storm
            self._fold(storm, ids)
        for id in self._stirred:
            if (storm := self.storms.get(id)) is not None:
                self._stir(storm)

    def move_storm(self, storm: Storm) -> None:
        """Its summary is somewhere else: what was edited into the old one is edited into the new."""
        self.storms[storm.id] = storm
        self._stirred.add(storm.id)

    def _stir(self, storm: Storm) -> None:
        """Something changed in a summary."""
        incidents = self._incidents_of(storm)
        after, calls = next_calls(storm, incidents, self.now, self._wakes(storm)) if incidents else (None, ())
        self._calls += calls
        if after is not None:
            self._storms[storm.id] = self.storms[storm.id] = after
            self._fold(after, storm.incidents)
            return
        del self.storms[storm.id]
        self._storms.pop(storm.id, None)
        self._calmed.append(storm.id)
        for id in storm.incidents:
            file = self.files.get(id)
            before = None if file is None else file.told.get(storm.notifier)
            if before is not None and before.via is Via.STORM and before.post == storm.id:
                # What fires again after this is a new story there. That this summary told it is kept: its end may still
                # wait in the outbox when the destination goes.
                self._set_told(id, Told(incident=id, notifier=storm.notifier, post=storm.id))

    def _fold(self, storm: Storm, ids: Iterable[str]) -> None:
        """The destination knows of these by the summary."""
        for id in ids:
            file = self.files.get(id)
            before = None if file is None else file.told.get(storm.notifier)
            if file is None or before is None or before.via is Via.POST:
                continue  # it has a message of its own by now
            incident = file.incident
            if before.post == storm.id and before.revision == incident.revision:
                continue  # of thousands, few changed
            told = replace(
                before, via=Via.STORM, post=storm.id, at=before.at or self.now, revision=incident.revision,
                severity=incident.severity, state=incident.state, owed="",
            )  # fmt: skip
            self._set_told(id, told)

    def _set_told(self, id: str, told: Told) -> None:
        file = self.files.get(id)
        if file is None or file.told.get(told.notifier) in (None, told):
            return
        self.files[id] = replace(file, told={**file.told, told.notifier: told})
        self.told[id, told.notifier] = told

    def _incidents_of(self, storm: Storm) -> tuple[Incident, ...]:
        """The incidents of a summary that are still in the book, in the order they came."""
        return tuple(self.files[id].incident for id in storm.incidents if id in self.files)

    def _wakes(self, storm: Storm) -> tuple[Mention, ...]:
        """Whom the routes of its incidents would wake."""
        routes = (self.plan.route_of(incident) for incident in self._incidents_of(storm))
        return tuple(dict.fromkeys(mention for route in routes for mention in route.mentions or ()))

    def _escalate_to(
        self, file: File, route: Route, told: dict[str, Told], context: Context, decision: Decision
    ) -> None:
        """A step may name notifiers: those are told as well, once, by a message of their own."""
        step = (route.escalate or ())[context.told.escalated - 1]
        for name in step.to:
            if name in told or name not in self.plan.destinations:
                continue
            entry = Told(incident=file.incident.id, notifier=name, escalated=len(route.escalate or ()))
            post = replace(decision, action=Action.POST)
            told[name] = self._carry_out(file.incident, self._context(file, route, entry), post)
            self.told[file.incident.id, name] = told[name]

    def _keep(self, id: str, notifier: str, decision: Decision, last: dict[str, Decision]) -> None:
        """Every action is kept, and each hold whose reason is another than before."""
        before = last.get(notifier)
        last[notifier] = decision
        news = decision.reason is not Reason.NOTHING_NEW
        if decision.action is not Action.HOLD or (news and before != decision):
            self._decisions.append(Decided(incident=id, notifier=notifier, decision=decision, at=self.now))

    def _kept(self, route: Route) -> timedelta:
        """How long an incident stays in the book after its end: it may reopen, or its children may be settling."""
        return timedelta(seconds=max(route.flap_seconds, *(each.settle for each in self.plan.dependencies), 0.0))

    def _closes(self, incident: Incident, route: Route, told: dict[str, Told]) -> bool:
        """True when it has ended, nobody is owed anything, and it can't reopen."""
        if incident.state is not IncidentState.RESOLVED or incident.resolved_at is None:
            return False
        if self.now < incident.resolved_at + self._kept(route):
            return False
        # What a storm summary told stays until that is over: it is counted there.
        return all(
            entry.via is Via.NOTHING or (entry.ended and entry.post not in self.storms) for entry in told.values()
        )

    def _close(self, id: str) -> None:
        """Out of the book; its history stays in the state store."""
        file = self.files.pop(id)
        key = (file.incident.route, file.incident.group)
        if self.by_group.get(key) == id:
            del self.by_group[key]
        for alert in file.alerts:
            left = tuple(holder for holder in self.by_alert.get(alert, ()) if holder != id)
            if left:
                self.by_alert[alert] = left
            else:
                self.by_alert.pop(alert, None)
