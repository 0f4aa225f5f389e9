"""The canary's rows go the way of a notification, and nothing of them stays."""

from __future__ import annotations

from datetime import timedelta

from tocsin.model import (
    Action,
    Alert,
    AlertState,
    Incident,
    IncidentState,
    Labels,
    Notification,
    Reason,
    Receipt,
    Severity,
    utc,
)
from tocsin.state import Change, State
from tocsin.state.canary import forget_walks, has_receipt

NOW = utc(1_700_000_000)


def row(id: str, notifier: str) -> Notification:
    alert = Alert(rule="g;A", labels=Labels(alertname="A"), state=AlertState.FIRING, value=1.0, active_at=NOW)
    incident = Incident(
        id=id, route="", group=Labels(), state=IncidentState.OPEN, severity=Severity.P3, members=(alert,),
        opened_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return Notification(
        id=id, notifier=notifier, action=Action.POST, reason=Reason.NEW_INCIDENT, because="it walks",
        incidents=(incident,), created_at=NOW, not_before=NOW,
    )  # fmt: skip


async def test_a_walk_is_over_with_its_receipt_and_leaves_nothing(store: State) -> None:
    """One that was sent and one that was not; another notifier's rows stay."""
    await store.commit(Change(calls=(row("canary:1", "canary"), row("canary:2", "canary"), row("i-1", "pages"))))
    for notifier, id in (("canary", "canary:1"), ("pages", "i-1")):
        (claim,) = await store.outbox.claim_due(notifier, NOW, owner="us", lease=60)
        receipt = Receipt(notification=id, notifier=notifier, incident=id, action=Action.POST, at=NOW)
        await store.outbox.finish(claim, receipt)
    assert [await has_receipt(store, id) for id in ("canary:1", "canary:2", "i-1")] == [True, False, True]
    await forget_walks(store, "canary")
    assert [await has_receipt(store, id) for id in ("canary:1", "i-1")] == [False, True]
    assert await store.outbox.waiting(NOW + timedelta(hours=1)) == ()
