"""The buttons under an incident, emitted only where the Slack app has somewhere to send a click.

Each click carries the incident and the revision it was pressed on: `action_id` says what is asked, `value` for what.
Whoever answers re-reads the state, since a message may be older than what it shows.
"""

from __future__ import annotations

import json
from typing import Any, Final

from notifiers._facts import State, state_of
from notifiers.slack.budget import Block
from tocsin.model import Action, Incident, Notification, Reason

ACTIONS: Final = {
    "ack": "Ack",
    "ack_all": "Ack all",
    "silence": "Silence…",
    "escalate": "Escalate",
    "resolve": "Resolve",
    "hand_over": "Hand over…",
    "assign": "Assign…",
    "snooze": "Snooze 30 min",
    "lower": "Not a P0",
    "worth": "Worth the page",
    "noise": "Noise",
}
"""What a click can ask for: `tocsin.NAME` is the action_id."""


def buttons_of(notification: Notification) -> list[Block]:
    """The row of buttons, or none where there is nothing to press."""
    if notification.action is Action.DIGEST:
        return []
    if len(notification.incidents) > 1 or notification.reason is Reason.OVER_BUDGET:
        text = f"Ack all {len(notification.incidents):,}"
        return [_row(_button("ack_all", {"notification": notification.id}, text=text))]
    incident = notification.incident
    target = {"incident": incident.id, "revision": incident.revision}
    match state_of(incident):
        case State.FIRING | State.UNKNOWN if incident.acked_at is None:
            return [
                _row(_button("ack", target, style="primary"), *_plain(target, "silence", "escalate"), _more(target))
            ]
        case State.FIRING | State.UNKNOWN | State.ACKED:
            return [_row(*_plain(target, "resolve", "silence", "hand_over"))]
        case State.RESOLVED:
            return [_row(*_plain(target, "worth", "noise"))] if _paged(incident) else []


def _paged(incident: Incident) -> bool:
    return incident.severity.rank <= 1


def _plain(target: dict[str, Any], *names: str) -> list[Block]:
    return [_button(name, target) for name in names]


def _button(name: str, target: dict[str, Any], *, text: str = "", style: str = "") -> Block:
    button: Block = {
        "type": "button",
        "action_id": f"tocsin.{name}",
        "text": {"type": "plain_text", "text": text or ACTIONS[name]},
        "value": json.dumps(target, separators=(",", ":")),
    }
    return button | ({"style": style} if style else {})


def _more(target: dict[str, Any]) -> Block:
    """The ⋯ menu. An option's value is short: 150 characters at most, so only the ids are in it."""
    options = [
        {"text": {"type": "plain_text", "text": ACTIONS[name]}, "value": f"{name}:{target['incident']}"[:150]}
        for name in ("assign", "snooze", "lower")
    ]
    return {"type": "overflow", "action_id": "tocsin.more", "options": options}


def _row(*elements: Block) -> Block:
    return {"type": "actions", "elements": list(elements)}
