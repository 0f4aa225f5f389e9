"""Sending one notification to one channel, so that it arrives once: the Notifier protocol over Slack's Web API."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from notifiers.slack.budget import Message, fault_of
from notifiers.slack.client import SlackClient
from notifiers.slack.health import health_of
from notifiers.slack.pace import Pace
from notifiers.slack.readback import EVENT, Place, find_message
from notifiers.slack.render import Form, Style, render
from notifiers.slack.settings import SlackSettings
from tocsin.errors import DeliveryError, EditLost, Refused, Throttled, TooLarge
from tocsin.model import Action, Notification, Receipt, Seconds
from tocsin.ports import Health, NotifierContext

_TS: Final = re.compile(r"\d{1,12}\.\d{6}")
_TOP_LEVEL: Final = frozenset({Action.POST, Action.DIGEST})
_BROADCASTS: Final = frozenset({Action.BROADCAST, Action.ESCALATE, Action.REMIND})
_LEARNING_LIMIT: Final[Seconds] = 2.0
_SHORTEST_CALL: Final[Seconds] = 0.1


@dataclass(frozen=True, kw_only=True)
class _Reduced:
    """Why a fuller form was not used."""

    form: Form
    why: str


class SlackNotifier:
    """Posts, edits and replies in one channel."""

    def __init__(self, settings: SlackSettings, context: NotifierContext) -> None:
        self._settings = settings
        self._clock = context.clock
        self._client = SlackClient(settings, context)
        self._pace = Pace(context.clock, settings.spacing)
        self._workspace_url = ""
        """Learnt from auth.test; permalinks are made of it."""
        self._style = Style(
            zone=settings.zone,
            console_url=context.console_url,
            interactive=settings.interactive,
            mentions=tuple(settings.mentions.items()),
            templates=context.folder / settings.templates if settings.templates is not None else None,
        )

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        """Post, edit or reply, in the fullest form that Slack takes.

        POST and DIGEST make a new message; given a parent, it links that as the earlier one, which is how a message
        that can't be edited any more is replaced. EDIT changes the parent. THREAD and RESOLVE reply under it;
        BROADCAST, ESCALATE and REMIND reply and show the reply in the channel too. A reply without a parent that is
        Slack's is posted in the channel: late is better than lost.
        Raises a DeliveryError. EditLost: the parent is gone; post anew with it as the parent.
        """
        place = self._place(notification, parent)
        # A little less than the deadline: whoever ends us at it does not know what we know of the attempt.
        until = self._clock.monotonic() + 0.9 * self._settings.deadline
        rank = (1 if place.edits else 0, notification.severity.rank)
        await self._pace.turn(place.method, rank, self._settings.deadline / 2)
        old = parent.permalink if parent is not None and notification.action in _TOP_LEVEL else ""
        reduced: list[_Reduced] = []
        for form in Form:
            message = self._rendered(notification, place, form, old, reduced)
            if message is None:
                continue
            try:
                answer = await self._call(notification, place, message, parent, until)
            except TooLarge as error:
                reduced.append(_Reduced(form=form, why=str(error)))
                continue
            return await self._receipt(notification, place, answer, reduced, until)
        raise Refused(
            f"Slack refuses this message in every form: {reduced[-1].why}",
            mend="report it with this text; the message went to no one here",
        )

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        """Look for the notification's own metadata in the channel, or in its thread. Raises as `send` does."""
        place = self._place(notification, parent)
        until = self._clock.monotonic() + 0.9 * self._settings.deadline
        found = await find_message(notification, place, self._reading)
        if found is None:
            return None
        return await self._receipt(notification, place, found, [], until)

    async def check(self) -> Health:
        """Token, channel, membership, scopes and templates, each gap with what mends it."""
        health, url = await health_of(self._settings, self._style, self._reading)
        self._workspace_url = url or self._workspace_url
        return health

    async def close(self) -> None:
        """Close the connection to Slack."""
        await self._client.close()

    def _place(self, notification: Notification, parent: Receipt | None) -> Place:
        action, channel = notification.action, self._settings.channel
        if action is Action.HOLD:
            raise ValueError("a held notification is not sent")
        ours = parent is not None and parent.notifier == self._settings.name and _TS.fullmatch(parent.ref) is not None
        if action in _TOP_LEVEL or parent is None or not ours:
            if action is Action.EDIT:
                raise EditLost("there is no message in Slack to edit")
            return Place(channel=channel)
        # The channel of the parent: edits and threads stay there when the setting is changed.
        channel = parent.destination or channel
        if action is Action.EDIT:
            return Place(channel=channel, edits=parent.ref)
        return Place(channel=channel, thread=parent.ref, broadcast=action in _BROADCASTS)

    def _rendered(
        self, notification: Notification, place: Place, form: Form, old: str, reduced: list[_Reduced]
    ) -> Message | None:
        """The message in this form; None, and the reason noted, where the form can't be made or would be refused."""
        try:
            message = render(notification, self._style, form, threaded=bool(place.thread), old=old)
            why = fault_of(message)
        except Exception as error:
            if form is Form.TEXT:
                raise
            # A template is the operator's text and may fail in any way; it must not hold back a page.
            why = f"template: {type(error).__name__}: {error}"
        if not why:
            return message
        reduced.append(_Reduced(form=form, why=why))
        return None

    async def _call(
        self, notification: Notification, place: Place, message: Message, parent: Receipt | None, until: Seconds
    ) -> dict[str, Any]:
        """chat.postMessage or chat.update. Raises a DeliveryError."""
        args: dict[str, Any] = {
            "channel": place.channel,
            "text": message.text,
            "metadata": _metadata(notification, parent),
        }
        # An edit without blocks removes those of the message.
        args |= {"blocks": list(message.blocks)} if message.blocks else {}
        if place.edits:
            args |= {"ts": place.edits, "parse": "none"}
        else:
            args |= {"unfurl_links": False, "unfurl_media": False, "parse": "none", "link_names": False}
            args |= {"thread_ts": place.thread, "reply_broadcast": place.broadcast} if place.thread else {}
            settings = self._settings
            args |= {"username": settings.username} if settings.username else {}
            args |= {"icon_emoji": settings.icon_emoji} if settings.icon_emoji else {}
        within = max(until - self._clock.monotonic(), _SHORTEST_CALL)
        try:
            return dict((await self._client.call(place.method, args, within=within)).body)
        except Throttled as error:
            self._pace.hold(place.method, error.retry_after)
            raise

    async def _receipt(
        self,
        notification: Notification,
        place: Place,
        message: dict[str, Any],
        reduced: list[_Reduced],
        until: Seconds,
    ) -> Receipt:
        now = self._clock.now()
        within = min(_LEARNING_LIMIT, until - self._clock.monotonic())
        ts = str(message.get("ts") or "")
        shown = message.get("message") or message
        degraded = "; ".join(f"not {reason.form}: {reason.why}" for reason in reduced)
        if place.thread and "thread_ts" not in shown:
            # Slack takes a reply whose parent was deleted, and puts it into the channel without a word.
            degraded = "; ".join(part for part in ("in the channel, as its thread is gone", degraded) if part)
        return Receipt(
            notification=notification.id,
            notifier=self._settings.name,
            incident=notification.incident.id,
            action=notification.action,
            at=now,
            destination=place.channel,
            ref=ts,
            permalink=await self._permalink(place, ts, within, threaded="thread_ts" in shown),
            degraded=degraded[:500],
        )

    async def _permalink(self, place: Place, ts: str, within: Seconds, *, threaded: bool) -> str:
        """Slack's address of the message, made of the workspace's; empty where that can't be learnt quickly."""
        if not self._workspace_url and within > _SHORTEST_CALL:
            try:
                answer = await self._client.call("auth.test", {}, within=within, reads=True)
                self._workspace_url = str(answer.body.get("url") or "")
            except DeliveryError:
                return ""  # the message is delivered; a link is not worth failing for
        if not self._workspace_url.startswith(("https://", "http://")):
            return ""
        link = f"{self._workspace_url.rstrip('/')}/archives/{place.channel}/p{ts.replace('.', '')}"
        return f"{link}?thread_ts={place.thread}&cid={place.channel}" if place.thread and threaded else link

    @property
    def _reading(self) -> Callable[[str, dict[str, Any]], Any]:
        async def read(method: str, args: dict[str, Any]) -> Any:
            return await self._client.call(method, args, within=0.9 * self._settings.deadline, reads=True)

        return read


def _metadata(notification: Notification, parent: Receipt | None) -> dict[str, Any]:
    """What makes the message findable after a send whose answer was lost.

    `first` keeps the key of the first post when an edit replaces the metadata, so that it is still found.
    """
    edited = notification.action is Action.EDIT and parent is not None
    payload = {
        "incident": notification.incident.id,
        "rev": notification.incident.revision,
        "key": notification.id,
        "first": parent.notification if edited and parent is not None else notification.id,
    }
    return {"event_type": EVENT, "event_payload": payload}
