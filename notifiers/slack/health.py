"""Could this destination be reached if it were needed now? Asked at the start and by `tocsin doctor`."""

from __future__ import annotations

from typing import Any, Final

from notifiers.slack.readback import Read
from notifiers.slack.render import Style, check_templates
from notifiers.slack.settings import SlackSettings
from tocsin.errors import DeliveryError, Refused
from tocsin.ports import Health

_PUBLIC: Final = {
    "chat:write": "to post and edit",
    "channels:read": "to see the channel",
    "channels:history": "to look for a message whose answer was lost",
}
_PRIVATE: Final = {
    "chat:write": "to post and edit",
    "groups:read": "to see the private channel",
    "groups:history": "to look for a message whose answer was lost",
}
_REINSTALL: Final = "under OAuth & Permissions of the Slack app, then install it anew"


async def health_of(settings: SlackSettings, style: Style, read: Read) -> tuple[Health, str]:
    """The health, and the workspace's address where Slack told it."""
    gaps: list[tuple[str, str]] = []
    if broken := check_templates(style.templates):
        gaps.append((f"a template is broken, so plainer messages are sent: {broken}", "mend the template"))
    try:
        who = await read("auth.test", {})
    except DeliveryError as error:
        return _health([*gaps, (str(error), _mend(error))], settings, ""), ""
    url, bot = str(who.body.get("url") or ""), str(who.body.get("user") or "the bot")
    granted = {scope.strip() for scope in who.headers.get("x-oauth-scopes", "").split(",") if scope.strip()}
    private = False
    try:
        info = await read("conversations.info", {"channel": settings.channel})
        channel: dict[str, Any] = info.body.get("channel") or {}
        private = bool(channel.get("is_private"))
        gaps += _channel_gaps(channel, settings.channel, bot)
    except DeliveryError as error:
        gaps.append((str(error), _mend(error)))
    if granted:  # a token of another kind has no such header; then the calls themselves tell
        gaps += _scope_gaps(granted, private=private, renames=bool(settings.username))
    return _health(gaps, settings, str(who.body.get("team") or "")), url


def _channel_gaps(channel: dict[str, Any], channel_id: str, bot: str) -> list[tuple[str, str]]:
    name = f"#{channel.get('name') or channel_id}"
    if channel.get("is_archived"):
        return [(f"{name} is archived", f"unarchive {name} or set another channel")]
    if not channel.get("is_member"):
        return [(f"{bot} is not in {name}", f"write `/invite @{bot}` in {name}")]
    return []


def _scope_gaps(granted: set[str], *, private: bool, renames: bool) -> list[tuple[str, str]]:
    needed = dict(_PRIVATE if private else _PUBLIC)
    if renames:
        needed["chat:write.customize"] = "to post under another name"
    missing = {scope: why for scope, why in needed.items() if scope not in granted}
    return [(f"the scope {scope} is missing ({why})", f"add {scope} {_REINSTALL}") for scope, why in missing.items()]


def _mend(error: DeliveryError) -> str:
    return error.mend if isinstance(error, Refused) else "check the network between here and Slack, then try again"


def _health(gaps: list[tuple[str, str]], settings: SlackSettings, team: str) -> Health:
    if not gaps:
        where = f"channel {settings.channel}" + (f" of {team}" if team else "")
        return Health(ok=True, what=f"Slack {where} can be written, edited and read back")
    mends = dict.fromkeys(mend for _, mend in gaps)
    return Health(ok=False, what="; ".join(what for what, _ in gaps), mend="; ".join(mends))
