"""Did it arrive? After a send without an answer, the notification's own key is looked for in Slack.

A post is looked for in the channel's history, a reply in its thread (and in the channel, where Slack puts it when the
thread is gone), an edit in the edited message itself. Every message carries the key in its metadata.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from notifiers.slack.client import Answer
from tocsin.errors import EditLost
from tocsin.model import Notification

EVENT: Final = "tocsin_notification"
SLACK_MAY_BE_BEHIND: Final = timedelta(minutes=15)
"""How far our clock may be ahead of Slack's before a message would be looked for too late."""
PAGE: Final = 200
PAGES: Final = 50
"""10,000 messages: more than a channel takes in the time that a notification waits."""

Read = Callable[[str, dict[str, Any]], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a notification goes: a channel, a thread in it, or onto a message that is there."""

    channel: str
    thread: str = ""
    edits: str = ""
    broadcast: bool = False

    @property
    def method(self) -> str:
        return "chat.update" if self.edits else "chat.postMessage"


async def find_message(notification: Notification, place: Place, read: Read) -> dict[str, Any] | None:
    """The message that carries the notification's key, as Slack shows it; None when there is none.

    Raises a DeliveryError when Slack can't be asked.
    """
    if place.edits:
        return await _edited(notification, place, read)
    oldest = f"{(notification.created_at - SLACK_MAY_BE_BEHIND).timestamp():.6f}"
    if place.thread:
        try:
            args = {"channel": place.channel, "ts": place.thread, "oldest": oldest}
            async for message in _pages("conversations.replies", args, read):
                if _key(message) == notification.id:
                    return message
        except EditLost:
            pass  # the thread is gone: Slack would have put the reply into the channel
    async for message in _pages("conversations.history", {"channel": place.channel, "oldest": oldest}, read):
        if notification.id in (_key(message), _payload(message).get("first")):
            return message
    return None


async def _edited(notification: Notification, place: Place, read: Read) -> dict[str, Any] | None:
    """The edited message, if it shows this edit or a later one: a later one makes this one needless."""
    args = {
        "channel": place.channel,
        "oldest": place.edits,
        "latest": place.edits,
        "inclusive": True,
        "limit": 1,
        "include_all_metadata": True,
    }
    answer = await read("conversations.history", args)
    for message in answer.body.get("messages") or []:
        payload = _payload(message)
        same = payload.get("incident") == notification.incident.id
        revision = payload.get("rev")
        overtaken = same and isinstance(revision, int) and revision > notification.incident.revision
        if message.get("ts") == place.edits and (_key(message) == notification.id or overtaken):
            return dict(message)
    return None


async def _pages(method: str, args: Mapping[str, Any], read: Read) -> AsyncIterator[dict[str, Any]]:
    cursor = ""
    for _ in range(PAGES):
        more = {"cursor": cursor} if cursor else {}
        answer = await read(method, {**args, **more, "limit": PAGE, "include_all_metadata": True})
        for message in answer.body.get("messages") or []:
            yield message
        cursor = (answer.body.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return


def _payload(message: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = message.get("metadata") or {}
    return (metadata.get("event_payload") or {}) if metadata.get("event_type") == EVENT else {}


def _key(message: Mapping[str, Any]) -> str:
    return str(_payload(message).get("key") or "")
