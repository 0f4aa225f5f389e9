"""What each destination of an incident is told now: policy is asked, its decision carried out, kept, and looked at
again when time may change it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property

from tocsin.incidents.book import Decided, File, told_of
from tocsin.incidents.calls import carry_out, digest, withdrawal
from tocsin.incidents.context import Context
from tocsin.incidents.dependencies import Parents
from tocsin.incidents.draft import Draft
from tocsin.incidents.dues import next_look
from tocsin.incidents.hidden import hides
from tocsin.incidents.mutes import Hushing, hush, off_hours
from tocsin.incidents.policy import decide
from tocsin.incidents.routes import Route
from tocsin.incidents.silences import in_force
from tocsin.incidents.summaries import Summaries
from tocsin.incidents.told import Hidden, Told, Via
from tocsin.incidents.windows import open_windows
from tocsin.model import Action, Decision, Incident, IncidentState, Reason


def hand_over(draft: Draft, id: str, unheard: Collection[tuple[str, str]]) -> None:
    """Destinations that are gone leave the file; those of the route today take over what was owed."""
    file = draft.files[id]
    gone = {name: told for name, told in file.told.items() if name not in draft.plan.destinations}
    told = {name: entry for name, entry in file.told.items() if name not in gone}
    owes = (
        name
        for name, entry in gone.items()
        if (entry.post, name) in unheard
        or (entry.via is not Via.NOTHING and (not entry.ended or (id, name) in unheard))
    )
    owed = next(owes, "")
    if owed or not told:
        for name in draft.plan.route_of(file.incident).receivers:
            if name not in told:
                told[name] = Told(incident=id, notifier=name, owed=owed)
                draft.note_told(told[name])
    draft.forget_told(id, gone)
    draft.files[id] = replace(file, told=told)


class Telling:
    """Looks at what was touched, once all that happened is in the files."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._now = draft.now
        self._summaries = Summaries(draft)
        self._digests: dict[str, list[tuple[Incident, Decision]]] = {}

    def tell(self) -> None:
        """The worst first: they have the first claim to a destination's budget."""
        for id in sorted(self._draft.touched, key=self._rank):
            if (file := self._draft.files.get(id)) is not None:
                self._look_at(file)
        self._summaries.tell()
        for notifier, entries in self._digests.items():
            self._draft.call(digest(notifier, entries, self._now))

    def _rank(self, id: str) -> int:
        file = self._draft.files.get(id)
        return 9 if file is None else file.incident.severity.rank

    def _look_at(self, file: File) -> None:
        """Decide for each destination, carry it out, and note when to look again."""
        incident, route = file.incident, self._draft.plan.route_of(file.incident)
        last, told = dict(file.last), dict(file.told)
        looks: list[datetime] = []
        for name, entry in file.told.items():
            context = self._context(file, route, entry)
            decision = decide(incident, context, self._now)
            told[name] = self._carry_out(incident, context, decision)
            self._summaries.note(incident, entry, decision)
            self._keep(incident.id, name, decision, last)
            if hides(incident, context, decision):
                for silence in context.silences:
                    hidden = Hidden(silence=silence, incident=incident.id, notifier=name, at=self._now)
                    self._draft.hide(hidden)
            if told[name] is not entry:
                self._draft.note_told(told[name])
                context = self._context(file, route, told[name])
            if (due := next_look(incident, context, self._now)) is not None:
                looks.append(due)
            if decision.action is Action.ESCALATE:
                self._escalate_to(file, route, told, context, decision)
                looks.append(self._now)
        if not looks and self._closes(incident, route, told):
            self._draft.close(incident.id)
            return
        if incident.state is IncidentState.RESOLVED and incident.resolved_at is not None:
            # It leaves the book once it can't reopen any more, and what hid it was told of.
            leaves = incident.resolved_at + self._kept(route)
            if leaves > self._now or not self._draft.is_hidden(incident.id):
                looks.append(max(leaves, self._now))
        self._draft.files[incident.id] = replace(file, told=told, last=last, look=min(looks, default=None))

    def _context(self, file: File, route: Route, told: Told) -> Context:
        hushed = hush(file.incident, self._hushing)
        destination = self._draft.plan.destination(told.notifier)
        return Context(
            route=route,
            destination=destination,
            told=told,
            mute=hushed.mute or off_hours(route, self._now),
            silences=hushed.silences,
            voice=hushed.voice,
            hushed_until=hushed.until,
            budget_until=self._draft.level(told.notifier).until(destination.budget, hushed.voice),
        )

    @cached_property
    def _hushing(self) -> Hushing:
        """What holds alerts back."""
        draft, parents = self._draft, None
        if draft.plan.dependencies:
            parents = Parents(draft.plan.dependencies, told_of(draft.files.values()), self._now, draft.restored_at)
        return Hushing(
            silences=in_force(draft.silences.values(), self._now),
            windows=open_windows(draft.plan.windows, self._now),
            parents=parents,
        )

    def _carry_out(self, incident: Incident, context: Context, decision: Decision) -> Told:
        if decision.action is Action.HOLD:
            return context.told
        calls, told = carry_out(
            incident, context, decision, self._now,
            mentions=self._draft.plan.contacts, sampled_at=self._draft.sampled.get(incident.id),
        )  # fmt: skip
        if decision.action is Action.POST:
            self._draft.spend(told.notifier)
        if decision.action is Action.DIGEST:
            self._digests.setdefault(context.destination.name, []).append((incident, decision))
        elif decision.action is Action.RESOLVE and (back := withdrawal(incident, context.told, calls)):
            self._draft.call(back)
        else:
            self._draft.call(*calls)
        return told

    def _escalate_to(
        self, file: File, route: Route, told: dict[str, Told], context: Context, decision: Decision
    ) -> None:
        """A step may name notifiers: those are told as well, once, by a message of their own."""
        step = (route.escalate or ())[context.told.escalated - 1]
        for name in step.to:
            if name in told or name not in self._draft.plan.destinations:
                continue
            entry = Told(incident=file.incident.id, notifier=name, escalated=len(route.escalate or ()))
            post = replace(decision, action=Action.POST)
            told[name] = self._carry_out(file.incident, self._context(file, route, entry), post)
            self._draft.note_told(told[name])

    def _keep(self, id: str, notifier: str, decision: Decision, last: dict[str, Decision]) -> None:
        """Every action is kept, and each hold whose reason is another than before."""
        before = last.get(notifier)
        last[notifier] = decision
        news = decision.reason is not Reason.NOTHING_NEW
        if decision.action is not Action.HOLD or (news and before != decision):
            self._draft.decided(Decided(incident=id, notifier=notifier, decision=decision, at=self._now))

    def _kept(self, route: Route) -> timedelta:
        """How long an incident stays in the book after its end: it may reopen, or its children may be settling."""
        settle = (each.settle for each in self._draft.plan.dependencies)
        return timedelta(seconds=max(route.flap_seconds, *settle, 0.0))

    def _closes(self, incident: Incident, route: Route, told: dict[str, Told]) -> bool:
        """True when it has ended, nobody is owed anything, and it can't reopen."""
        if incident.state is not IncidentState.RESOLVED or incident.resolved_at is None:
            return False
        if self._now < incident.resolved_at + self._kept(route) or self._draft.is_hidden(incident.id):
            return False
        # What a storm summary told stays until that is over: it is counted there.
        storms = self._draft.storms
        return all(entry.via is Via.NOTHING or (entry.ended and entry.post not in storms) for entry in told.values())
