"""Which incident a transition goes into, and what the incident becomes: opened, joined, ended, reopened."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from tocsin.incidents.book import File
from tocsin.incidents.draft import Draft
from tocsin.incidents.grouping import forgotten, incident_id, new_incident, with_alerts
from tocsin.incidents.routes import Route
from tocsin.incidents.told import Told
from tocsin.model import Alert, AlertState, IncidentState, Transition

_NAMED: Final = 2
"""So many reasons of an end are named: it is a line of a message."""


def take(draft: Draft, transition: Transition) -> None:
    """One transition: into the incidents that have the alert, or those that its routes give. Pending is no news."""
    alert, id = transition.alert, transition.alert.id
    if alert.state is AlertState.PENDING:
        return
    holders = [holder for holder in draft.by_alert.get(id, ()) if _holds(draft, holder, id)]
    if alert.state is AlertState.FIRING and not holders:
        holders = [_opened(draft, route, alert) for route in draft.plan.router.routes_of(alert.labels)]
        draft.joins.update(holders)
        for holder in holders:
            draft.add_holder(id, holder)
    for holder in holders:
        draft.change(holder, alert)
        if transition.why:
            draft.why.setdefault(holder, {})[id] = transition.why
        if transition.sampled_at is not None:
            draft.sampled[holder] = max(transition.sampled_at, draft.sampled.get(holder, transition.sampled_at))


def _holds(draft: Draft, incident: str, alert: str) -> bool:
    """True while the alert fires as a member of the incident, and that has not been closed."""
    if (pending := draft.changes.get(incident, {}).get(alert)) is not None:
        return pending.state is AlertState.FIRING
    file = draft.files.get(incident)
    if file is None or file.incident.state is IncidentState.RESOLVED or alert not in file.alerts:
        return False
    return file.alerts[alert].state is AlertState.FIRING


def _opened(draft: Draft, route: Route, alert: Alert) -> str:
    """The incident of the alert's group in `route`: open, reopened within its flap window, or new."""
    group = route.group_of(alert.labels)
    found = draft.by_group.get((route.name, group))
    if found is not None:
        file = draft.files.get(found)
        if file is None or file.incident.resolved_at is None:
            return found
        if draft.now < file.incident.resolved_at + timedelta(seconds=route.flap_seconds):
            return found
    id = incident_id(route.name, group, draft.now, lambda id: id in draft.files or id in draft.changes)
    draft.by_group[route.name, group] = id
    return id


def retire(draft: Draft, id: str, alerts: list[Alert]) -> None:
    """These members' rule is gone: they have ended."""
    for alert in alerts:
        draft.change(id, replace(alert, state=AlertState.RESOLVED, resolved_at=draft.now))
        draft.why.setdefault(id, {})[alert.id] = "its rule was removed"


def rebuild(draft: Draft, id: str) -> None:
    """The incident with its changed members; a new file for a new incident."""
    changed, file = draft.changes[id], draft.files.get(id)
    if file is None:
        _open(draft, id, changed)
        return
    alerts = {**file.alerts, **changed}
    for old in forgotten(alerts):
        del alerts[old]
        draft.drop_member(id, old)
    if file.incident.state is IncidentState.RESOLVED and id not in draft.joins:
        incident = replace(file.incident, members=tuple(alerts.values()))
    else:
        incident = with_alerts(file.incident, alerts, changed.values(), draft.now)
    ends = incident.state is IncidentState.RESOLVED is not file.incident.state
    if ends and id in draft.why:
        incident = replace(incident, resolved_why=_why(draft.why[id], changed))
    draft.keep(replace(file, incident=incident, alerts=alerts))


def _why(whys: dict[str, str], changed: dict[str, Alert]) -> str:
    """Why an incident has ended whose last members did not all recover."""
    said = list(dict.fromkeys(whys[id] for id in changed if id in whys))
    more = f" (and {len(said) - _NAMED} more)" if len(said) > _NAMED else ""
    text = "; ".join(said[:_NAMED]) + more
    recovered = sum(id not in whys and alert.state is AlertState.RESOLVED for id, alert in changed.items())
    return f"{text}; {recovered} of its alerts recovered" if recovered else text


def _open(draft: Draft, id: str, alerts: dict[str, Alert]) -> None:
    """A new incident. Alerts that began and ended within the same batch open it and end it."""
    first = next(iter(alerts.values()))
    route = next(
        route
        for route in draft.plan.router.routes_of(first.labels)
        if draft.by_group.get((route.name, route.group_of(first.labels))) == id
    )
    incident = new_incident(id, route, route.group_of(first.labels), alerts, draft.now)
    if not incident.firing:
        incident = with_alerts(incident, alerts, alerts.values(), draft.now)
    told = {name: Told(incident=id, notifier=name) for name in route.receivers}
    draft.keep(File(incident=incident, alerts=alerts, told=told))
    for entry in told.values():
        draft.note_told(entry)
