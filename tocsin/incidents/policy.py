"""What to do about an incident now, for one destination, and why.

`decide` asks the rules below in order, and the first that speaks wins: reading `RULES` is reading the policy. A rule is
a function of (incident, context, now); it returns a Decision or None. `next_look` says when time alone could change the
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from tocsin.durations import format_duration
from tocsin.incidents.routes import FALLBACK, Route
from tocsin.incidents.told import Destination, Told, Via
from tocsin.model import (
    Action,
    Alert,
    AlertState,
    Decision,
    Incident,
    IncidentState,
    Reason,
    Seconds,
    Severity,
    since,
)

THREAD_EVERY: Final[Seconds] = 60.0
"""Who joined and left goes to the thread at most this often, and less often the older the incident is."""
FLAPS_TOLD: Final = 1
"""So many times "fires again" is said in the thread; after that an incident is flapping and only edits tell it."""
PAGE: Final = Severity.P1
"""This and worse is told at once, everywhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mute:
    """Why an alert is not to be told: a silence, a window, a parent."""

    reason: Reason
    because: str
    until: datetime | None = None
    creation_only: bool = False
    """It holds back a first message, and says nothing about an incident that was told."""
    silence: str = ""
    """The id of the silence that it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a decision depends on, apart from the incident."""

    route: Route
    destination: Destination
    told: Told
    mute: Mute | None = None
    """Set when every firing member is muted; the mute of the worst one."""
    silences: tuple[str, ...] = ()
    """Of those mutes, the silences."""
    voice: Severity = Severity.P3
    """The worst severity among the members that are not muted."""
    hushed_until: datetime | None = None
    """When the first of its members' mutes ends."""
    budget_until: datetime | None = None
    """Set when the destination's budget has no message left for this incident: when it has one again."""
    contacts: Mapping[str, str] = field(default_factory=dict)
    """Names that an escalation may use → how they read in a sentence."""


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


# When time alone may bring something about ---------------------------------------------------------------------------


def next_look(incident: Incident, context: Context, now: datetime) -> datetime | None:
    """When `decide` may answer otherwise although nothing but time has passed; None: never."""
    return min((due for due in _dues(incident, context, now) if due is not None and due > now), default=None)


def _dues(incident: Incident, context: Context, now: datetime) -> Iterator[datetime | None]:
    yield digest_due(incident, context) if context.told.revision < incident.revision else None
    if incident.state is IncidentState.RESOLVED:
        yield flap_end(incident, context) if not context.told.ended else None
        return
    yield context.mute.until if context.mute is not None else None
    yield context.hushed_until
    yield context.budget_until if context.told.via in (Via.NOTHING, Via.DIGEST) else None
    yield escalation_due(incident, context)
    yield reminder_due(incident, context)
    yield delta_due(incident, context, now)


def digest_due(incident: Incident, context: Context) -> datetime | None:
    """When the digest that tells the present state comes; None where none does."""
    if context.route.digest is None or context.told.via not in (Via.NOTHING, Via.DIGEST):
        return None
    if context.voice.rank <= PAGE.rank:
        return None
    return context.route.digest.after(max(context.told.at or incident.opened_at, incident.opened_at))


def flap_end(incident: Incident, context: Context) -> datetime | None:
    """When what ended has stayed away for the flap window."""
    if incident.resolved_at is None:
        return None
    return incident.resolved_at + timedelta(seconds=context.route.flap_seconds)


def escalation_due(incident: Incident, context: Context) -> datetime | None:
    """When the next step of the escalation comes; None when it was acked, or has no more steps."""
    steps, told = context.route.escalate or (), context.told
    if incident.state is not IncidentState.OPEN or told.via is not Via.POST or told.at is None:
        return None
    if told.escalated >= len(steps):
        return None
    return told.at + timedelta(seconds=steps[told.escalated].after)


def reminder_due(incident: Incident, context: Context) -> datetime | None:
    """When to remind; None when it was acked or the route doesn't repeat."""
    told = context.told
    if incident.state is not IncidentState.OPEN or told.via is not Via.POST or told.at is None:
        return None
    if not context.route.repeat:
        return None
    return (told.reminded_at or told.at) + timedelta(seconds=context.route.repeat)


def delta_due(incident: Incident, context: Context, now: datetime) -> datetime | None:
    """When who joined and left goes to the thread; None when nobody has, or there is no thread."""
    told = context.told
    if told.via is not Via.POST or told.delta_at is None or not context.destination.edits:
        return None
    joined, left = changes(incident, told.delta_at)
    if not joined and not left:
        return None
    age = since(incident.opened_at, told.delta_at).total_seconds()
    return told.delta_at + timedelta(seconds=max(THREAD_EVERY, age / 10))


def changes(incident: Incident, after: datetime) -> tuple[tuple[Alert, ...], tuple[Alert, ...]]:
    """The members that began to fire after a time, and those that ended after it."""
    joined = tuple(a for a in incident.members if a.state is AlertState.FIRING and (a.fired_at or a.active_at) > after)
    left = tuple(
        a
        for a in incident.members
        if a.state is AlertState.RESOLVED and a.resolved_at is not None and a.resolved_at > after
        and (a.fired_at or a.active_at) <= after
    )  # fmt: skip
    return joined, left


def delta_text(incident: Incident, told: Told) -> str:
    """`2 more: api-1, api-2; 1 ended: api-0; 7 fire`."""
    joined, left = changes(incident, told.delta_at or incident.opened_at)
    parts = []
    if joined:
        parts.append(f"{len(joined)} more: {_names(joined, incident)}")
    if left:
        parts.append(f"{len(left)} ended: {_names(left, incident)}")
    parts.append(f"{len(incident.firing)} firing")
    return "; ".join(parts)


def _names(alerts: tuple[Alert, ...], incident: Incident) -> str:
    """What tells the members apart: the labels that the incident's group does not give."""
    shown = []
    for alert in alerts[:5]:
        own = alert.labels.without(*incident.group, "severity", "alertname")
        shown.append(" ".join(own.values()) or alert.name)
    return ", ".join(shown) + (f" and {len(alerts) - 5} others" if len(alerts) > 5 else "")


def _ordinal(number: int) -> str:
    tail = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"
