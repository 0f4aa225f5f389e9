"""What there is to say about an incident, in plain words: facts for every notifier's templates. Pure, no markup.

Nothing here is escaped: a destination's own templates do that. Text that came from labels and annotations is made one
line of visible characters and cut to a length, because a log line may hold anything.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from notifiers._words import clip, clock_time, human, one_line, safe_url
from tocsin.model import Alert, Incident, IncidentState, Labels, Notification, Reason, Severity, Timeline, since

MEMBERS_SHOWN: Final = 4
_SERVICE: Final = ("service", "application", "app", "target", "instance", "database", "datname", "job")
_NOT_WHERE: Final = frozenset({"alertname", "severity", "job"})
_LINKS: Final = (
    ("Runbook", "runbook_url"),
    ("Dashboard", "dashboard_url"),
    ("Query", "query_url"),
    ("Logs", "logs_url"),
)
_ORDERED: Final = 200
_RANKS: Final = {severity.value: severity.rank for severity in Severity}
_DIGITS: Final = re.compile(r"([0-9]{1,18})")


class State(StrEnum):
    """How an incident stands, as a reader sees it. UNKNOWN: every firing alert is frozen, its source is not seen."""

    FIRING = "firing"
    ACKED = "acked"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Link:
    """An http(s) address and what it leads to."""

    name: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """An incident in words. Times carry their zone; an empty text means there is nothing to say."""

    id: str
    severity: Severity
    state: State
    service: str
    symptom: str
    others: int
    """Firing alerts beside the one that the symptom tells of."""
    since: str
    lasted: str
    """How long it has been, or was."""
    ended: str
    why_ended: str
    reopened: int
    acked_by: str
    acked_at: str
    acked_after: str
    unknown_since: str
    unknown_why: str
    unknown: int
    """Firing alerts whose source is not seen."""
    firing: int
    peak: int
    kinds: int
    """Different alert names among those that fire."""
    where: tuple[str, ...]
    """Labels that all members share, as name=value."""
    members: tuple[str, ...]
    """The first few firing members by the labels that tell them apart; empty for one member."""
    hidden: int
    """Firing members that are not among `members`."""
    description: str
    links: tuple[Link, ...]
    page: str
    """The incident's page in the console; empty where that is not known."""

    @property
    def headline(self) -> str:
        """`P0 checkout-api: 12 % of requests fail (+3 more)`; the service is not said twice."""
        said = not self.service or self.service.lower() in self.symptom.lower()
        name = self.symptom if said else f"{self.service}: {self.symptom}"
        return f"{self.severity} {name}" + (f" (+{self.others:,} more)" if self.others else "")

    @property
    def pages(self) -> bool:
        """True where somebody is meant to act now."""
        return self.severity.rank <= 1


def facts_of(incident: Incident, now: datetime, *, zone: tzinfo, console_url: str = "") -> Facts:
    """What to say about `incident` at `now`."""
    firing = incident.firing
    told = firing or incident.members
    first = first_of(told)
    lead = first[0] if first else None
    shared = common_labels(told)
    frozen = [alert for alert in firing if alert.frozen_since is not None]
    ended = incident.resolved_at
    unknown_since = min((alert.frozen_since for alert in frozen if alert.frozen_since is not None), default=None)
    shown = tuple(_apart(alert, shared) for alert in first[:MEMBERS_SHOWN]) if len(firing) > 1 else ()
    return Facts(
        id=incident.id,
        severity=incident.severity,
        state=_state(incident, firing),
        service=service_of(incident.group.with_(shared)),
        symptom=symptom_of(lead) if lead is not None else one_line(repr(incident.group), 140) or incident.id,
        others=max(len(firing) - 1, 0),
        since=clock_time(incident.opened_at, now, zone),
        lasted=human((since(incident.opened_at, ended or now)).total_seconds()),
        ended=clock_time(ended, now, zone),
        why_ended=one_line(incident.resolved_why, 200),
        reopened=incident.reopened,
        acked_by=one_line(incident.acked_by, 60) if incident.acked_at is not None else "",
        acked_at=clock_time(incident.acked_at, now, zone),
        acked_after=human(since(incident.opened_at, incident.acked_at or now).total_seconds()),
        unknown_since=clock_time(unknown_since, now, zone),
        unknown_why=one_line(frozen[0].frozen_why, 160) if frozen else "",
        unknown=len(frozen),
        firing=len(firing),
        peak=max(incident.peak, len(firing)),
        kinds=len({alert.name for alert in firing}),
        where=_where(shared, lead, service_of(incident.group.with_(shared))),
        members=shown,
        hidden=max(len(firing) - len(shown), 0) if shown else 0,
        description=one_line(lead.annotations.get("description", ""), 300) if lead is not None else "",
        links=links_of(lead),
        page=page_of(incident.id, console_url),
    )


def state_of(incident: Incident) -> State:
    """Resolved, unknown, acked or firing: the first that holds."""
    return _state(incident, incident.firing)


def _state(incident: Incident, firing: Sequence[Alert]) -> State:
    if incident.state is IncidentState.RESOLVED:
        return State.RESOLVED
    if firing and all(alert.frozen_since is not None for alert in firing):
        return State.UNKNOWN
    return State.ACKED if incident.state is IncidentState.ACKED else State.FIRING


def first_of(alerts: Sequence[Alert]) -> tuple[Alert, ...]:
    """The alerts to tell of: the most severe, then the longest, then by their labels, so that the choice is stable.

    Of very many only the first few hundred are put in order: a message of 10,000 members must not hold up the loop.
    """
    few = alerts if len(alerts) <= _ORDERED else heapq.nsmallest(_ORDERED, alerts, key=_weight)
    return tuple(sorted(few, key=lambda alert: (*_weight(alert), _place(alert))))


