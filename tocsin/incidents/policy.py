"""What to do about an incident now, for one destination, and why.

`decide` asks the rules below in order, and the first that speaks wins: reading `RULES` is reading the policy. A rule is
a function of (incident, context, now); it returns a Decision or None. `dues.next_look` says when time alone could
change the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from tocsin.durations import format_duration
from tocsin.incidents.context import Context
from tocsin.incidents.deltas import delta_due, delta_text
from tocsin.incidents.dues import digest_due, escalation_due, flap_end, reminder_due
from tocsin.incidents.routes import FALLBACK
from tocsin.incidents.told import Via
from tocsin.model import Action, Decision, Incident, IncidentState, Reason, since

FLAPS_TOLD: Final = 1
"""So many times "fires again" is said in the thread; after that an incident is flapping and only edits tell it."""

Rule = Callable[[Incident, Context, datetime], Decision | None]


def low_severity(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """P2 and P3 of a route with a digest wait for it; its end waits for the next one."""
    told, due = context.told, digest_due(incident, context)
    if due is None or told.revision >= incident.revision:
        return None
    if context.mute is not None and (told.via is Via.NOTHING or incident.state is not IncidentState.RESOLVED):
        return None
    if now < due:
        because = f"{context.voice} waits for the digest"
        return Decision(action=Action.HOLD, reason=Reason.LOW_SEVERITY, because=because, until=due)
    return Decision(action=Action.DIGEST, reason=Reason.DIGEST_DUE, because=f"the digest of {due:%d %b %H:%M %Z}")


def ended_untold(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """What ended before this destination was told is kept in the incident's history and not told."""
    if incident.state is not IncidentState.RESOLVED or context.told.via is not Via.NOTHING:
        return None
    if context.told.owed:
        because = f"{context.told.owed}, which was told that it fires, is no longer configured"
        return Decision(action=Action.POST, reason=Reason.RESOLUTION_DEBT, because=because)
    because = (
        f"ended before anyone was told: {context.mute.because}" if context.mute else "ended before anyone was told"
    )
    return Decision(action=Action.HOLD, reason=Reason.ENDED_UNTOLD, because=because)


