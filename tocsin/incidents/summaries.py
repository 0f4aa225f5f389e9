"""Which storm summary counts an incident that found no budget, and what the summary says next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from tocsin.incidents.draft import Draft
from tocsin.incidents.storms import Storm, first, grown, known, next_calls, opened
from tocsin.incidents.told import Told, Via
from tocsin.model import Action, Decision, Incident, IncidentState, Mention, Reason


class Summaries:
    """Collects while incidents are looked at; `tell` says it when all have been."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._folded: dict[str, list[str]] = {}
        """Notifier → incidents that found no budget."""

    def note(self, incident: Incident, told: Told, decision: Decision) -> None:
        """What belongs into a storm summary, or changes one."""
        if self._draft.is_changed(incident.id) or (told.via is Via.STORM and told.revision < incident.revision):
            # Also where it has a message of its own by now: the summary counts it, and ends with the last.
            self._draft.stirred.update(self._storms_of.get(incident.id, ()))
        over = decision.action is Action.HOLD and decision.reason is Reason.OVER_BUDGET
        if over and told.via is not Via.STORM and incident.state is not IncidentState.RESOLVED:
            self._folded.setdefault(told.notifier, []).append(incident.id)

    @cached_property
    def _storms_of(self) -> dict[str, list[str]]:
        """Incident → the summaries that count it, as the work began."""
        found: dict[str, list[str]] = {}
        for storm in self._draft.storms.values():
            for id in storm.incidents:
                found.setdefault(id, []).append(storm.id)
        return found

    def tell(self) -> None:
        """Open, grow and end the summaries."""
        for notifier, ids in self._folded.items():
            self._take_in(notifier, ids)
        for id in self._draft.stirred:
            if (storm := self._draft.storms.get(id)) is not None:
                self._stir(storm)

    def _take_in(self, notifier: str, ids: list[str]) -> None:
        draft = self._draft
        storm = known(draft.storms, notifier, draft.now)
        if storm is None:
            folded = [draft.files[id].incident for id in ids]
            worst = min((incident.severity for incident in folded), key=lambda severity: severity.rank)
            storm = opened(notifier, folded, worst, draft.level(notifier).posted, draft.now)
            draft.call(*first(storm, self._incidents_of(storm), draft.now, self._wakes(storm)))
        else:
            storm = grown(storm, ids, draft.now)
            draft.stirred.add(storm.id)
        draft.put_storm(storm)
        self._fold(storm, ids)

    def _stir(self, storm: Storm) -> None:
        """Something changed in a summary."""
        draft, incidents = self._draft, self._incidents_of(storm)
        after, calls = next_calls(storm, incidents, draft.now, self._wakes(storm)) if incidents else (None, ())
        draft.call(*calls)
        if after is not None:
            draft.put_storm(after)
            self._fold(after, storm.incidents)
            return
        draft.calm(storm)
        for id in storm.incidents:
            file = draft.files.get(id)
            before = None if file is None else file.told.get(storm.notifier)
            if before is not None and before.via is Via.STORM and before.post == storm.id:
                # What fires again after this is a new story there. That this summary told it is kept: its end may still
                # wait in the outbox when the destination goes.
                draft.set_told(Told(incident=id, notifier=storm.notifier, post=storm.id))

    def _fold(self, storm: Storm, ids: Iterable[str]) -> None:
        """The destination knows of these by the summary."""
        for id in ids:
            file = self._draft.files.get(id)
            before = None if file is None else file.told.get(storm.notifier)
            if file is None or before is None or before.via is Via.POST:
                continue  # it has a message of its own by now
            incident = file.incident
            if before.post == storm.id and before.revision == incident.revision:
                continue  # of thousands, few changed
            told = replace(
                before, via=Via.STORM, post=storm.id, at=before.at or self._draft.now, revision=incident.revision,
                severity=incident.severity, state=incident.state, owed="",
            )  # fmt: skip
            self._draft.set_told(told)

    def _incidents_of(self, storm: Storm) -> tuple[Incident, ...]:
        """The incidents of a summary that are still in the book, in the order they came."""
        files = self._draft.files
        return tuple(files[id].incident for id in storm.incidents if id in files)

    def _wakes(self, storm: Storm) -> tuple[Mention, ...]:
        """Whom the routes of its incidents would wake."""
        routes = (self._draft.plan.route_of(incident) for incident in self._incidents_of(storm))
        return tuple(dict.fromkeys(mention for route in routes for mention in route.mentions or ()))
