"""Calls put into an outbox, claimed and finished; what became of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.incidents.calls import Withdrawal
from tocsin.model import Action, Incident, Notification, Reason, Receipt, Severity
from tocsin.state import Change, Claim, State
from tocsin.testing.clock import START as NOW
from tocsin.testing.notifications import an_incident


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def incident(id: str = "i-1", severity: Severity = Severity.P0, **values: Any) -> Incident:
    return an_incident(id=id, severity=severity, **values)


def call(
    action: Action = Action.POST, of: Incident | None = None, *, to: str = "chat", revision: int = 1, at: float = 0
) -> Notification:
    about = of or incident()
    return Notification(
        id=f"{about.id}:{to}:{action}:{revision}", notifier=to, action=action, reason=Reason.NEW_INCIDENT,
        because="new", incidents=(replace(about, revision=revision),), created_at=NOW, not_before=later(at),
    )  # fmt: skip


def receipt(claim: Claim, ref: str = "1", at: datetime = NOW) -> Receipt:
    row = claim.notification
    return Receipt(
        notification=row.id, notifier=row.notifier, incident=row.incident.id, action=row.action, at=at, ref=ref,
        permalink=f"https://chat.example/{ref}",
    )  # fmt: skip


async def put(state: State, *calls: Notification | Withdrawal) -> Any:
    """Queue calls, with their incidents as they are said to be."""
    about = [c.incidents[0] for c in calls if isinstance(c, Notification)]
    newest = {each.id: each for each in about}
    members = tuple((each.id, alert) for each in newest.values() for alert in each.members)
    return await state.commit(Change(incidents=tuple(newest.values()), members=members, calls=calls))


async def claim(state: State, *, now: datetime = NOW, to: str = "chat", owner: str = "me") -> Claim | None:
    claims = await state.outbox.claim_due(to, now, owner=owner, lease=60)
    return claims[0] if claims else None


async def drain(state: State, *, now: datetime = NOW, to: str = "chat") -> list[str]:
    """What the destination would hear, in its order."""
    heard = []
    while (found := await claim(state, now=now, to=to)) is not None:
        heard.append(found.notification.id.split(":", 2)[0] + " " + found.notification.action)
        await state.outbox.finish(found, receipt(found, str(len(heard))))
    return heard


async def fates(state: State, id: str = "i-1") -> dict[str, str]:
    story = await state.history.story(id)
    assert story is not None
    return {row.id.split(":", 2)[2]: row.state for row in story.calls}
