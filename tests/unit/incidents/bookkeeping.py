"""A book of incidents, alerts to put into it, and what came of that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tocsin.incidents import Book, Destination, Outcome, Plan, react
from tocsin.incidents.routes import Route, Router
from tocsin.model import Alert, AlertState, Labels, Mention, Transition
from tocsin.testing.clock import START as NOW

BY_SERVICE = Route(name="pages", match={"severity": "P0|P1"}, notify=("chat",), group_by=("service",))


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def plan(*routes: Route, edits: bool = True, **contacts: tuple[Mention, ...]) -> Plan:
    router = Router(routes or (BY_SERVICE,), fallback=Route(notify=("chat",)))
    names = {*router.notifiers(), "backup"}
    return Plan(
        router=router, contacts=contacts, destinations={name: Destination(name=name, edits=edits) for name in names}
    )


def book(*routes: Route) -> Book:
    return Book(plan=plan(*routes))


def alert(name: str = "ApiDown", *, severity: str = "P0", at: datetime = NOW, **labels: str) -> Alert:
    return Alert(
        rule=f"g;{name}", labels=Labels({"service": "api", **labels}, alertname=name, severity=severity),
        state=AlertState.FIRING, value=1, active_at=at, fired_at=at,
    )  # fmt: skip


def ended(alert: Alert, at: datetime) -> Alert:
    return replace(alert, state=AlertState.RESOLVED, resolved_at=at)


def seen(book: Book, *alerts: Alert, at: datetime = NOW) -> Outcome:
    return react(book, [Transition(alert=each, before=None, at=at, sampled_at=at) for each in alerts], at)


def calls(outcome: Outcome) -> list[str]:
    withdrawn = [call for back in outcome.withdraw for call in back.otherwise]
    return [call.action.value for call in (*outcome.queue, *withdrawn)]
