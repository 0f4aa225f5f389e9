"""From a decision to calls: one notification is one call to a destination, and its id is an idempotency key.

The same decision about the same revision makes the same id, so that storing it twice queues it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents.context import PAGE, Context
from tocsin.incidents.told import Told, Via
from tocsin.model import (
    Action,
    Decision,
    Incident,
    IncidentState,
    Mention,
    Notification,
    Reason,
    Seconds,
    Severity,
    Timeline,
)

EDIT_EVERY: Final[Seconds] = 10.0
"""A message is edited this often in the long run, unless its state changed."""
EDITS_AHEAD: Final = 5
"""So many edits of a page may come before their time: who joins a fresh incident shows at once."""
EDIT_GAP: Final = timedelta(seconds=1)
"""And even those are this far apart: Slack takes about one message a second in a channel."""

CALLS: Final[Mapping[Action, tuple[Action, ...]]] = {
    Action.POST: (Action.POST,),
    Action.EDIT: (Action.EDIT,),
    Action.THREAD: (Action.THREAD, Action.EDIT),
    Action.BROADCAST: (Action.BROADCAST, Action.EDIT),
    Action.ESCALATE: (Action.ESCALATE,),
    Action.REMIND: (Action.REMIND,),
    Action.RESOLVE: (Action.RESOLVE, Action.EDIT),
    Action.DIGEST: (Action.DIGEST,),
    Action.HOLD: (),
}
"""What each decision calls, in this order."""
NEED_EDITS: Final = frozenset({Action.EDIT, Action.THREAD})
"""Not sent to a destination that can't edit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawal:
    """The incident ended: take its first message back if it certainly has not gone out.

    When it could be taken back, `instead` (if any) goes in its place and `otherwise` is not queued; when it has, or may
    have, gone out, `otherwise` is queued.
    """

    post: str
    incident: str
    notifier: str
    instead: Notification | None
    otherwise: tuple[Notification, ...]


def carry_out(
    incident: Incident,
    context: Context,
    decision: Decision,
    now: datetime,
    *,
    mentions: Mapping[str, tuple[Mention, ...]],
    sampled_at: datetime | None = None,
) -> tuple[tuple[Notification, ...], Told]:
    """The calls that `decision` makes, and what the destination knows then. A digest's call is `digest`'s to make."""
    told = _after(incident, context, decision, now)
    wakes = _wakes(context, decision, mentions)
    calls = []
    for action in CALLS[decision.action]:
        if action is Action.DIGEST or (action in NEED_EDITS and not context.destination.edits):
            continue
        edit = action is Action.EDIT
        calls.append(
            Notification(
                id=call_id(incident, context.told, action, context.voice),
                notifier=context.destination.name,
                action=action,
                reason=decision.reason,
                because=decision.because,
                incidents=(incident,),
                created_at=now,
                not_before=(told.edit_at or now) if edit else now,
                mentions=() if edit else wakes,
                timeline=_timeline(incident, now, sampled_at),
            )
        )
    return tuple(calls), told


def withdrawal(incident: Incident, told: Told, calls: tuple[Notification, ...]) -> Withdrawal | None:
    """What becomes of a first message that still waits when its incident ends; None where none can.

    A P0 is told all the same, once, as over: that it happened while the way to its destination was blocked is news. So
    is what took over another destination's debt: somebody there believes that it fires. Anything else is kept in the
    history as "ended before anyone was told".
    """
    if incident.reopened or told.via is not Via.POST or not calls:
        return None
    instead = None
    if incident.severity is Severity.P0 or told.owed:
        first = calls[0]
        instead = replace(
            first, id=told.post, action=Action.POST, reason=Reason.ENDED_UNTOLD,
            because=f"it was over before this could be sent: {first.because}",
        )  # fmt: skip
    return Withdrawal(post=told.post, incident=incident.id, notifier=told.notifier, instead=instead, otherwise=calls)


def digest(notifier: str, entries: Iterable[tuple[Incident, Decision]], now: datetime) -> Notification:
    """One digest of several incidents. Its id is made of what it says, so that the same digest is queued once."""
    ordered = sorted(entries, key=lambda entry: (entry[0].severity.rank, entry[0].opened_at, entry[0].id))
    incidents = tuple(incident for incident, _ in ordered)
    what = hashlib.blake2b(" ".join(f"{i.id}:{i.revision}" for i in incidents).encode(), digest_size=6).hexdigest()
    return Notification(
        id=f"digest:{notifier}:{what}",
        notifier=notifier,
        action=Action.DIGEST,
        reason=Reason.DIGEST_DUE,
        because=ordered[0][1].because,
        incidents=incidents,
        created_at=now,
        not_before=now,
        timeline=Timeline(decided_at=now),
    )


