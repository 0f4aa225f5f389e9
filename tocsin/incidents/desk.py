"""The entry points: each takes a book and what happened, and gives the outcome."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime

from tocsin.incidents import membership
from tocsin.incidents.book import Book, Outcome, Plan
from tocsin.incidents.draft import Draft
from tocsin.incidents.hidden import reveal
from tocsin.incidents.telling import Telling, hand_over
from tocsin.incidents.told import Correction
from tocsin.model import Alert, AlertState, IncidentState, Silence, Transition


def react(book: Book, transitions: Iterable[Transition], now: datetime) -> Outcome:
    """Alerts began to fire, changed (frozen, thawed) or ended. Pending ones are no news."""
    draft = Draft(book, now)
    for transition in transitions:
        membership.take(draft, transition)
    return _concluded(draft)


def tick(book: Book, now: datetime) -> Outcome:
    """What time alone brings about: whatever's `look` has come."""
    draft = Draft(book, now)
    for id, file in book.files.items():
        if file.look is not None and file.look <= now:
            draft.touch(id)
    return _concluded(draft)


def ack(book: Book, incident: str, by: str, now: datetime) -> Outcome:
    """`by` takes an open incident. Nothing changes for one that was taken or has ended. Raises KeyError."""
    found = book.files[incident].incident
    draft = Draft(book, now)
    if found.state is IncidentState.OPEN:
        draft.put(found.changed(now, state=IncidentState.ACKED, acked_at=now, acked_by=by))
    return _concluded(draft)


def resolve(book: Book, incident: str, by: str, why: str, now: datetime) -> Outcome:
    """`by` closes an incident, whatever its alerts do. Raises KeyError."""
    found = book.files[incident].incident
    draft = Draft(book, now)
    if found.state is not IncidentState.RESOLVED:
        said = f"{by} closed it" + (f": {why}" if why else "")
        draft.put(found.changed(now, state=IncidentState.RESOLVED, resolved_at=now, resolved_why=said))
    return _concluded(draft)


def silence(book: Book, silence: Silence, now: datetime) -> Outcome:
    """A silence is made, changed or ended early (its `ends_at` is now). What it hides is looked at at once."""
    draft = Draft(book, now)
    draft.put_silence(silence)
    draft.touch_open()
    return _concluded(draft)


def retire(book: Book, lives: Callable[[Alert], bool], now: datetime) -> Outcome:
    """After a reload: the members whose rule is gone have ended, and whoever was told of them is told so."""
    draft = Draft(book, now)
    for id, file in book.files.items():
        gone = [alert for alert in file.alerts.values() if alert.state is AlertState.FIRING and not lives(alert)]
        if gone:
            membership.retire(draft, id, gone)
    return _concluded(draft)


def reconfigure(book: Book, plan: Plan, now: datetime, unheard: Collection[tuple[str, str]] = ()) -> Outcome:
    """A reload. What was told stays told; a notifier that is gone hands its debts to those of the route.

    `unheard`: (incident or storm, notifier) of whom the end waits in the outbox, so that it is a debt still.
    """
    draft = Draft(replace(book, plan=plan), now)
    for id, file in book.files.items():
        if set(file.told) - set(plan.destinations):
            hand_over(draft, id, unheard)
        draft.touch(id)
    return _concluded(draft)


def heard(book: Book, correction: Correction, now: datetime) -> Outcome:
    """Delivery told somebody else (fail-over), or took a first message back: what destinations know is corrected."""
    draft = Draft(book, now)
    for entry in correction.told:
        if (file := draft.files.get(entry.incident)) is not None:
            draft.files[entry.incident] = replace(file, told={**file.told, entry.notifier: entry})
            draft.touch(entry.incident)
    for id, tells in correction.storms:
        if (storm := draft.storms.get(id)) is not None:
            draft.move_storm(replace(storm, tells=tells))
    for incident, notifier in correction.gone:
        if (file := draft.files.get(incident)) is not None:
            told = {name: entry for name, entry in file.told.items() if name != notifier}
            draft.files[incident] = replace(file, told=told)
            draft.touch(incident)
    return _concluded(draft)


def _concluded(draft: Draft) -> Outcome:
    """All that happened is in: incidents are rebuilt once, and each that was touched is looked at."""
    for id in draft.changes:
        membership.rebuild(draft, id)
    reports = reveal(draft)
    Telling(draft).tell()
    # After the messages of what still fires.
    draft.call(*reports)
    return draft.outcome()