def _weight(alert: Alert) -> tuple[int, datetime]:
    return _RANKS.get(alert.labels.get("severity", ""), Severity.P2.rank), alert.active_at


def _place(alert: Alert) -> tuple[str | int, ...]:
    """web-2 before web-10: digits count as numbers. Texts and numbers alternate, so the two never meet."""
    parts = _DIGITS.split(" ".join(alert.labels.values())[:300])
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts))


def common_labels(alerts: Iterable[Alert]) -> Labels:
    """The labels that every alert carries with the same value."""
    shared: dict[str, str] | None = None
    for alert in alerts:
        if shared is None:
            shared = dict(alert.labels)
        elif shared:
            shared = {name: value for name, value in shared.items() if alert.labels.get(name) == value}
    return Labels(shared)


def service_of(labels: Mapping[str, str]) -> str:
    """What is ill, by the first label that says so."""
    return next((one_line(labels[name], 60) for name in _SERVICE if labels.get(name)), "")


def symptom_of(alert: Alert) -> str:
    """The rule's summary, or the alert's name where there is none."""
    return one_line(alert.annotations.get("summary", ""), 140) or one_line(alert.name, 140) or "an alert without a name"


def _where(shared: Labels, lead: Alert | None, service: str) -> tuple[str, ...]:
    """At most three shared labels that the headline does not already say."""
    said = f"{lead.annotations.get('summary', '') if lead is not None else ''} {service}".lower()
    pairs = ((name, value) for name, value in shared.items() if name not in _NOT_WHERE)
    return tuple(f"{one_line(name, 40)}={one_line(value, 60)}" for name, value in pairs if value.lower() not in said)[
        :3
    ]


def _apart(alert: Alert, shared: Labels) -> str:
    """The labels that set a member apart from the rest."""
    name = "" if "alertname" in shared else one_line(alert.name, 60)
    pairs = [f"{one_line(key, 40)}={one_line(value, 60)}" for key, value in alert.labels.items() if key not in shared]
    pairs = [pair for pair in pairs if not pair.startswith(("alertname=", "severity="))][:3]
    return " ".join(part for part in (name, *pairs) if part) or symptom_of(alert)


def links_of(alert: Alert | None) -> tuple[Link, ...]:
    """The annotations that are http(s) addresses."""
    annotations = alert.annotations if alert is not None else Labels()
    found = [(name, safe_url(annotations.get(key, ""))) for name, key in _LINKS]
    return tuple(Link(name=name, url=url) for name, url in found if url)


def page_of(incident: str, console_url: str) -> str:
    """The incident's page in the console."""
    return safe_url(f"{console_url.rstrip('/')}/incidents/{quote(incident, safe='')}") if console_url else ""


# Lines ---------------------------------------------------------------------------------------------------------------


def stamps(timeline: Timeline, zone: tzinfo) -> str:
    """`fault 14:02:01.2 → poll 14:02:02.0 → decision 14:02:02.1 CET`; empty where no time is known."""
    steps = (
        ("fault", timeline.fault_at),
        ("poll", timeline.sampled_at),
        ("decision", timeline.decided_at),
    )
    known = [(name, at.astimezone(zone)) for name, at in steps if at is not None]
    if not known:
        return ""
    # Tenths: a poll takes longer than that to see anything.
    parts = [f"{name} {at:%H:%M:%S}.{at.microsecond // 100_000}" for name, at in known]
    return " → ".join(parts) + f" {known[-1][1].tzname() or 'UTC'}"


def push_text(facts: Facts, limit: int = 99) -> str:
    """One line for a phone's lock screen: severity, service and symptom first, how it stands last.

    The standing is never cut; the symptom is.
    """
    match facts.state:
        case State.RESOLVED:
            why = f": {clip(facts.why_ended.rstrip('.'), 50)}" if facts.why_ended else ""
            mark, tail = " RESOLVED", f", {facts.lasted}{why}."
        case State.UNKNOWN:
            mark, tail = " UNKNOWN", f" since {facts.unknown_since}."
        case State.ACKED:
            mark, tail = "", f", {facts.lasted}. {clip(facts.acked_by, 24)} acked."
        case State.FIRING:
            mark, tail = "", f", {facts.lasted}." + (" Nobody has acked." if facts.pages else "")
    said = not facts.service or facts.service.lower() in facts.symptom.lower()
    head = f"{facts.severity}{mark} " + ("" if said else f"{clip(facts.service, 20)}: ")
    more = f" (+{facts.others:,})" if facts.others else ""
    room = limit - len(head) - len(more) - len(tail)
    return f"{head}{clip(facts.symptom.rstrip('.'), room)}{more}{tail}"


def tells_of_several(notification: Notification) -> bool:
    """True where a message is about more than one incident, or about what a silence hid."""
    return len(notification.incidents) > 1 or notification.reason is Reason.SILENCE_ENDED


def several_text(notification: Notification) -> str:
    """One line for a message about several incidents: how many, and the worst first."""
    incidents = sorted(notification.incidents, key=lambda incident: (incident.severity.rank, incident.opened_at))
    alerts = sum(len(incident.firing) for incident in incidents)
    worst = ", ".join(dict.fromkeys(service_of(i.group) or i.id for i in incidents[:3]))
    count = f"{len(incidents):,} incident{'s' if len(incidents) != 1 else ''}"
    if notification.reason is Reason.SILENCE_ENDED:
        fires = f"{alerts:,} alert{'' if alerts == 1 else 's'} still firing"
        return clip(f"A silence ended. It hid {count}, {fires}: {worst}", 99)
    return clip(f"{incidents[0].severity} {count}, {alerts:,} alerts firing: {worst}", 99)