def thread_of(notification: Notification) -> str:
    """What a row belongs to, and waits for the others of: its incident or storm. A digest belongs to itself."""
    return notification.id if notification.action is Action.DIGEST else notification.id.split(":", 1)[0]


def call_id(incident: Incident, told: Told, action: Action, voice: Severity) -> str:
    """`i-7k2m9qxd:slack-pages:post:1`."""
    what = {
        # These may be said more than once about one revision.
        Action.ESCALATE: f"escalate.{told.escalated + 1}",
        Action.REMIND: f"remind.{told.reminders + 1}",
        Action.BROADCAST: f"broadcast.{voice}",
    }.get(action, action.value)
    return f"{incident.id}:{told.notifier}:{what}:{incident.revision}"


def _after(incident: Incident, context: Context, decision: Decision, now: datetime) -> Told:
    """What the destination knows once the decision is carried out."""
    told = context.told
    known = replace(told, revision=incident.revision, state=incident.state)
    edit_at = _edit_at(incident, told, now)
    edited = replace(known, edit_at=edit_at)
    if told.edit_at is None or told.edit_at <= now:  # else it takes the place of one that is paid for
        edited = replace(edited, edits_paid=max(_paid(told, now), edit_at) + timedelta(seconds=EDIT_EVERY))
    match decision.action:
        case Action.POST:
            at = told.at if told.via is Via.POST else now
            post = call_id(incident, told, Action.POST, context.voice)
            fresh = replace(known, via=Via.POST, post=post, at=at, severity=context.voice)
            return replace(fresh, delta_at=now, edit_at=now, edits_paid=None)
        case Action.EDIT if incident.state is IncidentState.RESOLVED:
            # It flaps: the message shows that it is quiet now, and the end is still owed.
            return replace(edited, state=told.state)
        case Action.EDIT:
            return edited
        case Action.THREAD:
            return replace(edited, delta_at=now)
        case Action.BROADCAST:
            return replace(edited, delta_at=now, severity=context.voice)
        case Action.RESOLVE:
            return replace(edited, delta_at=now)
        case Action.ESCALATE:
            return replace(told, escalated=told.escalated + 1)
        case Action.REMIND:
            return replace(told, reminders=told.reminders + 1, reminded_at=now)
        case Action.DIGEST:
            return replace(known, via=Via.DIGEST, at=now, severity=context.voice)
        case Action.HOLD:
            return told


def _edit_at(incident: Incident, told: Told, now: datetime) -> datetime:
    """When an edit goes out: a token bucket, kept as the time until which edits are paid for (GCRA)."""
    if incident.state is not told.state or told.edit_at is None:
        return now
    if told.edit_at > now:
        return told.edit_at  # the edit that waits for its time is replaced by this one
    every = timedelta(seconds=EDIT_EVERY)
    if incident.severity.rank > PAGE.rank:
        return max(now, told.edit_at + every)
    ahead = _paid(told, now) - EDITS_AHEAD * every
    return max(now, told.edit_at + EDIT_GAP, min(ahead, told.edit_at + every))


def _paid(told: Told, now: datetime) -> datetime:
    """The first message counts as an edit."""
    return told.edits_paid or (told.edit_at or now) + timedelta(seconds=EDIT_EVERY)


def _wakes(context: Context, decision: Decision, mentions: Mapping[str, tuple[Mention, ...]]) -> tuple[Mention, ...]:
    """Who is woken: the route's people by a first message, the step's by an escalation; nobody by P2 and P3."""
    if decision.action is Action.ESCALATE:
        step = (context.route.escalate or ())[context.told.escalated]
        return tuple(mention for name in step.to for mention in mentions.get(name, ()))
    if decision.action in (Action.POST, Action.BROADCAST, Action.REMIND) and context.voice.rank <= PAGE.rank:
        return context.route.mentions or ()
    return ()


def _timeline(incident: Incident, now: datetime, sampled_at: datetime | None) -> Timeline:
    began = min((alert.active_at for alert in incident.firing), default=None)
    return Timeline(fault_at=began, sampled_at=sampled_at, decided_at=now)
