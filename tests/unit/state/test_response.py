"""What the figures of response are counted from: the rows of both databases, and nothing that is too old."""

from __future__ import annotations

from datetime import timedelta

from tocsin.incidents import Book, Destination, Plan, ack, react
from tocsin.incidents.routes import Route, Router
from tocsin.model import Alert, AlertState, Labels, Receipt, Transition, utc
from tocsin.runtime.response import measure_response
from tocsin.state import Change, State
from tocsin.state.response import Record, read_response
from tocsin.telemetry.metrics import Telemetry

NOW = utc(1_700_000_000)
PLAN = Plan(router=Router([Route(notify=("pages",))]), destinations={"pages": Destination(name="pages")})


async def filled(store: State) -> Book:
    """A P0 of two alerts: paged a second after it began, taken after three minutes, over after ten."""
    begun = [
        Alert(
            rule="g;Down", labels=Labels(alertname="Down", severity="P0", i=i), state=AlertState.FIRING, value=1.0,
            active_at=NOW, fired_at=NOW,
        )
        for i in "ab"
    ]  # fmt: skip
    outcome = react(Book(plan=PLAN), [Transition(alert=alert, before=None, at=NOW) for alert in begun], NOW)
    await store.commit(Change.of(outcome, begun))
    (claim,) = await store.outbox.claim_due("pages", NOW, owner="us", lease=60)
    row = claim.notification
    receipt = Receipt(
        notification=row.id, notifier="pages", incident=row.incident.id, action=row.action,
        at=NOW + timedelta(seconds=1),
    )  # fmt: skip
    await store.outbox.finish(claim, receipt)
    for minutes in (3, 5):
        # Who takes it later is not the first.
        at = NOW + timedelta(minutes=minutes)
        outcome = ack(outcome.book, row.incident.id, "ana", at)
        await store.commit(Change.of(outcome))
    at = NOW + timedelta(minutes=10)
    ended = [
        Alert(
            rule=alert.rule, labels=alert.labels, state=AlertState.RESOLVED, value=1.0, active_at=NOW, fired_at=NOW,
            resolved_at=at,
        )
        for alert in begun
    ]  # fmt: skip
    outcome = react(outcome.book, [Transition(alert=each, before=AlertState.FIRING, at=at) for each in ended], at)
    await store.commit(Change.of(outcome, ended))
    return outcome.book


async def test_what_happened_is_read_and_measured(store: State) -> None:
    """As series, with the times that people had."""
    book, telemetry = await filled(store), Telemetry()
    await measure_response(store, book, telemetry, NOW + timedelta(hours=1))

    def value(name: str, **labels: str) -> float | None:
        return telemetry.registry.get_sample_value(f"tocsin_response_{name}", labels)

    assert (
        value("acknowledge_seconds", severity="P0", quantile="0.5"),
        value("resolve_seconds", severity="P0", quantile="0.9"),
        value("sent_seconds", severity="P0", quantile="0.99"),
        value("pages", severity="P0"),
        value("ratio", figure="precision"),
        value("ratio", figure="folded"),
        value("incidents", severity="P0"),
    ) == (180.0, 600.0, 1.0, 1.0, 1.0, 2.0, 1.0)
    assert value("resolve_seconds", severity="P1", quantile="0.9") is None
    # A week later it has left the window, and so have its series.
    await measure_response(store, book, telemetry, NOW + timedelta(days=8))
    assert (value("ratio", figure="precision"), value("incidents", severity="P0")) == (None, 0.0)
    assert value("resolve_seconds", severity="P0", quantile="0.9") is None


async def test_an_empty_store_has_nothing_to_count(store: State) -> None:
    """The first five minutes of a daemon's life."""
    assert await read_response(store, NOW) == Record(handled=(), said=(), rang=())