def in_storm(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """What a storm summary told goes on there, with its end; unless it becomes worse than it was told."""
    if context.told.via is not Via.STORM:
        return None
    if incident.state is not IncidentState.RESOLVED and context.voice.rank < context.told.severity.rank:
        return None
    because = "the storm summary tells it, and its end"
    return Decision(action=Action.HOLD, reason=Reason.OVER_BUDGET, because=because)


def end_is_told(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """The end is told once."""
    told = context.told
    if incident.state is not IncidentState.RESOLVED or not told.ended:
        return None
    if told.via is Via.POST and told.revision < incident.revision and context.destination.edits:
        # It fired again and ended unheard, silenced: an edit in between may have shown that it fires.
        return Decision(action=Action.EDIT, reason=Reason.RECOVERED, because="it has ended again")
    return Decision(action=Action.HOLD, reason=Reason.NOTHING_NEW, because="the end was told")


def flapping(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """The end of what keeps coming back is told once it has stayed away for the flap window; the message shows it."""
    if incident.state is not IncidentState.RESOLVED or incident.reopened <= FLAPS_TOLD:
        return None
    quiet = flap_end(incident, context)
    if quiet is None or now >= quiet:
        return None
    times = f"it came back {incident.reopened} times; its end is told when it has stayed away until {quiet:%H:%M:%S}"
    if context.told.revision < incident.revision and context.destination.edits:
        return Decision(action=Action.EDIT, reason=Reason.WITHIN_FLAP_WINDOW, because=times, until=quiet)
    return Decision(action=Action.HOLD, reason=Reason.WITHIN_FLAP_WINDOW, because=times, until=quiet)


def resolution_debt(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """Whoever was told "firing" is told the end: through silences, windows, reloads and crashes."""
    if incident.state is not IncidentState.RESOLVED:
        return None
    lasted = format_duration(round(since(incident.opened_at, incident.resolved_at or now).total_seconds()))
    why = incident.resolved_why or "all of its alerts have ended"
    if context.told.via is not Via.POST:
        # Told by a digest whose route has none any more: there is no thread to say it in.
        return Decision(action=Action.POST, reason=Reason.RESOLUTION_DEBT, because=f"{why} after {lasted}")
    if context.mute is not None:
        because = f"{why} after {lasted}; told although {context.mute.because}, as its beginning was"
        return Decision(action=Action.RESOLVE, reason=Reason.RESOLUTION_DEBT, because=because)
    reason = Reason.CLOSED if incident.resolved_why else Reason.RECOVERED
    return Decision(action=Action.RESOLVE, reason=reason, because=f"{why} after {lasted}")


def acked(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """That somebody took it shows in the message, silenced or not."""
    told = context.told
    if incident.state is not IncidentState.ACKED or told.via is not Via.POST or told.state is not IncidentState.OPEN:
        return None
    return Decision(action=Action.EDIT, reason=Reason.ACKED, because=f"{incident.acked_by or 'somebody'} took it")


def muted(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """Nothing is said while every firing member is silenced, in a window, or waits for its parent."""
    mute = context.mute
    if mute is None or (mute.creation_only and context.told.via is not Via.NOTHING):
        return None
    return Decision(action=Action.HOLD, reason=mute.reason, because=mute.because, until=mute.until)


def over_budget(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """Past the destination's budget an incident gets no message of its own; the storm summary counts it."""
    if context.told.via is Via.POST or context.budget_until is None:
        return None
    because = f"{context.destination.name} has had its share of new messages; the storm summary counts it"
    return Decision(action=Action.HOLD, reason=Reason.OVER_BUDGET, because=because, until=context.budget_until)


def new_incident(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """A new incident is told at once."""
    told = context.told
    if told.via is Via.POST:
        return None
    if told.owed:
        because = f"it was told to {told.owed}, which is no longer configured"
        return Decision(action=Action.POST, reason=Reason.NEW_INCIDENT, because=because)
    if told.via is not Via.NOTHING:
        because = f"it was {told.severity} in a {told.via} and is {context.voice} now"
        return Decision(action=Action.POST, reason=Reason.SEVERITY_ROSE, because=because)
    if context.route.name == FALLBACK:
        because = "no route matches it, so the fallback tells it; give it a route"
        return Decision(action=Action.POST, reason=Reason.NO_ROUTE, because=because)
    because = f"new {context.voice} of route {context.route.name}"
    return Decision(action=Action.POST, reason=Reason.NEW_INCIDENT, because=because)


def reopened(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """What fires again within the flap window goes on in its thread; no new message where there are threads."""
    if not context.told.ended:
        return None
    because = f"fires again, {_ordinal(incident.reopened + 1)} time since {incident.opened_at:%d %b %H:%M}"
    if not context.destination.edits:
        return Decision(action=Action.POST, reason=Reason.REOPENED, because=because)
    if context.voice.rank < context.told.severity.rank:
        because += f", and is {context.voice} now"
        return Decision(action=Action.BROADCAST, reason=Reason.SEVERITY_ROSE, because=because)
    return Decision(action=Action.THREAD, reason=Reason.REOPENED, because=because)


def severity_rose(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """An edit rings nobody, so that it got worse is said aloud."""
    if context.voice.rank >= context.told.severity.rank:
        return None
    because = f"was {context.told.severity}, is {context.voice} now"
    return Decision(action=Action.BROADCAST, reason=Reason.SEVERITY_ROSE, because=because)


def unacked_too_long(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """Nobody has acknowledged: the next step of the route's escalation is told."""
    due = escalation_due(incident, context)
    if due is None or now < due:
        return None
    step = (context.route.escalate or ())[context.told.escalated]
    names = ", ".join(context.contacts.get(name, name) for name in step.to)
    because = f"nobody has acked in {format_duration(step.after)}: {names}"
    return Decision(action=Action.ESCALATE, reason=Reason.UNACKED_TOO_LONG, because=because)


def remind(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """Repeated only while nobody has acknowledged, and only where the route says so."""
    due = reminder_due(incident, context)
    if due is None or now < due:
        return None
    age = format_duration(round(since(incident.opened_at, now).total_seconds()))
    because = f"fires for {age} and nobody has acked"
    return Decision(action=Action.REMIND, reason=Reason.UNACKED_TOO_LONG, because=because)


def members_changed(incident: Incident, context: Context, now: datetime) -> Decision | None:
    """Who joined and left is edited into the message, and told in the thread now and then."""
    told = context.told
    if not context.destination.edits or told.via is not Via.POST:
        return None
    due = delta_due(incident, context, now)
    if due is not None and now >= due:
        return Decision(action=Action.THREAD, reason=Reason.MEMBERS_CHANGED, because=delta_text(incident, told))
    if told.revision < incident.revision:
        return Decision(action=Action.EDIT, reason=Reason.MEMBERS_CHANGED, because=delta_text(incident, told))
    return None


RULES: Final[tuple[Rule, ...]] = (
    low_severity, ended_untold, in_storm, end_is_told, flapping, resolution_debt,
    acked, muted, over_budget, new_incident, reopened, severity_rose, unacked_too_long, remind, members_changed,
)  # fmt: skip


def decide(incident: Incident, context: Context, now: datetime) -> Decision:
    """What to tell `context.destination` about `incident` now. First rule that speaks wins; the order is the policy."""
    for rule in RULES:
        if decision := rule(incident, context, now):
            return decision
    return Decision(action=Action.HOLD, reason=Reason.NOTHING_NEW, because="nothing changed that was not told")


def _ordinal(number: int) -> str:
    tail = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"
