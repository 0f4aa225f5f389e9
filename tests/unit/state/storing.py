"""A book whose changes are stored as they are made, and read again."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin.incidents import Book, Destination, Plan, react
from tocsin.incidents.routes import Route, Router
from tocsin.model import Alert, AlertState, Labels, Transition
from tocsin.state import Change, State
from tocsin.testing.clock import START as NOW

PLAN = Plan(
    router=Router([Route(name="all", notify=("chat",), group_by=("service",))]),
    destinations={"chat": Destination(name="chat", edits=True)},
)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def alert(pod: str = "a", service: str = "api", *, state: AlertState = AlertState.FIRING, at: float = 0) -> Alert:
    labels = Labels(alertname="ApiDown", severity="P0", service=service, pod=pod)
    return Alert(
        rule="g;ApiDown", labels=labels, state=state, value=1.5, active_at=NOW, fired_at=NOW,
        resolved_at=later(at) if state is AlertState.RESOLVED else None,
    )  # fmt: skip


async def seen(state: State, book: Book, *alerts: Alert, at: float = 0) -> Book:
    """React and commit, as the pipeline does."""
    now = later(at)
    outcome = react(book, [Transition(alert=each, before=None, at=now) for each in alerts], now)
    await state.commit(Change.of(outcome, alerts))
    return outcome.book


async def restored(state: State, now: datetime) -> Book:
    found = await state.load(now)
    return found.book(PLAN, now)
